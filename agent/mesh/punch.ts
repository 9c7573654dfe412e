/**
 * Hole punching: two agents behind NATs that only a relay connects tell each other over it where their packets come
 * from, both send at once, and the NATs take what arrives for answers. By TCP (tcp-punch.ts), or else by UDP where both
 * have WebRTC: libp2p's between private peers
 * (https://github.com/libp2p/specs/blob/master/webrtc/webrtc.md): ICE over UDP, DTLS, data channels. The digests of both
 * certificates pass through Noise between the two ends, so the relay can prevent the connection, and not join it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, Libp2p, Stream, StreamHandler } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { webRTC } from '@libp2p/webrtc'
import { multiaddr } from '@multiformats/multiaddr'
import { FluidError } from '../../protocol/errors.ts'
import {
  MAX_PUNCH_ATTEMPTS,
  MAX_SIGNALING_BYTES,
  MAX_SIGNALING_STREAMS,
  PUNCH_ATTEMPT_MS,
  PUNCH_RETRY_MS,
  PUNCH_TIMEOUT_MS,
  TCP_PUNCH_FIRST_MS,
  TCP_PUNCH_TIMEOUT_MS,
} from '../../protocol/limits.ts'
import { override } from './override.ts'
import type { Refusals } from './refusals.ts'
import { isRelayed } from './relay.ts'
import { stunUrls } from './stun.ts'
import { isMet, NoDoor, type PunchingNode, punchTcp } from './tcp-punch.ts'

type PunchTransport = ReturnType<typeof webRTC>
type Components = Parameters<PunchTransport>[0]

/** The transport; only peers that `may` have it answer, over a relay, in bounded words. */
export async function punchTransport({
  may,
  refusals,
  bounded,
}: {
  readonly may: (peer: string) => boolean
  readonly refusals: Refusals
  /** The upgrader with a bound on what begins. */
  readonly bounded: (components: Components) => Components['upgrader']
}): Promise<PunchTransport> {
  const { webRTC } = await import('@libp2p/webrtc')
  return (components) => {
    const { registrar } = components
    const handle: typeof registrar.handle = (protocol, handler, options) => {
      const guarded: StreamHandler = (stream, connection) => {
        const peer = connection.remotePeer.toString()
        // The library takes the peer from the address, and asks for no other proof.
        const named = connection.remoteAddr.getComponents().findLast(({ name }) => name === 'p2p')?.value
        if (!may(peer) || named !== peer || !isRelayed(connection)) {
          refusals.count('punch')
          stream.abort(new FluidError('POLICY_DENIED', 'No hole is punched for this peer'))
          return
        }
        return handler(brief(stream), connection)
      }
      return registrar.handle(protocol, guarded, { ...options, maxInboundStreams: MAX_SIGNALING_STREAMS })
    }
    const create = webRTC({
      // Those of relays in use, and never the library's own list.
      rtcConfiguration: async () => ({ iceServers: (await stunUrls(components)).map((urls) => ({ urls })) }),
    })
    return create(
      override(components, {
        upgrader: connectedOnly(bounded(components)),
        registrar: override(registrar, { handle }),
      }),
    )
  }
}

/**
 * Ends a stream on which more comes than a hole needs. It listens from when the library does, and no sooner: that is
 * what makes the stream flow, and the library asks for our address first.
 */
function brief(stream: Stream): Stream {
  const listen: EventTarget['addEventListener'] = stream.addEventListener.bind(stream)
  let bytes = 0
  const count = (event: Event): void => {
    bytes += (event as Event & { data: { byteLength: number } }).data.byteLength
    if (bytes > MAX_SIGNALING_BYTES) stream.abort(new FluidError('LIMIT_EXCEEDED', 'Too many candidates'))
  }
  const addEventListener: EventTarget['addEventListener'] = (type, ...rest) => {
    // Again and again the same one is one.
    if (type === 'message') listen('message', count)
    listen(type, ...rest)
  }
  return Object.assign(stream, { addEventListener })
}

/** The library takes a peer for connected, too, when what it reads from it ends before there is a connection. */
function connectedOnly(upgrader: Components['upgrader']): Components['upgrader'] {
  const upgradeInbound: typeof upgrader.upgradeInbound = async (socket, options) => {
    const { peerConnection } = socket as unknown as { peerConnection?: RTCPeerConnection }
    if (peerConnection?.connectionState !== 'connected') throw new Error('No hole was punched')
    await upgrader.upgradeInbound(socket, options)
  }
  return override(upgrader, { upgradeInbound })
}

interface Failure {
  readonly reason: string
  /** Of performance.now(); not tried again before. */
  readonly until: number
}

