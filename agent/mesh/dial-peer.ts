/** Reaching a peer: the connection there is, else a new one by every address known, else by what the directory tells. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Multiaddr } from '@multiformats/multiaddr'
import { FluidError } from '../../protocol/errors.ts'
import { TCP_DIAL_TIMEOUT_MS, WEBRTC_DIAL_TIMEOUT_MS } from '../../protocol/limits.ts'
import { isCircuit } from './addresses.ts'
import type { MeshNode } from './node.ts'
import { addrsOf } from './peer-address.ts'
import type { Peers } from './peers.ts'
import { punch } from './punch.ts'
import { isRelayed } from './relay.ts'
import { isWebRtc, isWebRtcAddr } from './webrtc.ts'

/** The directory is asked when the addresses known have not answered for this long, or at once when they fail. */
const PATIENCE_MS = 500
/** A direct way is looked for so long, by TCP and by WebRTC, while there is one through a relay. */
const DIRECT_TIMEOUT_MS = 2_000

/** An open connection to the paired `peer`. Throws NOT_PAIRED, PEER_UNREACHABLE. */
export async function dialPeer(
  parts: { node: MeshNode; peers: Peers },
  peer: string,
  options: { signal?: AbortSignal } = {},
): Promise<Connection> {
  const { node, peers } = parts
  const record = peers.get(peer)
  if (!record) throw new FluidError('NOT_PAIRED', `${peer} is not paired with this agent`, { peer })
  const id = peerIdFromString(peer)
  const open = bestConnection(node, peer)
  if (open && !isRelayed(open)) return open
  const book = await node.peerStore.get(id).catch(() => undefined)
  const known = [...(book?.addresses ?? []).map(({ multiaddr }) => multiaddr.toString()), ...record.addrs]
  const addrs = addrsOf([...new Set(known)], peer)
  // One through a relay is good until there is a better one.
  const direct = addrs.filter((addr) => !isCircuit(addr))
  if (open)
    return await dialDirect(node, direct, options)
      .catch(() => punch(node, open, options))
      .catch(() => open)
  const relayed = addrs.filter(isCircuit)
  try {
    const connection = await dialAnywhere(node, peer, [...direct, ...relayed], options)
    return isRelayed(connection) ? await punch(node, connection, options).catch(() => connection) : connection
  } catch (cause) {
    options.signal?.throwIfAborted()
    if (isRefusedByRelay(cause)) {
      throw new FluidError('LIMIT_EXCEEDED', `The relay in front of ${record.name} carries nothing for us`, {
        cause,
        peer,
        refused: true,
        hint: 'Its quota is used up, or it relays for others only. Ask its owner, or open a port at one side',
      })
    }
    const asked = node.services.directory ? ', nor where the directory looks' : ''
    throw new FluidError(
      'PEER_UNREACHABLE',
      `${record.name} cannot be reached at ${addrs.length} known addresses${asked}`,
      { cause, peer },
    )
  }
}

/** The open connection to `peer` that bytes take: TCP before WebRTC, the newest of these, and a relay last. */
export function bestConnection(node: MeshNode, peer: string): Connection | undefined {
  const open = node.getConnections(peerIdFromString(peer)).filter(({ status }) => status === 'open')
  const direct = open.filter((connection) => !isRelayed(connection))
  return direct.find((connection) => !isWebRtc(connection)) ?? direct.at(-1) ?? open[0]
}

/** A new connection at one of `addrs`, though there is one through a relay. Rejects after DIRECT_TIMEOUT_MS for each kind. */
export async function dialDirect(
  node: MeshNode,
  addrs: readonly Multiaddr[],
  { signal }: { signal?: AbortSignal } = {},
): Promise<Connection> {
  if (addrs.length === 0) throw new Error('No address of the peer is known')
  return await dialInTurns(node, addrs, { signal, mostMs: DIRECT_TIMEOUT_MS, force: true })
}

