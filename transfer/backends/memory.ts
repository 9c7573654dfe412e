/** Volumes in memory: real sources and sinks for tests and benchmarks, bounded by what the machine has. */
import { FluidError } from '../../protocol/errors.ts'
import type { Extent } from '../../protocol/extent.ts'
import { HOLE_BLOCK_BYTES } from '../../protocol/limits.ts'
import type { Sink } from '../sink.ts'
import type { Source } from '../source.ts'
import { checkBounds } from './bounds.ts'

const ZERO_BLOCK = Buffer.alloc(HOLE_BLOCK_BYTES)

/** A source over `bytes`, which stay the caller's and may change; aligned blocks of zeros are its holes. */
export function createMemorySource(bytes: Uint8Array): Source {
  return {
    sizeBytes: bytes.length,
    supports: { holes: true },
    async *extents(from, { signal } = {}) {
      for (const extent of dataOf(bytes, from, bytes.length)) {
        signal?.throwIfAborted()
        yield extent
      }
    },
    read(target, offset) {
      checkBounds(bytes.length, offset, target.length)
      target.set(bytes.subarray(offset, offset + target.length))
    },
    prefetch() {},
    async fingerprint() {
      return `memory:${bytes.length}`
    },
    async [Symbol.asyncDispose]() {},
  }
}

/** A sink over `bytes`, zeros at first; `capacityBytes` of non-zero blocks fit before it is full (NO_SPACE). */
export function createMemorySink(bytes: Uint8Array, options: { capacityBytes?: number } = {}): Sink {
  const { capacityBytes = Infinity } = options
  const stored = new Set<number>()
  return {
    sizeBytes: bytes.length,
    supports: { zeroed: true, sparse: true, shared: true },
    write(source, offset) {
      checkBounds(bytes.length, offset, source.length)
      for (let at = offset; at < offset + source.length; at += HOLE_BLOCK_BYTES) store(at)
      if (source.length > 0) store(offset + source.length - 1)
      bytes.set(source, offset)
    },
    zero(offset, lengthBytes) {
      checkBounds(bytes.length, offset, lengthBytes)
      bytes.fill(0, offset, offset + lengthBytes)
    },
    read(target, offset) {
      checkBounds(bytes.length, offset, target.length)
      target.set(bytes.subarray(offset, offset + target.length))
    },
    async *written(from, to) {
      yield* dataOf(bytes, from, Math.min(to, bytes.length))
    },
    async sync() {},
    async [Symbol.asyncDispose]() {},
  }

  function store(offset: number): void {
    stored.add(Math.floor(offset / HOLE_BLOCK_BYTES))
    if (stored.size * HOLE_BLOCK_BYTES <= capacityBytes) return
    throw new FluidError('NO_SPACE', `The target is full: no space to write at offset ${offset}`, { offset })
  }
}

function* dataOf(bytes: Uint8Array, from: number, to: number): Generator<Extent> {
  let start: number | undefined
  for (let at = from; at < to;) {
    const end = Math.min(to, (Math.floor(at / HOLE_BLOCK_BYTES) + 1) * HOLE_BLOCK_BYTES)
    const zeros = ZERO_BLOCK.subarray(0, end - at).equals(bytes.subarray(at, end))
    if (zeros && start !== undefined) yield { offset: start, length: at - start }
    start = zeros ? undefined : (start ?? at)
    at = end
  }
  if (start !== undefined) yield { offset: start, length: to - start }
}
