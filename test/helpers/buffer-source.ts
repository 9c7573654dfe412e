/** Bytes in memory as a source, which counts what is asked for and refuses what lies outside. */
import type { Source } from '../../transfer/source.ts'

export interface BufferSource extends Source {
  readonly readBytes: number
}

export function bufferSource(bytes: Buffer): BufferSource {
  let readBytes = 0
  return {
    get readBytes() {
      return readBytes
    },
    sizeBytes: bytes.length,
    supports: { holes: false },
    async *extents(from) {
      yield { offset: from, length: bytes.length - from }
    },
    read(target, offset) {
      if (offset < 0 || offset + target.length > bytes.length)
        throw new RangeError(`Read of ${target.length} bytes at ${offset}, outside ${bytes.length}`)
      readBytes += target.length
      bytes.copy(target, 0, offset, offset + target.length)
    },
    prefetch() {},
    async fingerprint() {
      return 'buffer'
    },
    async [Symbol.asyncDispose]() {},
  }
}
