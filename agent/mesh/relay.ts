/**
 * This agent as a relay: it carries connections between agents that cannot reach each other, within a quota. What it
 * carries is Noise between the two ends, so it can cut and count, and read nothing. libp2p's circuit relay v2 does the
 * work; here is who may use it, and how much.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { circuitRelayServer, type CircuitRelayServerComponents } from '@libp2p/circuit-relay-v2'
import type { Connection, PeerId, Stream, StreamHandler } from '@libp2p/interface'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_RELAY_STREAMS, MAX_RELAYED_PER_PEER } from '../../protocol/limits.ts'
import { isCircuit } from './addresses.ts'
import type { ConnectionPolicy } from './connection-policy.ts'
import { override } from './override.ts'
import type { RelayAccounts, RelayAccountsReport } from '../reach/relay-accounts.ts'
import type { Refusals } from './refusals.ts'

/** What the owner gives away. */
export interface RelayQuota {
  /** Carried in 24 hours, both ways, all peers together. */
  readonly bytes: number
  /** Of these, what one peer may send and receive; a quarter of them unless given. */
  readonly peerBytes?: number
  /** Longest life of one relayed connection. */
  readonly timeMs: number
  /** Peers that may be reached through here at the same time. */
  readonly reservations: number
}

export interface Relay {
  /** True for a peer that is reached through here, or reaches another. */
  holds(peer: string): boolean
  report(): RelayReport
}

export interface RelayReport extends RelayAccountsReport {
  readonly reservations: number
  readonly connections: number
}

export interface RelayParts {
  readonly quota: RelayQuota
  /** What was carried; owned by the caller. */
  readonly accounts: RelayAccounts
  /** Anybody may use it; else paired peers only, at both ends. */
  readonly forAll: boolean
  readonly policy: ConnectionPolicy
  readonly refusals: Refusals
}

/** More than the messages that set a relayed connection up take. */
const HOP_BYTES = 4096

/** The service for libp2p. */
export function relayService(parts: RelayParts): (components: CircuitRelayServerComponents) => Relay {
  const { quota, accounts, policy, refusals } = parts
  return (components) => {
    /** The connection that is being asked for, while the server handles it. */
    const current = new AsyncLocalStorage<Carried>()
    /** Streams open to each peer: connections it asked for. */
    const open = new Map<string, number>()
    const admits = (peer: string) => parts.forAll || policy.isPaired(peer)
    const refuse = (kind: string): true => {
      refusals.count(kind)
      return true
    }

    const handle: typeof components.registrar.handle = (protocol, handler, options) =>
      components.registrar.handle(protocol, guarded(handler), options)

    function guarded(handler: StreamHandler): StreamHandler {
      return (stream, connection) => {
        const peer = connection.remotePeer.toString()
        const others = open.get(peer) ?? 0
        if (!admits(peer) || others >= MAX_RELAYED_PER_PEER) {
          refuse(admits(peer) ? 'relay-limit' : 'relay')
          stream.abort(new FluidError('POLICY_DENIED', 'This agent relays nothing for this peer'))
          return
        }
        open.set(peer, others + 1)
        stream.addEventListener('close', () => {
          const left = (open.get(peer) ?? 1) - 1
          if (left > 0) open.set(peer, left)
          else open.delete(peer)
        })
        const carried: Carried = { peers: [peer] }
        return current.run(carried, () => handler(metered(stream, accounts, carried), connection))
      }
    }

    /** A stranger that was here first gives its place to a paired peer. */
    function makeRoomFor(paired: PeerId): void {
      const { reservations } = server
      if (reservations.has(paired) || reservations.size < quota.reservations) return
      const stranger = [...reservations.keys()].find((id) => !policy.isPaired(id.toString()))
      if (stranger) reservations.delete(stranger)
    }

    const server = circuitRelayServer({
      maxInboundHopStreams: MAX_RELAY_STREAMS,
      maxOutboundStopStreams: MAX_RELAY_STREAMS,
      reservations: { maxReservations: quota.reservations, defaultDurationLimit: quota.timeMs },
    })(
      override(components, {
        registrar: override(components.registrar, { handle }),
        connectionGater: {
          denyInboundRelayReservation: (source) => {
            if (!admits(source.toString())) return refuse('relay')
            if (policy.isPaired(source.toString())) makeRoomFor(source)
            return false
          },
          denyOutboundRelayedConnection: (source, destination) => {
            if (!admits(source.toString()) || !admits(destination.toString())) return refuse('relay')
            const peers = [source.toString(), destination.toString()]
            const left = accounts.left(...peers)
            if (left <= 0) return refuse('relay-quota')
            const carried = current.getStore()
            if (carried) carried.peers = peers
            // Told to both ends, and held to by the server.
            const reservation = server.reservations.get(destination)
            if (reservation) reservation.limit = { data: BigInt(toldBytes(left)), duration: quota.timeMs }
            return false
          },
        } satisfies Partial<typeof components.connectionGater>,
      }),
    )
    return override(server as typeof server & Relay, {
      holds: (peer: string) =>
        open.has(peer) || [...server.reservations.keys()].some((id) => id.toString() === peer),
      report: (): RelayReport => ({
        reservations: server.reservations.size,
        connections: [...open.values()].reduce((sum, each) => sum + each, 0),
        ...accounts.report(),
      }),
    })
  }
}

/**
 * The limit that both ends are told. Numbers from 2^31 to 2^32 - 1 break the connection: protons-runtime 7.1.2, as
 * circuit-relay-v2 has it, writes them shorter than they are.
 */
function toldBytes(left: number): number {
  return left >= 2 ** 31 && left < 2 ** 32 ? 2 ** 31 - 1 : left
}

/** One connection that somebody asked for. */
interface Carried {
  /** Who pays for what passes: both ends, once the other is known. */
  peers: readonly string[]
}

/** Counts what passes on the stream of whoever asked for the connection, both ways, and cuts it when a quota is used up. */
function metered(stream: Stream, accounts: RelayAccounts, carried: Carried): Stream {
  // What the protocol itself says on the stream is free, so that a refusal can be said.
  let free = HOP_BYTES
  const pass = (bytes: number): void => {
    free -= bytes
    if (free >= 0) return
    accounts.spend(bytes, ...carried.peers)
    if (accounts.left(...carried.peers) <= 0)
      stream.abort(new FluidError('LIMIT_EXCEEDED', 'The quota of this relay is used up'))
  }
  const send = stream.send.bind(stream)
  stream.send = (data) => {
    pass(data.byteLength)
    return stream.status === 'open' ? send(data) : false
  }
  stream.addEventListener('message', ({ data }) => pass(data.byteLength))
  return stream
}

/** True when a relay lies between the ends of the connection. */
export function isRelayed({ remoteAddr }: Pick<Connection, 'remoteAddr'>): boolean {
  return isCircuit(remoteAddr) && !remoteAddr.getComponents().some(({ name }) => name === 'webrtc')
}
