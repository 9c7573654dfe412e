/**
 * Encodes zstd frames one after the other with one compressor, into memory that its caller lends.
 *
 * node:zlib's zstdCompressSync() makes a context and buffers for each frame: a sixth of the CPU that compressing takes
 * goes into page faults and garbage. So this uses one context (zstd-engine.ts).
 */
import { constants, createZstdCompress } from 'node:zlib'
import { createZstdEngine } from './zstd-engine.ts'

export interface ZstdEncoder {
  /**
   * Writes `bytes` as one frame to the start of `output`; undefined when it does not fit. With room for
   * maxEncodedBytes() zstd writes straight into `output`; with less, by way of a buffer of its own.
   */
  encode(bytes: Uint8Array, output: Uint8Array): Uint8Array | undefined
}

/** No frame of `rawBytes` gets longer than this (ZSTD_COMPRESSBOUND of zstd.h). */
export function maxEncodedBytes(rawBytes: number): number {
  return rawBytes + (rawBytes >> 8) + 64
}

/** An encoder at this level, or undefined where Node keeps its handle elsewhere. */
export function createZstdEncoder(level: number): ZstdEncoder | undefined {
  const engine = createZstdEngine(() =>
    createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: level } }),
  )
  return (
    engine && {
      encode(bytes, output) {
        const { freeBytes, unreadBytes } = engine.run(bytes, output, output.length)
        const whole = unreadBytes === 0 && freeBytes > 0
        return whole ? output.subarray(0, output.length - freeBytes) : undefined
      },
    }
  )
}
