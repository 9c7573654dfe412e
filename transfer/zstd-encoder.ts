/**
 * Encodes zstd frames one after the other with one compressor, into memory that its caller lends.
 *
 * node:zlib's zstdCompressSync() makes a context and buffers for each frame: a sixth of the CPU that compressing takes
 * goes into page faults and garbage. So this drives the handle beneath it, as zstd-decoder.ts does; the same caution
 * applies: where the handle is not as expected there is no encoder, and compress.ts uses the public function.
 */
import { constants, createZstdCompress, type ZstdCompress } from 'node:zlib'

/** What node:zlib keeps beneath a compressor (lib/zlib.js, processChunkSync). */
interface Handle {
  writeSync(
    flush: number,
    input: Uint8Array,
    inputOffset: number,
    inputBytes: number,
    output: Uint8Array,
    outputOffset: number,
    outputBytes: number,
  ): void
  onerror: (message: string) => void
}

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
  let failure: string | undefined
  let parts = open()
  if (!parts) return undefined

  function open() {
    const engine = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: level } })
    const { _handle: handle, _writeState: state } = engine as ZstdCompress & {
      _handle?: Partial<Handle>
      _writeState?: Uint32Array
    }
    if (typeof handle?.writeSync !== 'function' || state?.length !== 2) return undefined
    handle.onerror = (message) => (failure = message)
    return { handle: handle as Handle, state }
  }

  return {
    encode(bytes, output) {
      parts ??= open()
      const { handle, state } = parts!
      failure = undefined
      handle.writeSync(constants.ZSTD_e_end, bytes, 0, bytes.length, output, 0, output.length)
      const [freeBytes, unreadBytes] = state
      const whole = failure === undefined && unreadBytes === 0 && freeBytes > 0
      // A whole frame leaves the compressor ready for the next. What half a frame leaves is not used again; nor is the
      // handle's own reset(), which forgets the level.
      if (!whole) parts = undefined
      if (failure !== undefined) throw new Error(failure)
      return whole ? output.subarray(0, output.length - freeBytes) : undefined
    },
  }
}
