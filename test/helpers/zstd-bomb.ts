/** A zstd frame (RFC 8878) of `count` blocks, each one byte repeated 128 KiB: a few KiB that stand for gigabytes. */

const MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])
/** No checksum, no content size; a window of 1 MiB, the largest that a lane accepts. */
const HEADER = Buffer.from([0x00, 10 << 3])
const BLOCK_BYTES = 128 * 1024
const RLE_BLOCK = 1

/** The frame; it decodes to `count` times 128 KiB. */
export function zstdBomb(count: number): Uint8Array {
  const blocks = Buffer.alloc(count * 4)
  for (let i = 0; i < count; i++) {
    const last = i === count - 1 ? 1 : 0
    blocks.writeUIntLE((BLOCK_BYTES << 3) | (RLE_BLOCK << 1) | last, i * 4, 3)
  }
  return Buffer.concat([MAGIC, HEADER, blocks])
}
