/**
 * BLAKE3 of chunks. (Its declarations ask for Buffers; any Uint8Array will do, hence the casts.)
 *
 * Asking the package for base64url text and writing that into a buffer we hold is 1.7 times as fast at 4 KiB, and
 * 1.1 times at 64 KiB, as the fresh Buffer it gives otherwise: there is nothing for the garbage collector to finalise.
 */
import { blake3, blake3UrlSafeBase64 } from '@napi-rs/blake-hash'
import { DIGEST_BYTES } from '../protocol/limits.ts'

/** Writes the digest of `bytes` into `out` at `outOffset`. Throws RangeError when DIGEST_BYTES do not fit there. */
export function digestInto(bytes: Uint8Array, out: Buffer, outOffset: number): void {
  if (outOffset < 0 || outOffset + DIGEST_BYTES > out.length) {
    throw new RangeError(`No room for a digest at ${outOffset} of ${out.length} bytes`)
  }
  out.write(blake3UrlSafeBase64(bytes as Buffer), outOffset, 'base64url')
}

/** The digest of `bytes` in a buffer of its own. */
export function digestOf(bytes: Uint8Array): Buffer {
  return blake3(bytes as Buffer)
}

const scratch = Buffer.alloc(DIGEST_BYTES)

/** True when `bytes` have the digest found in `digests` at `at`; makes no garbage. */
export function hasDigest(bytes: Uint8Array, digests: Uint8Array, at: number): boolean {
  digestInto(bytes, scratch, 0)
  return scratch.compare(digests, at, at + DIGEST_BYTES) === 0
}
