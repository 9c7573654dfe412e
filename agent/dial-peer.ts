/** Reaching a paired peer: the connection there is, else a new one by every address known. */
import type { Connection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { FluidError } from '../protocol/errors.ts'
import type { MeshNode } from './node.ts'
import { addrsOf } from './peer-address.ts'
import type { Peers } from './peers.ts'

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
    return await node.dial(addrs.length > 0 ? addrs : id, { signal: options.signal })
  } catch (cause) {
    options.signal?.throwIfAborted()
    throw new FluidError(
      'PEER_UNREACHABLE',
      `${record.name} cannot be reached at ${addrs.length} known addresses`,
      { cause, peer },
    )
  }
}
