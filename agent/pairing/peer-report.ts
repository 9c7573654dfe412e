/** A paired peer as the command line shows it. */
import type { Connection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { MAX_ADDRESSES } from '../../protocol/limits.ts'
import type { GrantReport, PeerReport, PendingReport } from '../reports/peer-reports.ts'
import { bestConnection } from '../mesh/dial-peer.ts'
import type { MeshNode } from '../mesh/node.ts'
import type { PeerRecord } from '../mesh/peers.ts'
import type { PendingRecord } from './pending-pairings.ts'
import type { Grant, Policy } from './policy.ts'
import { isRelayed } from '../mesh/relay.ts'
import { isWebRtc } from '../mesh/webrtc.ts'

/** The record with what the node and the policy know now. */
export async function peerReport(
  parts: { node: MeshNode; policy: Policy },
  record: PeerRecord,
): Promise<PeerReport> {
  const id = peerIdFromString(record.peer)
  const book = await parts.node.peerStore.get(id).catch(() => undefined)
  const addrs = [...(book?.addresses ?? []).map(({ multiaddr }) => multiaddr.toString()), ...record.addrs]
  const connection = bestConnection(parts.node, record.peer)
  const grant = parts.policy.grantFor(record.peer)
  return {
    peer: record.peer,
    name: record.name,
    pairedAt: new Date(record.pairedAt).toISOString(),
    connected: connection !== undefined,
    reached: connection && reachedBy(connection),
    remoteAddr: connection?.remoteAddr.toString(),
    addrs: [...new Set(addrs.map((addr) => withPeer(addr, record.peer)))].slice(0, MAX_ADDRESSES),
    grant: grant && grantReport(grant),
    granted: record.granted,
  }
}

function reachedBy(connection: Connection): PeerReport['reached'] {
  if (isRelayed(connection)) return 'relay'
  return isWebRtc(connection) ? 'webrtc' : 'direct'
}

export function pendingReport(record: PendingRecord): PendingReport {
  const { peer, name, direction, since } = record
  return { peer, name, direction, since: new Date(since).toISOString() }
}

function grantReport({ folder, maxBytes, approve, targets, relocate }: Grant): GrantReport {
  return { folder, maxBytes, approve, targets, ...(relocate && { relocate }) }
}

function withPeer(addr: string, peer: string): string {
  return addr.includes('/p2p/') ? addr : `${addr}/p2p/${peer}`
}