/** The last failure past each relayed connection: a peer that connects anew may be another way. */
const failures = new WeakMap<Connection, Failure>()

/**
 * A connection past the relay of `relayed`, or rejects: within PUNCH_TIMEOUT_MS, and at once when it failed in the last
 * PUNCH_RETRY_MS, unless `again`. By TCP, or else by WebRTC, which begins when TCP failed or after TCP_PUNCH_FIRST_MS.
 */
export async function punch(
  node: PunchingNode,
  relayed: Connection,
  { signal, again = false }: { signal?: AbortSignal; again?: boolean } = {},
): Promise<Connection> {
  if (!again && performance.now() < (failures.get(relayed)?.until ?? 0))
    throw new Error('It failed a moment ago')
  const over = new AbortController()
  const stop = AbortSignal.any([over.signal, ...(signal ? [signal] : [])])
  const within = AbortSignal.any([stop, AbortSignal.timeout(PUNCH_TIMEOUT_MS)])
  const tcp = punchTcp(node, relayed, {
    signal: AbortSignal.any([stop, AbortSignal.timeout(TCP_PUNCH_TIMEOUT_MS)]),
  })
  const webRtc = async (): Promise<Connection> => {
    const first = delay(TCP_PUNCH_FIRST_MS, undefined, { signal: over.signal, ref: false })
    const byTcp = await Promise.race([tcp, first]).catch(() => undefined)
    if (byTcp) throw new Error('There is one by TCP')
    return punchWebRtc(node, relayed, within)
  }
  try {
    return await Promise.any([tcp, webRtc()])
  } catch (error) {
    const [byTcp, byWebRtc] = (error as AggregateError).errors as Error[]
    const reason = [reasonOfTcp(byTcp), reasonOf(byWebRtc)].filter(Boolean).join('; ')
    if (!signal?.aborted) failures.set(relayed, { reason, until: performance.now() + PUNCH_RETRY_MS })
    throw byWebRtc
  } finally {
    over.abort()
  }
}

/** A connection past the relay of `relayed` by WebRTC. */
async function punchWebRtc(node: Libp2p, relayed: Connection, within: AbortSignal): Promise<Connection> {
  const peer = relayed.remotePeer.toString()
  const through = relayed.remoteAddr.toString().replace(/\/p2p\/[^/]+$/, '')
  const addr = multiaddr(`${through}/webrtc/p2p/${peer}`)
  if (!(await node.isDialable([addr]))) throw new Error(OFF_HERE)
  for (let attempt = 1; ; attempt++) {
    const last = attempt >= MAX_PUNCH_ATTEMPTS
    try {
      const soon = last ? within : AbortSignal.any([within, AbortSignal.timeout(PUNCH_ATTEMPT_MS)])
      return await node.dial(addr, { signal: soon, force: true })
    } catch (error) {
      if (last || reasonOf(error) === OFF_AT_PEER || within.aborted) throw error
    }
  }
}

const OFF_HERE = 'webrtc is off here'
const OFF_AT_PEER = 'webrtc is off at the peer'

function reasonOf(error: unknown): string {
  const errors = error instanceof AggregateError ? error.errors : [error]
  if (errors.some((each) => (each as Error).name === 'UnsupportedProtocolError')) return OFF_AT_PEER
  const { name, message } = errors[0] as Error
  if (message === OFF_HERE) return message
  if (/Abort|Timeout/.test(name)) return `no hole could be punched within ${PUNCH_TIMEOUT_MS / 1000} s`
  return `no hole could be punched: ${message}`
}

/** Nothing where TCP was out of the question. */
function reasonOfTcp(error: Error): string | undefined {
  if (error instanceof NoDoor) return undefined
  return 'no hole could be punched for TCP'
}

/** Why no hole was punched when it was last tried, in words for people. */
export function whyNotPunched(node: Libp2p, peer: string): string | undefined {
  const relayed = relayedOnly(node, peer)
  return relayed && failures.get(relayed)?.reason
}

/** By what the connection passes a hole that was punched; undefined when it passes none. */
export function punchedBy(connection: Connection): 'TCP' | 'WebRTC' | undefined {
  if (isMet(connection)) return 'TCP'
  return connection.remoteAddr.getComponents().some(({ name }) => name === 'webrtc') ? 'WebRTC' : undefined
}

/** The open connection to `peer` through a relay, if it is the best there is. */
export function relayedOnly(node: Libp2p, peer: string): Connection | undefined {
  const open = node.getConnections(peerIdFromString(peer)).filter(({ status }) => status === 'open')
  return open.every(isRelayed) ? open[0] : undefined
}
