/**
 * Holes for TCP: two agents behind NATs or firewalls that only a relay connects tell each other over it from which
 * address outside they will connect, and connect to each other from there at the same time: TCP's simultaneous open
 * (RFC 9293, section 3.5; RFC 5382). protocol/punch.md says how. Each has that address from the relay, which it dials
 * once more from the port it will use.
 */
import { once } from 'node:events'
import { createServer, isIP, type AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, Libp2p } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { PUNCH_PROTOCOL } from '../../protocol/ids.ts'
import { TCP_PUNCH_KNOCK_MS } from '../../protocol/limits.ts'
import {
  decodePunchAnswer,
  encodePunchQuestion,
  type PunchAnswer,
  PUNCH_ANSWER_BYTES,
} from '../../protocol/punch.ts'
import { addrAt, socketOf } from '../reach/own-addresses.ts'
import { hostOf, isLoopback, isPrivate, relayOf } from './addresses.ts'
import type { PortDialer } from './port-dialer.ts'
import { readUpTo } from './read-up-to.ts'
import { isRelayed } from './relay.ts'

export type PunchingNode = Libp2p<{ ports: PortDialer }>

/** A port of this agent, and how others see it. */
export interface Door extends AsyncDisposable {
  /** `host:port` */
  readonly outside: string
  /** Connects to `peer`, which does the same at `socket`, until it succeeds or `signal` aborts. */
  meet(
    socket: string,
    peer: string,
    options: { initiator: boolean; signal: AbortSignal },
  ): Promise<Connection>
  /** False for an address that a peer has no business to name. */
  mayMeet(socket: string): boolean
}

/** Connections that two dialed at the same time. */
const met = new WeakSet<Connection>()

/** True of a connection by a hole for TCP. */
export function isMet(connection: Connection): boolean {
  return met.has(connection)
}

/** A port, as the relay of `relayed` sees it. Rejects when that cannot be had. */
export async function openDoor(
  node: PunchingNode,
  relayed: Connection,
  { signal, isOutside = (host) => !isLoopback(host) }: { signal: AbortSignal } & Outside,
): Promise<Door> {
  const relay = relayOf(relayed.remoteAddr)
  const open = relay === undefined ? [] : node.getConnections(peerIdFromString(relay))
  // Only at an address that was dialed somebody listens.
  const way = open.find(
    (each) =>
      each.status === 'open' &&
      each.direction === 'outbound' &&
      !isRelayed(each) &&
      socketOf(each.remoteAddr),
  )
  const relayHost = way && hostOf(way.remoteAddr)
  if (relay === undefined || !way || relayHost === undefined || !isOutside(relayHost))
    throw new Error('No relay can be asked for an address outside')
  const host = isIP(relayHost) === 6 ? '::' : '0.0.0.0'
  const local = { host, port: await freePort(host) }
  const { ports } = node.services
  const asked = await ports.dialFrom(local, addrAt(socketOf(way.remoteAddr)!, relay), { signal })
  // Left open: some NATs forget a port without connections at once.
  await using stack = new AsyncDisposableStack()
  stack.defer(() => asked.close({ signal: AbortSignal.timeout(CLOSE_MS) }).catch(() => {}))
  const { socket: outside } = await ask(asked, '', signal)
  const ownHost = outside && hostOf(addrAt(outside))
  if (!ownHost || !isOutside(ownHost)) throw new Error('The relay knows no address outside')
  const owned = stack.move()

  return {
    outside,
    mayMeet(socket) {
      const named = hostOf(addrAt(socket))
      // Of a private network only if the relay is of one, too.
      return (
        isIP(named ?? '') === isIP(ownHost) &&
        isOutside(named!) &&
        (!isPrivate(named) || isPrivate(relayHost))
      )
    },
    async meet(socket, peer, { initiator, signal: within }) {
      const addr = addrAt(socket, peer)
      for (;;) {
        try {
          const connection = await ports.dialFrom(local, addr, { signal: within, initiator })
          met.add(connection)
          return connection
        } catch {
          // A NAT that has no hole yet may refuse instead of being silent.
          await delay(TCP_PUNCH_KNOCK_MS, undefined, { signal: within, ref: false })
        }
      }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** For tests, whose hosts are all of one machine. */
export interface Outside {
  readonly isOutside?: (host: string) => boolean
}

const CLOSE_MS = 1_000

/** There was nothing to try. */
export class NoDoor extends Error {}

/** A connection past the relay of `relayed`, by TCP. Rejects when `signal` aborts, or before when there is no way. */
export async function punchTcp(
  node: PunchingNode,
  relayed: Connection,
  { signal, ...more }: { signal: AbortSignal } & Outside,
): Promise<Connection> {
  const over = new AbortController()
  const within = AbortSignal.any([signal, over.signal])
  const peer = relayed.remotePeer.toString()
  await using door = await openDoor(node, relayed, { signal: within, ...more }).catch(() => undefined)
  signal.throwIfAborted()
  const comes = arrival(node, relayed, within)
  comes.catch(() => {})
  try {
    const answer = await ask(relayed, door?.outside ?? '', signal)
    const ways = answer.comes ? [comes] : []
    if (door && answer.socket && door.mayMeet(answer.socket))
      ways.push(door.meet(answer.socket, peer, { initiator: true, signal: within }))
    if (ways.length === 0) throw new NoDoor('Neither side has an address outside')
    return await Promise.any(ways)
  } finally {
    over.abort()
  }
}

/** One question and its answer. */
async function ask(connection: Connection, socket: string, signal: AbortSignal): Promise<PunchAnswer> {
  const stream = await connection.newStream(PUNCH_PROTOCOL, { signal, runOnLimitedConnection: true })
  const stop = () => stream.abort(new Error('No answer in time'))
  signal.addEventListener('abort', stop, { once: true })
  try {
    stream.send(encodePunchQuestion({ socket }))
    return decodePunchAnswer(await readUpTo(stream, PUNCH_ANSWER_BYTES, signal))
  } finally {
    signal.removeEventListener('abort', stop)
    await stream.close({ signal }).catch((error: Error) => stream.abort(error))
  }
}

/** The next connection that the other end of `relayed` opens, not through a relay. */
function arrival(node: PunchingNode, { remotePeer }: Connection, signal: AbortSignal): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const onOpen = ({ detail }: CustomEvent<Connection>): void => {
      const isTheirs = detail.direction === 'inbound' && detail.remotePeer.equals(remotePeer)
      if (!isTheirs || isRelayed(detail)) return
      node.removeEventListener('connection:open', onOpen)
      resolve(detail)
    }
    node.addEventListener('connection:open', onOpen)
    signal.addEventListener('abort', () => {
      node.removeEventListener('connection:open', onOpen)
      reject(new Error('The peer did not come in time'))
    })
  })
}

/** A port that nothing of this machine uses now. */
async function freePort(host: string): Promise<number> {
  const server = createServer().listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
