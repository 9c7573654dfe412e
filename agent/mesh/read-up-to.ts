/** Reading short messages of a stream that may send anything. */
import type { Stream } from '@libp2p/interface'

/** The first bytes of a stream, up to `most`, or all of it if it ends before. Throws when there are more. */
export async function readUpTo(stream: Stream, most: number, signal: AbortSignal): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of stream) {
    signal.throwIfAborted()
    parts.push(part.subarray())
    length += part.byteLength
    if (length >= most) break
  }
  if (length > most) throw new Error(`More than ${most} bytes`)
  return Buffer.concat(parts)
}
