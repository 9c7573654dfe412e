/** A sink that throws away what it is given, for benchmarks: it reads as zeros, and nothing is ever written in it. */
import { MAX_VOLUME_BYTES } from '../../protocol/limits.ts'
import type { Placement } from '../destination.ts'
import type { Sink } from '../sink.ts'
import { checkBounds } from './bounds.ts'

/** The address of a discarding volume of `sizeBytes`, for openSink(). */
export function discardUrl(sizeBytes: number): string {
  return `discard:${sizeBytes}`
}

/** The size in an address made by discardUrl(); undefined for any other address. */
export function parseDiscardUrl(url: string): number | undefined {
  const sizeBytes = Number(/^discard:(\d{1,16})$/.exec(url)?.[1])
  return sizeBytes <= MAX_VOLUME_BYTES ? sizeBytes : undefined
}

/** A discarding volume of `sizeBytes`. */
export function createDiscardSink(sizeBytes: number): Sink {
  return {
    sizeBytes,
    supports: { zeroed: true, sparse: true, shared: true },
    write: (bytes, offset) => checkBounds(sizeBytes, offset, bytes.length),
    zero: (offset, lengthBytes) => checkBounds(sizeBytes, offset, lengthBytes),
    read(target, offset) {
      checkBounds(sizeBytes, offset, target.length)
      target.fill(0)
    },
    async *written() {},
    async sync() {},
    async [Symbol.asyncDispose]() {},
  }
}

/** A place for a volume that is put nowhere. */
export function discardPlacement(sizeBytes: number): Placement {
  const sinkUrl = discardUrl(sizeBytes)
  return {
    sinkUrl,
    sink: createDiscardSink(sizeBytes),
    resumed: false,
    identity: sinkUrl,
    commit: async () => ({ path: sinkUrl }),
    async discard() {},
    async [Symbol.asyncDispose]() {},
  }
}
