/** The two messages of `/fluidcloud/reach/1.0.0`: fixed bytes, see reach.md. Pure. */
import { violation } from './field.ts'
import { TOKEN_BYTES } from './limits.ts'

export interface ReachQuestion {
  /** TOKEN_BYTES; what arrives at the data port with it is the answer to this question. */
  readonly token: Uint8Array
  /** Outer ports of the asking agent; 0: is not asked for. */
  readonly meshPort: number
  readonly dataPort: number
}

export interface ReachAnswer {
  /** False: nothing was tried. */
  readonly tried: boolean
  /** Where the question came from, as the answering agent saw it: characters of an IP address; who reads it checks it. */
  readonly host: string
}

export const REACH_QUESTION_BYTES = TOKEN_BYTES + 4
/** One byte, and the longest text of an IP address. */
export const MAX_REACH_ANSWER_BYTES = 1 + 45

const ADDRESS = /^[\da-f]*[.:][\da-f.:]+$/i

export function encodeReachQuestion({ token, meshPort, dataPort }: ReachQuestion): Uint8Array {
  const bytes = Buffer.alloc(REACH_QUESTION_BYTES)
  bytes.set(token.subarray(0, TOKEN_BYTES))
  bytes.writeUInt16BE(meshPort, TOKEN_BYTES)
  bytes.writeUInt16BE(dataPort, TOKEN_BYTES + 2)
  return bytes
}

/** Throws PROTOCOL_VIOLATION. */
export function decodeReachQuestion(bytes: Uint8Array): ReachQuestion {
  if (bytes.byteLength !== REACH_QUESTION_BYTES) throw violation(`A question of ${bytes.byteLength} bytes`)
  const view = Buffer.from(bytes)
  const meshPort = view.readUInt16BE(TOKEN_BYTES)
  const dataPort = view.readUInt16BE(TOKEN_BYTES + 2)
  if (meshPort === 0 && dataPort === 0) throw violation('A question for no port')
  return { token: Uint8Array.from(view.subarray(0, TOKEN_BYTES)), meshPort, dataPort }
}

export function encodeReachAnswer({ tried, host }: ReachAnswer): Uint8Array {
  return Buffer.concat([Buffer.of(tried ? 1 : 0), Buffer.from(host, 'latin1')])
}

/** Throws PROTOCOL_VIOLATION. */
export function decodeReachAnswer(bytes: Uint8Array): ReachAnswer {
  if (bytes.byteLength > MAX_REACH_ANSWER_BYTES) throw violation(`An answer of ${bytes.byteLength} bytes`)
  const host = Buffer.from(bytes.subarray(1)).toString('latin1')
  if (bytes[0] > 1 || !ADDRESS.test(host)) throw violation('An answer without an address')
  return { tried: bytes[0] === 1, host }
}
