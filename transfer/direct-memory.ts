/**
 * Memory from which a disk takes bytes as they lie, without a copy (backends/direct-writes.ts): an address and the offset
 * in the volume that it is meant for are equally far from the start of a block.
 */
import koffi from 'koffi'

/** No disk has larger sectors, and none asks for more of an address. */
export const DIRECT_BLOCK_BYTES = 4096
/** Shorter pieces are cheaper through the page cache, and lie anywhere: to wait for a disk costs two changes of thread. */
export const DIRECT_BYTES = 256 * 1024

/** Room for some pieces of a volume at a time, and then for the next. */
export class DirectMemory {
  /** Of all pieces at a time. */
  readonly lengthBytes: number
  readonly #bytes: Uint8Array
  /** How far its first byte is from the start of a block. */
  readonly #address: number
  #used = 0

  /** For pieces of `lengthBytes` in all. */
  constructor(lengthBytes: number) {
    this.lengthBytes = lengthBytes
    const most = Math.ceil(lengthBytes / DIRECT_BYTES)
    this.#bytes = new Uint8Array(lengthBytes + most * DIRECT_BLOCK_BYTES)
    this.#address = addressInBlock(this.#bytes)
  }

  /** Where a piece may lie that goes to `offset` of the volume: valid until reset(). */
  take(lengthBytes: number, offset: number): Uint8Array {
    const from = this.#used
    const start = lengthBytes < DIRECT_BYTES ? from : from + ahead(this.#address + from, offset)
    this.#used = start + lengthBytes
    return this.#bytes.subarray(start, this.#used)
  }

  /** What was taken is used no more. */
  reset(): void {
    this.#used = 0
  }
}

/** True when `bytes` lie as `offset` of a volume does. */
export function liesLike(bytes: Uint8Array, offset: number): boolean {
  return addressInBlock(bytes) === offset % DIRECT_BLOCK_BYTES
}

function addressInBlock(bytes: Uint8Array): number {
  return Number(koffi.address(bytes) % BigInt(DIRECT_BLOCK_BYTES))
}

/** So far is it from an address to the next that lies as `offset` does. */
function ahead(address: number, offset: number): number {
  const bytes = ((offset % DIRECT_BLOCK_BYTES) - address) % DIRECT_BLOCK_BYTES
  return bytes < 0 ? bytes + DIRECT_BLOCK_BYTES : bytes
}
