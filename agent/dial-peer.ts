/** Reaching a peer: the connection there is, else a new one by every address known, else by what the directory tells. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Multiaddr } from '@multiformats/multiaddr'
import { FluidError } from '../protocol/errors.ts'
import type { MeshNode } from './node.ts'
import { addrsOf } from './peer-address.ts'
import type { Peers } from './peers.ts'

/** The directory is asked when the addresses known have not answered for this long, or at once when they fail. */
const PATIENCE_MS = 500

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
  const open = node.getConnections(id).find((connection) => connection.status === 'open')
  if (open) return open
  const book = await node.peerStore.get(id).catch(() => undefined)
  const known = [...(book?.addresses ?? []).map(({ multiaddr }) => multiaddr.toString()), ...record.addrs]
  const addrs = addrsOf([...new Set(known)], peer)
  try {
    return await dialAnywhere(node, peer, addrs, options)
  } catch (cause) {
    options.signal?.throwIfAborted()
    const asked = node.services.directory ? ', nor where the directory looks' : ''
    throw new FluidError(
      'PEER_UNREACHABLE',
      `${record.name} cannot be reached at ${addrs.length} known addresses${asked}`,
      { cause, peer },
    )
  }
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
  const known = node.dial(addrs.length > 0 ? [...addrs] : id, { signal: within })
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
