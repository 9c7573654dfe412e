/**
 * One zstd context of node:zlib, used for one frame after the other: what the encoder and the decoder have in common.
 *
 * It drives the handle beneath node:zlib's classes, as npm's own minizlib does. The handle is no public API: where it is
 * not as expected there is no engine, and compress.ts uses the public functions.
 */
import { constants, type ZstdCompress, type ZstdDecompress } from 'node:zlib'

/** What node:zlib keeps beneath a compressor or decompressor (lib/zlib.js, processChunkSync). */
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

export interface ZstdEngine {
  /**
   * Works on `input`, which ends a frame, into the first `roomBytes` of `output`; gives what is left of both. Throws an
   * Error when zstd finds the frame damaged.
   */
  run(
    input: Uint8Array,
    output: Uint8Array,
    roomBytes: number,
  ): { readonly freeBytes: number; readonly unreadBytes: number }
  /** Forgets an unfinished frame. */
  restart(): void
}

/** An engine over what `create` makes, or undefined where Node keeps its handle elsewhere. */
export function createZstdEngine(create: () => ZstdCompress | ZstdDecompress): ZstdEngine | undefined {
  let failure: string | undefined
  let parts = open()
  if (!parts) return undefined

  function open() {
    const { _handle: handle, _writeState: state } = create() as (ZstdCompress | ZstdDecompress) & {
      _handle?: Partial<Handle>
      _writeState?: Uint32Array
    }
    if (typeof handle?.writeSync !== 'function' || state?.length !== 2) return undefined
    handle.onerror = (message) => (failure = message)
    return { handle: handle as Handle, state }
  }

  return {
    run(input, output, roomBytes) {
      parts ??= open()
      const { handle, state } = parts!
      failure = undefined
      handle.writeSync(constants.ZSTD_e_end, input, 0, input.length, output, 0, roomBytes)
      const [freeBytes, unreadBytes] = state
      // A whole frame leaves the context ready for the next. What an error or half a frame leaves is not used again; nor
      // is the handle's own reset(), which forgets its parameters.
      if (failure !== undefined || unreadBytes !== 0 || freeBytes === 0) parts = undefined
      if (failure !== undefined) throw new Error(failure)
      return { freeBytes, unreadBytes }
    },
    restart() {
      parts = undefined
    },
  }
}
