/**
 * Pairing tickets: one line of text that names an agent, tells how to reach it and proves its owner's consent.
 *
 * `fluid1`, then base58 of a payload and its checksum; layout in pairing.md, Ticket. The checksum is there so that
 * a mistyped ticket can be told from an expired one; it protects nothing else.
 */
import { blake3 } from '@napi-rs/blake-hash'
import { fromString } from 'uint8arrays/from-string'
import { toString } from 'uint8arrays/to-string'
import { FluidError } from './errors.ts'
import { isPrintable } from './field.ts'
import {
  MAX_ADDRESSES,
  MAX_PEER_ID_BYTES,
  MAX_TICKET_CHARS,
  TICKET_ID_BYTES,
  TICKET_SECRET_BYTES,
} from './limits.ts'

const PREFIX = 'fluid1'
const VERSION = 1
const CHECKSUM_BYTES = 4
const MAX_ADDRESS_BYTES = 255

/** What a ticket carries. */
export interface Ticket {
  /** Peer ID of the issuer, as text. */
  readonly peer: string
  /** 16 bytes; names the ticket at its issuer. */
  readonly id: Uint8Array
  /** 32 random bytes; the issuer keeps only ticketSecretDigest() of them. */
  readonly secret: Uint8Array
  /** Multiaddrs of the issuer, each ending in /p2p/<peer>. */
  readonly addresses: readonly string[]
  /** Unix time in milliseconds. */
  readonly expiresAt: number
}

/** The ticket as text; an address without its /p2p/<peer> gains it. Throws RangeError for what no ticket can hold. */
export function formatTicket(ticket: Ticket): string {
  const peer = fromString(ticket.peer, 'base58btc')
  if (peer.length === 0 || peer.length > MAX_PEER_ID_BYTES)
    throw new RangeError('Peer ID is empty or too long')
  if (ticket.id.length !== TICKET_ID_BYTES) throw new RangeError(`Ticket id is not ${TICKET_ID_BYTES} bytes`)
  if (ticket.secret.length !== TICKET_SECRET_BYTES)
    throw new RangeError(`Secret is not ${TICKET_SECRET_BYTES} bytes`)
  if (ticket.addresses.length > MAX_ADDRESSES) throw new RangeError(`More than ${MAX_ADDRESSES} addresses`)
  const expires = Buffer.alloc(8)
  expires.writeBigUInt64LE(BigInt(ticket.expiresAt))
  const payload = Buffer.concat([
    Uint8Array.of(VERSION),
    ticket.id,
    ticket.secret,
    expires,
    sized(peer),
    Uint8Array.of(ticket.addresses.length),
    ...ticket.addresses.map((address) => sized(Buffer.from(withoutPeer(address, ticket.peer)))),
  ])
  const text = PREFIX + toString(Buffer.concat([payload, checksum(payload)]), 'base58btc')
  if (text.length > MAX_TICKET_CHARS)
    throw new RangeError(`Ticket is longer than ${MAX_TICKET_CHARS} characters`)
  return text
}

/** Reads a ticket, whatever white space a terminal or mail put into it; throws TICKET_INVALID with the reason. */
export function parseTicket(text: string, { nowMs = Date.now() }: { nowMs?: number } = {}): Ticket {
  const line = text.slice(0, 2 * MAX_TICKET_CHARS).replace(/\s+/g, '')
  if (/^fluid[02-9]/.test(line)) throw newer()
  if (!line.startsWith(PREFIX)) throw invalid('Ticket does not begin with fluid1')
  if (line.length > MAX_TICKET_CHARS) throw invalid(`Ticket is longer than ${MAX_TICKET_CHARS} characters`)
  const ticket = readPayload(checkedPayload(line.slice(PREFIX.length)))
  if (ticket.expiresAt <= nowMs) {
    throw invalid(`Ticket expired at ${new Date(ticket.expiresAt).toISOString()}`, 'Ask for a new ticket')
  }
  return ticket
}

/** What the issuer stores of a secret: a stolen store redeems nothing. */
export function ticketSecretDigest(secret: Uint8Array): Uint8Array {
  return blake3(Buffer.concat([Buffer.from('fluidcloud ticket secret v1\n'), secret]))
}

function checkedPayload(encoded: string): Uint8Array {
  const bytes = decodeBase58(encoded)
  const payload = bytes.subarray(0, Math.max(0, bytes.length - CHECKSUM_BYTES))
  if (Buffer.compare(checksum(payload), bytes.subarray(payload.length)) !== 0) throw mistyped()
  return payload
}

function decodeBase58(encoded: string): Uint8Array {
  try {
    return fromString(encoded, 'base58btc')
  } catch (cause) {
    throw mistyped(cause)
  }
}

function readPayload(payload: Uint8Array): Ticket {
  let at = 0
  const take = (length: number): Uint8Array => {
    if (at + length > payload.length) throw invalid('Ticket is malformed')
    return payload.subarray(at, (at += length)).slice()
  }
  const byte = () => take(1)[0]
  if (byte() !== VERSION) throw newer()
  const id = take(TICKET_ID_BYTES)
  const secret = take(TICKET_SECRET_BYTES)
  const expiresAt = Number(Buffer.from(take(8)).readBigUInt64LE())
  const peer = toString(take(byte()), 'base58btc')
  const count = byte()
  const addresses = Array.from({ length: count }, () => `${Buffer.from(take(byte())).toString()}/p2p/${peer}`)
  const sound = peer !== '' && count <= MAX_ADDRESSES && isTime(expiresAt) && addresses.every(isPrintable)
  if (!sound || at !== payload.length) throw invalid('Ticket is malformed')
  return { peer, id, secret, addresses, expiresAt }
}

function isTime(ms: number): boolean {
  return !Number.isNaN(new Date(ms).getTime())
}

function sized(bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_ADDRESS_BYTES)
    throw new RangeError(`Address is longer than ${MAX_ADDRESS_BYTES} bytes`)
  return Buffer.concat([Uint8Array.of(bytes.length), bytes])
}

function withoutPeer(address: string, peer: string): string {
  const suffix = `/p2p/${peer}`
  return address.endsWith(suffix) ? address.slice(0, -suffix.length) : address
}

function checksum(payload: Uint8Array): Uint8Array {
  return blake3(Buffer.concat([Buffer.from('fluidcloud ticket v1\n'), payload])).subarray(0, CHECKSUM_BYTES)
}

function invalid(message: string, hint?: string, cause?: unknown): FluidError {
  return new FluidError('TICKET_INVALID', message, { hint, cause })
}

function mistyped(cause?: unknown): FluidError {
  return invalid(
    'Ticket is mistyped or incomplete',
    'Copy the whole ticket again, from fluid1 to its end',
    cause,
  )
}

function newer(): FluidError {
  return invalid('Ticket was issued by a newer version of FluidCloud', 'Update FluidCloud on this machine')
}
