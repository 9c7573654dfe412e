/**
 * The other side of a hole for TCP (tcp-punch.ts): it connects to paired peers that a relay connects when they ask for it,
 * and tells those who use this agent as a relay from where they are connected.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { createAllowance } from '../../protocol/allowance.ts'
import { PUNCH_PROTOCOL } from '../../protocol/ids.ts'
import {
  MAX_PUNCH_ANSWERS,
  PUNCH_ANSWER_BURST,
  PUNCH_ANSWERS_PER_SECOND,
  TCP_PUNCH_TIMEOUT_MS,
} from '../../protocol/limits.ts'
import { decodePunchQuestion, encodePunchAnswer, PUNCH_QUESTION_BYTES } from '../../protocol/punch.ts'
import { isCircuit } from './addresses.ts'
import type { ConnectionPolicy } from './connection-policy.ts'
import { dialDirect } from './dial-peer.ts'
import type { MeshNode } from './node.ts'
import { addrsOf } from './peer-address.ts'
import { readUpTo } from './read-up-to.ts'
import type { Refusals } from './refusals.ts'
import { isRelayed } from './relay.ts'
import { socketOf } from '../reach/own-addresses.ts'
import { openDoor, type Outside } from './tcp-punch.ts'

/** Answers until it is disposed. */
export async function answerPunches({
  node,
  connectionPolicy,
  refusals,
  relaysFor = connectionPolicy.isPaired,
  ...more
}: {
  readonly node: MeshNode
  readonly connectionPolicy: ConnectionPolicy
  readonly refusals: Refusals
  /** True for a peer that may use this agent as a relay. */
  readonly relaysFor?: (peer: string) => boolean
} & Outside): Promise<AsyncDisposable> {
  /** Of each peer that ever asked; as many as are paired. */
  const allowance = createAllowance({ burst: PUNCH_ANSWER_BURST, perSecond: PUNCH_ANSWERS_PER_SECOND })
  const closing = new AbortController()
  let answering = 0

  /** Being told one's own address costs nothing; this does. */
  const isTooMuch = (peer: string): boolean => answering >= MAX_PUNCH_ANSWERS || !allowance.take(peer)

  async function handle(stream: Stream, connection: Connection): Promise<void> {
    const peer = connection.remotePeer.toString()
    const relayed = isRelayed(connection)
    if (relayed ? !connectionPolicy.isPaired(peer) || isTooMuch(peer) : !relaysFor(peer)) {
      refusals.count('punch')
      stream.abort(new Error('No hole is punched for this peer now'))
      return
    }
    if (relayed) answering++
    const over = new AbortController()
    const signal = AbortSignal.any([closing.signal, over.signal, AbortSignal.timeout(TCP_PUNCH_TIMEOUT_MS)])
    const stop = () => stream.abort(new Error('The hole took too long'))
    signal.addEventListener('abort', stop, { once: true })
    try {
      const { socket } = decodePunchQuestion(await readUpTo(stream, PUNCH_QUESTION_BYTES, signal))
      if (relayed) await come(stream, connection, socket, signal)
      else {
        stream.send(encodePunchAnswer({ comes: false, socket: socketOf(connection.remoteAddr) ?? '' }))
        await stream.close({ signal })
      }
    } catch (error) {
      stream.abort(error as Error)
    } finally {
      signal.removeEventListener('abort', stop)
      over.abort()
      if (relayed) answering--
    }
  }

  /** Connects to the other end, which will do so from `socket`. */
  async function come(
    stream: Stream,
    connection: Connection,
    socket: string,
    signal: AbortSignal,
  ): Promise<void> {
    const peer = connection.remotePeer.toString()
    const book = await node.peerStore.get(connection.remotePeer).catch(() => undefined)
    const known = addrsOf(
      (book?.addresses ?? []).map(({ multiaddr }) => multiaddr.toString()),
      peer,
    )
    const direct = known.filter((addr) => !isCircuit(addr))
    const ways: Promise<Connection>[] = direct.length > 0 ? [dialDirect(node, direct, { signal })] : []
    await using door = socket
      ? await openDoor(node, connection, { signal, ...more }).catch(() => undefined)
      : undefined
    const meets = door?.mayMeet(socket) ?? false
    // This side first: what it sends opens its own NAT before the peer knows where to connect.
    if (door && meets) ways.push(door.meet(socket, peer, { initiator: false, signal }))
    // Some may fail before anybody waits for them.
    for (const way of ways) way.catch(() => {})
    stream.send(encodePunchAnswer({ comes: direct.length > 0, socket: door && meets ? door.outside : '' }))
    await stream.close({ signal })
    await Promise.any(ways).catch(() => {})
  }

  await node.handle(PUNCH_PROTOCOL, (stream, connection) => void handle(stream, connection), {
    runOnLimitedConnection: true,
    maxInboundStreams: MAX_PUNCH_ANSWERS,
  })
  return {
    async [Symbol.asyncDispose]() {
      closing.abort(new Error('The agent is stopping'))
      await node.unhandle(PUNCH_PROTOCOL)
    },
  }
}
