/**
 * Answers peers that ask whether they can be reached: by a connection of the mesh and a TLS hello, to the very address
 * they are connected from and nowhere else. What comes of it the asking agent sees itself, so nothing else is told.
 */
import { isIP } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import type { Connection, Stream } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createAllowance } from '../../protocol/allowance.ts'
import {
  MAX_REACH_ANSWERS,
  REACH_ANSWER_BURST,
  REACH_ANSWERS_PER_SECOND,
  REACH_ANSWER_TIMEOUT_MS,
  REACH_DIAL_TIMEOUT_MS,
} from '../../protocol/limits.ts'
import { decodeReachQuestion, encodeReachAnswer, REACH_QUESTION_BYTES } from '../../protocol/reach.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import { hostOf, hostPort } from '../mesh/addresses.ts'
import type { MeshNode } from '../mesh/node.ts'
import { readUpTo } from '../mesh/read-up-to.ts'
import type { Refusals } from '../mesh/refusals.ts'
import { isWebRtc } from '../mesh/webrtc.ts'
import { addrAt } from './own-addresses.ts'

const DIALS_END_MS = 3_000
const POLL_MS = 50

/** A handler for paired peers. */
export function reachAnswers({ node, refusals }: { node: MeshNode; refusals: Refusals }) {
  /** Of each peer that ever asked; as many as are paired. */
  const allowance = createAllowance({ burst: REACH_ANSWER_BURST, perSecond: REACH_ANSWERS_PER_SECOND })
  let answering = 0

  return async (stream: Stream, connection: Connection): Promise<void> => {
    const signal = AbortSignal.timeout(REACH_ANSWER_TIMEOUT_MS)
    const stop = () => stream.abort(new Error('The answer took too long'))
    signal.addEventListener('abort', stop, { once: true })
    const peer = connection.remotePeer.toString()
    try {
      const host = observedHost(connection.remoteAddr)
      if (host === undefined) throw new Error('This peer has no address here')
      const { token, meshPort, dataPort } = decodeReachQuestion(
        await readUpTo(stream, REACH_QUESTION_BYTES, signal),
      )
      await undialed(node, connection, signal)
      const tried = !isDialing(node, connection) && answering < MAX_REACH_ANSWERS && allowance.take(peer)
      if (tried) {
        answering++
        try {
          const within = AbortSignal.any([signal, AbortSignal.timeout(REACH_DIAL_TIMEOUT_MS)])
          await Promise.all([
            meshPort > 0 && knock(node, connection, hostPort(host, meshPort), within),
            dataPort > 0 && greet(host, dataPort, token, within),
          ])
        } finally {
          answering--
        }
      } else refusals.count('reach')
      stream.send(encodeReachAnswer({ tried, host }))
      await stream.close({ signal })
    } catch (error) {
      stream.abort(error as Error)
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }
}

/** True while this agent dials the peer: a dial of ours would join that one, and close another's connection. */
function isDialing(node: MeshNode, { remotePeer }: Connection): boolean {
  return node.getDialQueue().some(({ peerId }) => peerId?.equals(remotePeer))
}

/** Waits for dials of the peer to end, for a while. */
async function undialed(node: MeshNode, connection: Connection, signal: AbortSignal): Promise<void> {
  for (let waited = 0; waited < DIALS_END_MS && isDialing(node, connection); waited += POLL_MS)
    await delay(POLL_MS, undefined, { signal, ref: false })
}

/** The IP address a peer is connected from; undefined of one behind a relay. */
export function observedHost(addr: Multiaddr): string | undefined {
  const host = hostOf(addr)?.replace(/^::ffff:(?=\d+\.)/i, '')
  return host !== undefined && isIP(host) !== 0 ? host : undefined
}

/** Opens a connection of the mesh to the peer at `address`, and closes it, unless it is better than those there are. */
async function knock(
  node: MeshNode,
  { remotePeer }: Connection,
  address: string,
  signal: AbortSignal,
): Promise<void> {
  const opened = await node
    .dial(addrAt(address, remotePeer.toString()), { signal, force: true })
    .catch(() => undefined)
  if (!opened) return
  const others = node.getConnections(remotePeer).filter((other) => other !== opened)
  if (others.some((other) => other.status === 'open' && hostOf(other.remoteAddr) && !isWebRtc(other)))
    await opened.close({ signal }).catch(() => {})
}

/** Says hello at a data port as a lane would, and leaves it at that. */
function greet(host: string, port: number, token: Uint8Array, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // Nothing is read of whoever answers, so nobody has to be proven.
    const socket = connectTls({ host, port, servername: serverName(token, 0), rejectUnauthorized: false })
    const over = () => {
      signal.removeEventListener('abort', over)
      socket.destroy()
      resolve()
    }
    for (const event of ['secureConnect', 'error', 'close'] as const) socket.once(event, over)
    socket.on('error', () => {})
    if (signal.aborted) over()
    else signal.addEventListener('abort', over, { once: true })
  })
}
