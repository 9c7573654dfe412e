/**
 * What a stranger does not learn or leave behind: identify (our addresses and protocols) and ping answer paired peers
 * only, and the address book forgets whoever left without being paired.
 */
import type { Identify } from '@libp2p/identify'
import type { Connection, Libp2p, StreamHandler } from '@libp2p/interface'
import type { ConnectionPolicy } from './connection-policy.ts'

/** The registrar as services see it; libp2p's own type is not exported by its interface package. */
interface Registers {
  registrar: Registrar
}
interface Registrar {
  handle(protocol: string, handler: StreamHandler, ...rest: never[]): Promise<void>
}

/** A libp2p service whose handlers answer only peers that are paired, or that we asked to be paired with. */
export function behindPairing<C extends object, S>(
  policy: ConnectionPolicy,
  create: (components: C) => S,
): (components: C & Registers) => S {
  return (components) => {
    const { registrar } = components
    const guarded = override<Registrar, 'handle'>(registrar, 'handle', (protocol, handler, ...rest) => {
      const answer: StreamHandler = (stream, connection) => {
        if (policy.isKnown(connection.remotePeer.toString())) return handler(stream, connection)
        stream.abort(new Error('Not paired'))
      }
      return registrar.handle(protocol, answer, ...rest)
    })
    return create(
      override<C & Registers, 'registrar'>(components, 'registrar', guarded as (C & Registers)['registrar']),
    )
  }
}

/** Learns the addresses of every peer that may learn ours, whenever one connects. */
export function identifyPaired(node: Libp2p<{ identify: Identify }>, policy: ConnectionPolicy): void {
  node.addEventListener('connection:open', ({ detail: connection }) => {
    if (policy.isPaired(connection.remotePeer.toString())) void identifyNow(node, connection)
  })
  node.addEventListener('peer:disconnect', ({ detail: peer }) => {
    if (!policy.isKnown(peer.toString())) void node.peerStore.delete(peer).catch(() => {})
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

/** Empties the address book of whoever is not paired: what discovery left there in an earlier run. */
export async function forgetStrangers(node: Libp2p, policy: ConnectionPolicy): Promise<void> {
  for (const { id } of await node.peerStore.all()) {
    if (!id.equals(node.peerId) && !policy.isKnown(id.toString())) await node.peerStore.delete(id)
  }
}

/** `target` with one property replaced. Methods keep `target` as their `this`. */
function override<T extends object, K extends keyof T>(target: T, key: K, value: T[K]): T {
  return new Proxy(target, {
    get: (_, asked) => {
      if (asked === key) return value
      const found: unknown = Reflect.get(target, asked, target)
      return typeof found === 'function' && target.constructor !== Object ? found.bind(target) : found
    },
  })
}
