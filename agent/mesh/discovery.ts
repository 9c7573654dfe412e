/**
 * How agents find each other's addresses. To find is not to trust: what is found is only dialed when a person or a job
 * asks for that peer, except first contacts of the directory. The directory itself is in directory.ts.
 */
import {
  type PeerDiscovery,
  type PeerDiscoveryEvents,
  type Startable,
  TypedEventEmitter,
} from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import type { Libp2pInit } from 'libp2p'

/** One way of finding peers, as libp2p takes it. */
export type Discovery = NonNullable<Libp2pInit['peerDiscovery']>[number]

/** Agents find agents, not every libp2p program of the network. */
const MDNS_SERVICE = '_fluidcloud._udp.local'

/** The ways the configuration asks for. `bootstrap` multiaddrs end in /p2p/<peer ID>. */
export function discoveries(options: { mdns: boolean; bootstrap: readonly string[] }): Discovery[] {
  const list: Discovery[] = []
  if (options.mdns) list.push(mdns({ serviceTag: MDNS_SERVICE }))
  if (options.bootstrap.length > 0) list.push(() => new FirstContacts(options.bootstrap))
  return list
}

/** Tells the address book of the configured first contacts, once, when the node has started. */
class FirstContacts extends TypedEventEmitter<PeerDiscoveryEvents> implements PeerDiscovery, Startable {
  readonly #addrs: readonly string[]

  constructor(addrs: readonly string[]) {
    super()
    this.#addrs = addrs
  }

  // libp2p calls afterStart() only of what can be started and stopped.
  start(): void {}
  stop(): void {}

  afterStart(): void {
    for (const text of this.#addrs) {
      const addr = multiaddr(text)
      const peer = addr.getComponents().findLast((component) => component.name === 'p2p')?.value
      if (!peer) continue
      const detail = { id: peerIdFromString(peer), multiaddrs: [addr] }
      this.dispatchEvent(new CustomEvent('peer', { detail }))
    }
  }
}
