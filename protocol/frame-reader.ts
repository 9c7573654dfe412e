/**
 * Length-prefixed messages in a byte stream: an unsigned varint, as libp2p writes it, then that many bytes.
 * Used by the control and pairing streams; lanes have their own prefix in codec.ts.
 */
import { violation } from './field.ts'

/** Bytes of the longest length prefix: 2^28 - 1, more than any limit. */
const MAX_PREFIX_BYTES = 4

/** `body` behind its length, in a buffer of its own. */
export function frameControl(body: Uint8Array): Uint8Array {
  const prefix: number[] = []
  let rest = body.length
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) prefix.push((rest % 0x80) | 0x80)
  prefix.push(rest)
  const framed = new Uint8Array(prefix.length + body.length)
  framed.set(prefix)
  framed.set(body, prefix.length)
  return framed
}

/** Takes a stream apart into messages, however its bytes are cut. */
export interface FrameReader {
  /** The messages completed by `bytes`, copies; throws PROTOCOL_VIOLATION, after which the stream is of no use. */
  push(bytes: Uint8Array): Uint8Array[]
  /** Bytes of an unfinished message that are held; 0 between messages, so not 0 at the end is a truncated stream. */
  readonly heldBytes: number
}

/** Reads messages of 1 to `maxBytes`; a longer one is refused by its prefix, so no more than that is ever held. */
export function createFrameReader(maxBytes: number): FrameReader {
  let prefix: number[] = []
  let body: Uint8Array | undefined
  let filled = 0

  function readPrefix(byte: number): void {
    prefix.push(byte)
    if (byte >= 0x80) {
      if (prefix.length === MAX_PREFIX_BYTES)
        throw violation(`Length prefix is longer than ${MAX_PREFIX_BYTES} bytes`)
      return
    }
    if (byte === 0 && prefix.length > 1) throw violation('Length prefix is not in its shortest form')
    const length = prefix.reduceRight((value, part) => value * 0x80 + (part & 0x7f), 0)
    if (length < 1 || length > maxBytes)
      throw violation(`Message of ${length} bytes is outside 1 to ${maxBytes}`)
    body = new Uint8Array(length)
    filled = 0
    prefix = []
  }

  return {
    get heldBytes() {
      return prefix.length + (body ? filled : 0)
    },
    push(bytes) {
      const messages: Uint8Array[] = []
      let at = 0
      while (at < bytes.length) {
        if (!body) {
          readPrefix(bytes[at++])
          continue
        }
        const part = bytes.subarray(at, at + body.length - filled)
        body.set(part, filled)
        filled += part.length
        at += part.length
        if (filled === body.length) {
          messages.push(body)
          body = undefined
        }
      }
      return messages
    },
  }
}
