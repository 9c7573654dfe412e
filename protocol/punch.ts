/** The two messages of `/fluidcloud/punch/1.0.0`: fixed bytes, see punch.md. Pure. */
import { violation } from './field.ts'

/** The longest text of an address and a port, [IPv6 with an IPv4 tail]:port, has 53. */
const SOCKET_BYTES = 56

export interface PunchQuestion {
  /** `host:port` from which the asking agent will connect, as others see it; empty: it does not know. */
  readonly socket: string
}

export interface PunchAnswer extends PunchQuestion {
  /** True: the answering agent dials addresses that it knows of the asking one. */
  readonly comes: boolean
}

export const PUNCH_QUESTION_BYTES = SOCKET_BYTES
export const PUNCH_ANSWER_BYTES = 1 + SOCKET_BYTES

const SOCKET = /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[\da-f]*:[\da-f:.]+\]):([1-9]\d{0,4})$/i
const PADDED = /^([^\0]*)\0*$/

/** Who reads the address checks it. */
export function encodePunchQuestion({ socket }: PunchQuestion): Uint8Array {
  const bytes = Buffer.alloc(PUNCH_QUESTION_BYTES)
  bytes.write(socket, 'latin1')
  return bytes
}

/** Throws PROTOCOL_VIOLATION. */
export function decodePunchQuestion(bytes: Uint8Array): PunchQuestion {
  if (bytes.byteLength !== PUNCH_QUESTION_BYTES) throw violation(`A question of ${bytes.byteLength} bytes`)
  const socket = PADDED.exec(Buffer.from(bytes).toString('latin1'))?.[1]
  if (socket === '') return { socket }
  const port = Number(SOCKET.exec(socket ?? '')?.[1])
  if (socket === undefined || !(port <= 65_535)) throw violation('No address and port')
  return { socket }
}

export function encodePunchAnswer({ comes, socket }: PunchAnswer): Uint8Array {
  return Buffer.concat([Buffer.of(comes ? 1 : 0), encodePunchQuestion({ socket })])
}

/** Throws PROTOCOL_VIOLATION. */
export function decodePunchAnswer(bytes: Uint8Array): PunchAnswer {
  if (bytes.byteLength !== PUNCH_ANSWER_BYTES) throw violation(`An answer of ${bytes.byteLength} bytes`)
  if (bytes[0] > 1) throw violation(`An answer that begins with ${bytes[0]}`)
  return { comes: bytes[0] === 1, ...decodePunchQuestion(bytes.subarray(1)) }
}