/**
 * Dials in libp2p's order, which is one address after the other; but WebRTC, if this node has it, after TCP had some
 * time and before all else. Rejects with what the last of these said.
 */
async function dialInTurns(
  node: MeshNode,
  addrs: readonly Multiaddr[],
  { signal, mostMs, force }: { signal?: AbortSignal; mostMs?: number; force?: boolean } = {},
): Promise<Connection> {
  const dial = (some: readonly Multiaddr[], timeoutMs: number | undefined) => {
    const stops = [
      ...(timeoutMs === undefined ? [] : [AbortSignal.timeout(timeoutMs)]),
      ...(signal ? [signal] : []),
    ]
    return node.dial([...some], { signal: AbortSignal.any(stops), force })
  }
  const direct = addrs.filter((addr) => !isCircuit(addr))
  const webRtc = direct.filter(isWebRtcAddr)
  if (webRtc.length === 0 || !(await node.isDialable(webRtc))) return await dial(addrs, mostMs)
  const tcp = direct.filter((addr) => !isWebRtcAddr(addr))
  const relayed = addrs.filter(isCircuit)
  // Whoever is reached through a relay first is looked for directly later.
  const patienceMs = mostMs ?? (relayed.length > 0 ? DIRECT_TIMEOUT_MS : undefined)
  const failed = await dialFirst(tcp, patienceMs ?? TCP_DIAL_TIMEOUT_MS)
  if (!(failed instanceof Error)) return failed
  // A line that is merely slow gets its time when nothing else helps.
  const rest = mostMs === undefined && relayed.length === 0 ? tcp : relayed
  if (rest.length === 0) return await dial(webRtc, mostMs)
  const connection = await dialFirst(webRtc, patienceMs ?? WEBRTC_DIAL_TIMEOUT_MS)
  return connection instanceof Error ? await dial(rest, mostMs) : connection

  async function dialFirst(some: readonly Multiaddr[], timeoutMs: number): Promise<Connection | Error> {
    if (some.length === 0) return new Error('Nothing to dial')
    return await dial(some, timeoutMs).catch((error: Error) => {
      signal?.throwIfAborted()
      return error
    })
  }
}

/** True when a relay answered that it may not, or will not, carry the connection. */
function isRefusedByRelay(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isRefusedByRelay)
  return error instanceof Error && (/PERMISSION_DENIED/.test(error.message) || isRefusedByRelay(error.cause))
}

/**
 * Dials `peer` at `addrs`, or what the address book knows when there are none, and at whatever the directory tells: who
 * answers there is proven by Noise, so a lie costs a dial. Rejects with what libp2p said of `addrs`.
 */
export async function dialAnywhere(
  node: MeshNode,
  peer: string,
  addrs: readonly Multiaddr[],
  { signal }: { signal?: AbortSignal } = {},
): Promise<Connection> {
  const { directory } = node.services
  const id = peerIdFromString(peer)
  const over = new AbortController()
  const within = AbortSignal.any([over.signal, ...(signal ? [signal] : [])])
  const known =
    addrs.length > 0 ? dialInTurns(node, addrs, { signal: within }) : node.dial(id, { signal: within })
  if (!directory) return await known

  const found = async (): Promise<Connection> => {
    await Promise.race([known.catch(() => {}), delay(PATIENCE_MS, undefined, { signal: within, ref: false })])
    for await (const told of directory.find(peer, { signal: within })) {
      const fresh = told.map((addr) => addrsOf([addr.toString()], peer)[0]).filter(Boolean)
      const connection =
        fresh.length > 0 && (await node.dial(fresh, { signal: within }).catch(() => undefined))
      if (connection) return connection
    }
    throw new Error('The directory tells no address that answers')
  }
  try {
    return await Promise.any([known, found()])
  } catch (error) {
    throw error instanceof AggregateError ? error.errors[0] : error
  } finally {
    over.abort()
  }
}
