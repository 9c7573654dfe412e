/**
 * A source that is made up as it is read, for benchmarks: bytes that do not compress, the same for everyone who reads
 * them, with no block twice. One slab of keystream repeats; each block carries its own number.
 */
import { createCipheriv } from 'node:crypto'
import { HOLE_BLOCK_BYTES, MAX_EXTENT_BYTES, MAX_VOLUME_BYTES, WINDOW_BYTES } from '../../protocol/limits.ts'
import type { Source } from '../source.ts'
import { checkBounds } from './bounds.ts'

const SCHEME = 'bench:'
const NUMBER_BYTES = 8
/** A window long: no window holds the same bytes twice, so compression finds nothing. */
const SLAB_BYTES = WINDOW_BYTES

let slab: Buffer | undefined

/** The address of a generated volume of `sizeBytes`, for openSource(). */
export function generatedUrl(sizeBytes: number): string {
  return `${SCHEME}${sizeBytes}`
}

/** The size in an address made by generatedUrl(); undefined for any other address. */
export function parseGeneratedUrl(url: string): number | undefined {
  const sizeBytes = Number(/^bench:(\d{1,16})$/.exec(url)?.[1])
  return sizeBytes <= MAX_VOLUME_BYTES ? sizeBytes : undefined
}

/** A generated volume of `sizeBytes`; reads finish at once. */
export function createGeneratedSource(sizeBytes: number): Source {
  return {
    sizeBytes,
    supports: { holes: false },
    async *extents(from, { signal } = {}) {
      for (let offset = from; offset < sizeBytes; offset += MAX_EXTENT_BYTES) {
        signal?.throwIfAborted()
        yield { offset, length: Math.min(MAX_EXTENT_BYTES, sizeBytes - offset) }
      }
    },
    read(target, offset) {
      checkBounds(sizeBytes, offset, target.length)
      generate(target, offset)
    },
    prefetch() {},
    fingerprint: async () => generatedUrl(sizeBytes),
    async [Symbol.asyncDispose]() {},
  }
}

function generate(target: Uint8Array, offset: number): void {
  const bytes = (slab ??= createSlab())
  for (let at = 0; at < target.length;) {
    const from = (offset + at) % SLAB_BYTES
    const length = Math.min(target.length - at, SLAB_BYTES - from)
    target.set(bytes.subarray(from, from + length), at)
    at += length
  }
  const view = new DataView(target.buffer, target.byteOffset, target.length)
  const first = Math.floor(offset / HOLE_BLOCK_BYTES)
  for (
    let block = first, at = first * HOLE_BLOCK_BYTES - offset;
    at < target.length;
    block++, at += HOLE_BLOCK_BYTES
  ) {
    if (at >= 0 && at + NUMBER_BYTES <= target.length) view.setFloat64(at, block)
    else writePart(target, at, block)
  }
}

/** The bytes of a block's number that lie inside `target`. */
function writePart(target: Uint8Array, at: number, block: number): void {
  const number = Buffer.alloc(NUMBER_BYTES)
  number.writeDoubleBE(block)
  for (let i = Math.max(0, -at); i < NUMBER_BYTES && at + i < target.length; i++) target[at + i] = number[i]
}

function createSlab(): Buffer {
  const key = Buffer.alloc(16, 'fluidcloud bench')
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(SLAB_BYTES))
}
