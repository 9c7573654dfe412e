/**
 * Who may connect, and how far a stranger gets: past Noise, which proves its peer ID, to the pairing protocol, for a few
 * seconds, in bounded numbers. With no ticket outstanding and requests switched off it gets nothing at all. An agent
 * that serves the directory lets strangers speak that, and identify, and dials strangers for it: bounded too.
 */
import type { Connection, ConnectionGater, MultiaddrConnection, StreamHandler } from '@libp2p/interface'
import { FluidError } from '../../protocol/errors.ts'
import {
  DIRECTORY_CONNECTION_MS,
  DIRECTORY_DIAL_BURST,
  DIRECTORY_DIALS_PER_SECOND,
  MAX_DIRECTORY_CONNECTIONS,
  MAX_DIRECTORY_HOST_CONNECTIONS,
  MAX_HOST_STRANGERS,
  MAX_PENDING_PAIRINGS,
  MAX_UPGRADING_CONNECTIONS,
  PAIRING_TIMEOUT_MS,
} from '../../protocol/limits.ts'
import { createFairPlaces } from './fair-places.ts'
import type { Refusals } from './refusals.ts'
import { createTokenBucket } from '../../protocol/token-bucket.ts'

export interface ConnectionPolicy {
  /** For libp2p. */
  readonly gater: ConnectionGater
  /** Paired. */
  isPaired(peer: string): boolean
  /** Paired, or a peer we asked to be paired with ourselves: it may know our addresses. */
  isKnown(peer: string): boolean
  /** Known, or anybody while this agent serves the directory. */
  mayIdentify(peer: string): boolean
  /** False for a stranger that is here for the directory or a relay only. */
  mayPair(peer: string): boolean
  /** Ends a stranger's connection when its time is over; the gater sees to inbound ones. */
  bound(connection: Connection): void
  /** Lets us dial a peer we are not paired with, until disposed. */
  expect(peer: string): Disposable
  /** Leaves connections with a stranger open beyond their time, until disposed. */
  keep(peer: string): Disposable
  /** Throws NOT_PAIRED, counted, unless the other end of `connection` is paired. First line of every handler. */
  requirePaired(connection: Connection): void
  /** `handler` behind requirePaired(); a stranger's stream is reset, unread. */
  pairedOnly(handler: StreamHandler): StreamHandler
}

export interface ConnectionPolicyOptions {
  readonly isPaired: (peer: string) => boolean
  /** True for a peer we asked to be paired with. */
  readonly isAwaited: (peer: string) => boolean
  /** False when a stranger could not pair anyway. */
  readonly acceptsStrangers: () => boolean
  /** True when this agent serves the directory. */
  readonly directory?: boolean
  /** True when this agent relays for anybody. */
  readonly relayForAll?: boolean
  /** True for a stranger that is reached through this agent now, or reaches another: it may stay. */
  readonly usesRelay?: (peer: string) => boolean
  readonly refusals: Refusals
  /** Lifetime of a stranger's connection, ms; PAIRING_TIMEOUT_MS, or DIRECTORY_CONNECTION_MS, unless given. */
  readonly strangerTimeoutMs?: number
}

/** A policy over what the options know. It holds one timer for each stranger's connection and nothing else. */
export function createConnectionPolicy(options: ConnectionPolicyOptions): ConnectionPolicy {
  const { isPaired, isAwaited, acceptsStrangers, directory = false, relayForAll = false, refusals } = options
  const { usesRelay = () => false } = options
  const isOpen = directory || relayForAll
  const { strangerTimeoutMs = isOpen ? DIRECTORY_CONNECTION_MS : PAIRING_TIMEOUT_MS } = options
  const mostStrangers = isOpen ? MAX_DIRECTORY_CONNECTIONS : MAX_PENDING_PAIRINGS
  const mostOfHost = isOpen ? MAX_DIRECTORY_HOST_CONNECTIONS : MAX_HOST_STRANGERS
  const dials = createTokenBucket({ burst: DIRECTORY_DIAL_BURST, perSecond: DIRECTORY_DIALS_PER_SECOND })
  const handshakes = createFairPlaces(MAX_UPGRADING_CONNECTIONS)
  const strangers = createFairPlaces(mostStrangers, { ofHost: mostOfHost })
  const expected = new Map<string, number>()
  const kept = new Map<string, number>()

  const isKnown = (peer: string) => isPaired(peer) || isAwaited(peer)
  const isExpected = (peer: string) => isKnown(peer) || expected.has(peer)

  function deniesDial(peer: string): boolean {
    if (isExpected(peer)) return false
    if (!directory) return true
    return dials.take() ? false : refuse('directory-dials')
  }

  function refuse(kind: string): true {
    refusals.count(kind)
    return true
  }

  function deniesInbound(peer: string, socket: MultiaddrConnection): boolean {
    if (isKnown(peer)) return false
    if (!isOpen && !acceptsStrangers()) return refuse('stranger')
    if (!strangers.take(socket)) return refuse('stranger-limit')
    const deadline = setInterval(() => {
      if (isKnown(peer) || kept.has(peer) || usesRelay(peer)) return
      if (!isOpen) refusals.count('stranger-timeout')
      socket.abort(new Error(`Not paired within ${strangerTimeoutMs} ms`))
    }, strangerTimeoutMs)
    deadline.unref()
    socket.addEventListener('close', () => clearInterval(deadline))
    return false
  }

  function requirePaired(connection: Connection): void {
    const peer = connection.remotePeer.toString()
    if (isPaired(peer)) return
    refusals.count('unpaired')
    throw new FluidError('NOT_PAIRED', `${peer} is not paired with this agent`, { peer })
  }

  return {
    gater: {
      denyDialPeer: (peer) => deniesDial(peer.toString()),
      denyOutboundEncryptedConnection: (peer) => !directory && !isExpected(peer.toString()),
      denyInboundConnection: (socket) => !handshakes.take(socket) && refuse('handshake-limit'),
      denyInboundEncryptedConnection: (peer, socket) => deniesInbound(peer.toString(), socket),
      denyInboundUpgradedConnection: (_, socket) => {
        handshakes.leave(socket)
        return false
      },
    },
    isPaired,
    isKnown,
    mayIdentify: (peer) => directory || isKnown(peer),
    // Else nobody but who may be paired would be connected.
    mayPair: (peer) => !isOpen || isKnown(peer) || acceptsStrangers(),
    bound: (connection) => {
      if (connection.direction === 'inbound' || isKnown(connection.remotePeer.toString())) return
      const peer = connection.remotePeer.toString()
      const deadline = setInterval(() => {
        if (!isKnown(peer) && !kept.has(peer)) void connection.close().catch(() => {})
      }, strangerTimeoutMs)
      deadline.unref()
      connection.addEventListener('close', () => clearInterval(deadline))
    },
    expect: (peer) => countIn(expected, peer),
    keep: (peer) => countIn(kept, peer),
    requirePaired,
    pairedOnly: (handler) => (stream, connection) => {
      try {
        requirePaired(connection)
      } catch (error) {
        stream.abort(error as FluidError)
        return
      }
      return handler(stream, connection)
    },
  }
}

/** Counts `peer` until it is disposed. */
function countIn(counts: Map<string, number>, peer: string): Disposable {
  counts.set(peer, (counts.get(peer) ?? 0) + 1)
  let open = true
  return {
    [Symbol.dispose]: () => {
      if (!open) return
      open = false
      const left = (counts.get(peer) ?? 1) - 1
      if (left > 0) counts.set(peer, left)
      else counts.delete(peer)
    },
  }
}
