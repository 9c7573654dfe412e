/**
 * Decodes zstd frames one after the other into the same memory.
 *
 * node:zlib's zstdDecompressSync() makes a context and a buffer for each frame: 0.35 CPU s/GiB of page faults, and
 * garbage that has the collector run forty times a GiB. So this drives the handle beneath it, as npm's own minizlib does.
 * The handle is no public API: where it is not as expected there is no decoder, and compress.ts uses the public function.
 */
import { constants, createZstdDecompress, type ZstdDecompress } from 'node:zlib'

/** What node:zlib keeps beneath a decompressor (lib/zlib.js, processChunkSync). */
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

/** What a frame gave: `output` is valid until the next decode(). */
export interface DecodedFrame {
  readonly output: Uint8Array
  /** Bytes of the input behind the frame. */
  readonly unreadBytes: number
}

export interface ZstdDecoder {
  /**
   * Decodes at most `maxBytes`; throws an Error when the frame is damaged. A cut frame just gives less: whoever knows the
   * true length calls restart() then.
   */
  decode(encoded: Uint8Array, maxBytes: number): DecodedFrame
  /** Forgets an unfinished frame. */
  restart(): void
}

/** A decoder for frames of up to `maxBytes`, or undefined where Node keeps its handle elsewhere. */
export function createZstdDecoder(maxBytes: number, windowLogMax: number): ZstdDecoder | undefined {
  const memory = Buffer.allocUnsafeSlow(maxBytes)
  let failure: string | undefined
  let parts = open()
  if (!parts) return undefined

  function open() {
    const engine = createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: windowLogMax } })
    const { _handle: handle, _writeState: state } = engine as ZstdDecompress & {
      _handle?: Partial<Handle>
      _writeState?: Uint32Array
    }
    if (typeof handle?.writeSync !== 'function' || state?.length !== 2) return undefined
    handle.onerror = (message) => (failure = message)
    return { handle: handle as Handle, state }
  }

  return {
    decode(encoded, limit) {
      parts ??= open()
      const { handle, state } = parts!
      failure = undefined
      const roomBytes = Math.min(limit, memory.length)
      handle.writeSync(constants.ZSTD_e_end, encoded, 0, encoded.length, memory, 0, roomBytes)
      const [freeBytes, unreadBytes] = state
      // A whole frame leaves the decoder ready for the next. What an error or half a frame leaves is not used again; nor
      // is the handle's own reset(), which forgets the limit of the window.
      if (failure !== undefined || unreadBytes !== 0 || freeBytes === 0) parts = undefined
      if (failure !== undefined) throw new Error(failure)
      return { output: memory.subarray(0, roomBytes - freeBytes), unreadBytes }
    },
    restart() {
      parts = undefined
    },
  }
}
