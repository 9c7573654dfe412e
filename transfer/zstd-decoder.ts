/**
 * Decodes zstd frames one after the other into the same memory.
 *
 * node:zlib's zstdDecompressSync() makes a context and a buffer for each frame: 0.35 CPU s/GiB of page faults, and
 * garbage that has the collector run forty times a GiB. So this uses one context (zstd-engine.ts).
 */
import { constants, createZstdDecompress } from 'node:zlib'
import { DirectMemory } from './direct-memory.ts'
import { createZstdEngine } from './zstd-engine.ts'

/** What a frame gave: `output` is valid until the next decode(). */
export interface DecodedFrame {
  readonly output: Uint8Array
  /** Bytes of the input behind the frame. */
  readonly unreadBytes: number
}

export interface ZstdDecoder {
  /**
   * Decodes at most `maxBytes`, which go to `offset` of a volume (direct-memory.ts); throws an Error when the frame is damaged. A cut frame just gives less: whoever knows the
   * true length calls restart() then.
   */
  decode(encoded: Uint8Array, maxBytes: number, offset?: number): DecodedFrame
  /** Forgets an unfinished frame. */
  restart(): void
}

/** A decoder for frames of up to `maxBytes`, or undefined where Node keeps its handle elsewhere. */
export function createZstdDecoder(maxBytes: number, windowLogMax: number): ZstdDecoder | undefined {
  let memory: DirectMemory | undefined // Made with the first frame: incompressible data has none.
  const engine = createZstdEngine(() =>
    createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: windowLogMax } }),
  )
  return (
    engine && {
      decode(encoded, limit, offset = 0) {
        memory ??= new DirectMemory(maxBytes)
        memory.reset()
        const room = memory.take(Math.min(limit, maxBytes), offset)
        const { freeBytes, unreadBytes } = engine.run(encoded, room, room.length)
        return { output: room.subarray(0, room.length - freeBytes), unreadBytes }
      },
      restart: () => engine.restart(),
    }
  )
}
