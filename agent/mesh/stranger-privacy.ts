/**
 * What a stranger does not learn or leave behind: identify (our addresses and protocols) and ping answer paired peers
 * only, and the address book forgets whoever left without being paired. Where the directory is served, identify answers
 * everybody, and the address book keeps what the directory needs.
 */
import type { Identify } from '@libp2p/identify'
import type { Connection, Libp2p, StreamHandler } from '@libp2p/interface'
import type { ConnectionPolicy } from './connection-policy.ts'
import { TABLE_TAG } from './directory-guard.ts'
import { override } from './override.ts'

/** The registrar as services see it; libp2p's own type is not exported by its interface package. */
interface Registers {
  registrar: Registrar
}
interface Registrar {
  handle(protocol: string, handler: StreamHandler, ...rest: never[]): Promise<void>
}

/** A libp2p service whose handlers answer only the peers that `may`. */
export function behind<C extends object, S>(
  may: (peer: string) => boolean,
  create: (components: C) => S,
): (components: C & Registers) => S {
  return (components) => {
    const { registrar } = components
    const handle: Registrar['handle'] = (protocol, handler, ...rest) => {
      const answer: StreamHandler = (stream, connection) => {
        if (may(connection.remotePeer.toString())) return handler(stream, connection)
        stream.abort(new Error('Not paired'))
      }
      return registrar.handle(protocol, answer, ...rest)
    }
    return create(override(components, { registrar: override(registrar, { handle }) }))
  }
}

/** Learns the addresses of every peer that may learn ours, whenever one connects; those of strangers are kept if `retains` says so. */
export function identifyPeers(
  node: Libp2p<{ identify: Identify }>,
  policy: ConnectionPolicy,
  retains: (peer: string) => boolean,
): void {
  node.addEventListener('connection:open', ({ detail: connection }) => {
    const peer = connection.remotePeer.toString()
    policy.bound(connection)
    if (policy.isPaired(peer) || (policy.mayIdentify(peer) && !policy.isKnown(peer)))
      void identifyNow(node, connection)
  })
  node.addEventListener('peer:disconnect', ({ detail: id }) => {
    const peer = id.toString()
    if (!policy.isKnown(peer) && !retains(peer)) void node.peerStore.delete(id).catch(() => {})
  })
}

/** Learns the addresses of the other end; false when it did not tell. */
export async function identifyNow(
  node: Libp2p<{ identify: Identify }>,
  connection: Connection,
): Promise<boolean> {
  return node.services.identify.identify(connection).then(
    () => true,
    () => false,
  )
}

/** Empties the address book of whoever is not paired: what discovery left there in an earlier run, but not the directory's table. */
export async function forgetStrangers(
  node: Libp2p,
  policy: ConnectionPolicy,
  { keepTable }: { keepTable: boolean },
): Promise<void> {
  for (const { id, tags } of await node.peerStore.all()) {
    const kept = id.equals(node.peerId) || policy.isKnown(id.toString()) || (keepTable && tags.has(TABLE_TAG))
    if (!kept) await node.peerStore.delete(id)
  }
}
