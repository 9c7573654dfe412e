/**
 * Who may connect, and how far a stranger gets: past Noise, which proves its peer ID, to the pairing protocol, for a few
 * seconds, in bounded numbers. With no ticket outstanding and requests switched off it gets nothing at all.
 */
import type { Connection, ConnectionGater, MultiaddrConnection, StreamHandler } from '@libp2p/interface'
import { FluidError } from '../protocol/errors.ts'
import { MAX_HOST_STRANGERS, MAX_PENDING_PAIRINGS, PAIRING_TIMEOUT_MS } from '../protocol/limits.ts'
import { hostOf } from './addresses.ts'
import type { Refusals } from './refusals.ts'

export interface ConnectionPolicy {
  /** For libp2p. */
  readonly gater: ConnectionGater
  /** Paired. */
  isPaired(peer: string): boolean
  /** Paired, or a peer we asked to be paired with ourselves: it may know our addresses. */
  isKnown(peer: string): boolean
  /** Lets us dial a peer we are not paired with, until disposed. */
  expect(peer: string): Disposable
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
  readonly refusals: Refusals
  /** Lifetime of a stranger's connection, ms. */
  readonly strangerTimeoutMs?: number
}

/** A policy over what the options know. It holds one timer for each stranger's connection and nothing else. */
export function createConnectionPolicy(options: ConnectionPolicyOptions): ConnectionPolicy {
  const { isPaired, isAwaited, acceptsStrangers, refusals, strangerTimeoutMs = PAIRING_TIMEOUT_MS } = options
  /** Open connections of strangers, and the host of each. */
  const strangers = new Map<MultiaddrConnection, string>()
  const expected = new Map<string, number>()

  const isKnown = (peer: string) => isPaired(peer) || isAwaited(peer)
  const maybeDialed = (peer: string) => isKnown(peer) || expected.has(peer)

  function refuse(kind: string): true {
    refusals.count(kind)
    return true
  }

  function deniesInbound(peer: string, socket: MultiaddrConnection): boolean {
    if (isKnown(peer)) return false
    if (!acceptsStrangers()) return refuse('stranger')
    const host = hostOf(socket.remoteAddr) ?? ''
    const fromHost = [...strangers.values()].filter((other) => other === host).length
    if (strangers.size >= MAX_PENDING_PAIRINGS || fromHost >= MAX_HOST_STRANGERS)
      return refuse('stranger-limit')
    strangers.set(socket, host)
    const deadline = setTimeout(() => {
      if (isKnown(peer)) return
      refusals.count('stranger-timeout')
      socket.abort(new Error(`Not paired within ${strangerTimeoutMs} ms`))
    }, strangerTimeoutMs)
    deadline.unref()
    socket.addEventListener('close', () => {
      clearTimeout(deadline)
      strangers.delete(socket)
    })
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
      denyDialPeer: (peer) => !maybeDialed(peer.toString()),
      denyOutboundEncryptedConnection: (peer) => !maybeDialed(peer.toString()),
      denyInboundEncryptedConnection: (peer, socket) => deniesInbound(peer.toString(), socket),
    },
    isPaired,
    isKnown,
    expect: (peer) => {
      expected.set(peer, (expected.get(peer) ?? 0) + 1)
      let open = true
      return {
        [Symbol.dispose]: () => {
          if (!open) return
          open = false
          const left = (expected.get(peer) ?? 1) - 1
          if (left > 0) expected.set(peer, left)
          else expected.delete(peer)
        },
      }
    },
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
