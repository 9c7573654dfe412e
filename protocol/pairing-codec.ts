/** Pairing messages, decoded and validated, and their codec; spec pairing.md. */
import { ERRORS, codeOfWire, type ErrorCode } from './errors.ts'
import { decodeMessage, fixedBytes, integer, printable, text } from './field.ts'
import {
  MAX_NAME_BYTES,
  MAX_TEXT_BYTES,
  MAX_VOLUME_BYTES,
  TICKET_ID_BYTES,
  TICKET_SECRET_BYTES,
} from './limits.ts'
import { fluidcloud } from './pb/pairing.js'

const { Frame } = fluidcloud.pairing.v1
type WireFrame = fluidcloud.pairing.v1.Frame.$Properties

/** What a listener tells a dialer about its grant; the folder stays its own business. */
export interface GrantSummary {
  /** True when volumes may be sent. */
  readonly write: boolean
  /** Largest volume; 0: no limit but the disk. */
  readonly maxBytes: number
  /** True when every job waits for a person. */
  readonly ask: boolean
}

export type PairingMessage =
  | {
      readonly kind: 'redeem'
      readonly ticketId: Uint8Array
      readonly secret: Uint8Array
      readonly name: string
    }
  | { readonly kind: 'request'; readonly name: string }
  | { readonly kind: 'paired'; readonly name: string; readonly grant?: GrantSummary }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'waiting' }
  /** A message of a later minor. */
  | { readonly kind: 'unknown' }

/** One pairing message without its length prefix; throws PROTOCOL_VIOLATION for what a peer would refuse. */
export function encodePairing(message: PairingMessage): Uint8Array {
  const bytes = Frame.encode(toWire(message)).finish()
  decodePairing(bytes)
  return bytes
}

/** The message in `bytes`; throws PROTOCOL_VIOLATION. */
export function decodePairing(bytes: Uint8Array): PairingMessage {
  const frame = decodeMessage('Pairing message', (reader) => Frame.decode(reader), bytes)
  switch (frame.message) {
    case 'redeem':
      return {
        kind: 'redeem',
        ticketId: fixedBytes('Ticket id', frame.redeem.ticketId ?? new Uint8Array(), TICKET_ID_BYTES),
        secret: fixedBytes('Ticket secret', frame.redeem.secret ?? new Uint8Array(), TICKET_SECRET_BYTES),
        name: text('Name', frame.redeem.name ?? '', MAX_NAME_BYTES),
      }
    case 'request':
      return { kind: 'request', name: text('Name', frame.request.name ?? '', MAX_NAME_BYTES) }
    case 'paired': {
      const { name, grant } = frame.paired
      return {
        kind: 'paired',
        name: text('Name', name ?? '', MAX_NAME_BYTES),
        ...(grant && {
          grant: {
            write: grant.write ?? false,
            maxBytes: integer('Largest volume', grant.maxBytes ?? 0, 0, MAX_VOLUME_BYTES),
            ask: grant.ask ?? false,
          },
        }),
      }
    }
    case 'refused': {
      const message = text('Refusal', frame.refused.message ?? '', MAX_TEXT_BYTES)
      return { kind: 'refused', code: codeOfWire(frame.refused.code ?? 0), message }
    }
    case 'waiting':
      return { kind: 'waiting' }
    default:
      return { kind: 'unknown' }
  }
}

function toWire(message: PairingMessage): WireFrame {
  switch (message.kind) {
    case 'redeem': {
      const { ticketId, secret, name } = message
      return { redeem: { ticketId, secret, name: printable(name, MAX_NAME_BYTES) } }
    }
    case 'request':
      return { request: { name: printable(message.name, MAX_NAME_BYTES) } }
    case 'paired':
      return { paired: { name: printable(message.name, MAX_NAME_BYTES), grant: message.grant } }
    case 'refused':
      return {
        refused: { code: ERRORS[message.code].wire, message: printable(message.message, MAX_TEXT_BYTES) },
      }
    case 'waiting':
      return { waiting: {} }
    case 'unknown':
      throw new TypeError('A message of an unknown kind cannot be encoded')
  }
}
