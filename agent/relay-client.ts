/**
 * Being reached through relays: an agent that nobody can dial keeps a place at each relay it was told of, and at those
 * of paired peers. Other relays are never used for that.
 */
import { circuitRelayTransport, type CircuitRelayTransportComponents } from '@libp2p/circuit-relay-v2'
import type { IdentifyResult, Startable, StreamHandler } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { RELAY_CHECK_MS } from '../protocol/limits.ts'
import { hostOf, isPrivate } from './addresses.ts'
import type { ConnectionPolicy } from './connection-policy.ts'
import { override } from './override.ts'

/** The protocol by which a relay is known. */
export const HOP_PROTOCOL = '/libp2p/circuit/relay/0.2.0/hop'

/** The transport that dials and is dialed through relays; only a relay that this agent chose may bring connections. */
export function relayTransport(isRelay: (peer: string) => boolean) {
  const create = circuitRelayTransport()
  return (components: CircuitRelayTransportComponents) => {
    const { registrar } = components
    const handle: typeof registrar.handle = (protocol, handler, options) => {
      const guarded: StreamHandler = (stream, connection) => {
        if (isRelay(connection.remotePeer.toString())) return handler(stream, connection)
        stream.abort(new Error('Not a relay of this agent'))
      }
      return registrar.handle(protocol, guarded, options)
    }
    return create(override(components, { registrar: override(registrar, { handle }) }))
  }
}

export interface RelayClient extends Startable {
  /** Peer IDs of relays that hold a place for this agent. */
  readonly reservedAt: readonly string[]
}

/** The service for libp2p. `relays` are multiaddrs that end in /p2p/<peer ID>. */
export function relayClientService({
  relays,
  announced,
  policy,
}: {
  readonly relays: readonly string[]
  /** This agent told addresses of its own: it can be reached. */
  readonly announced: boolean
  readonly policy: ConnectionPolicy
}): (components: CircuitRelayTransportComponents) => RelayClient {
  return ({ peerId, peerStore, transportManager, events }) => {
    const configured = new Map(relays.map((addr) => [addr.replace(/^.*\/p2p\//, ''), multiaddr(addr)]))
    configured.delete(peerId.toString())
    const held = new DisposableStack()
    /** Paired peers that say they are relays. */
    const offering = new Set<string>()
    let timer: NodeJS.Timeout | undefined
    let checking = false

    const ownAddrs = () => transportManager.getAddrs()
    const reservedAt = () => [...new Set(ownAddrs().flatMap((addr) => relayOf(addr) ?? []))]
    const reachable = () =>
      announced || ownAddrs().some((addr) => relayOf(addr) === undefined && !isPrivate(hostOf(addr)))

    /** Relays among paired peers, for an agent that cannot be reached. */
    const pairedRelays = () => (reachable() ? [] : [...offering].filter((peer) => policy.isPaired(peer)))

    /** Notes relays that were met in earlier runs. */
    async function recall(): Promise<void> {
      const known = await peerStore.all({ filters: [({ protocols }) => protocols.includes(HOP_PROTOCOL)] })
      for (const { id } of known) if (policy.isPaired(id.toString())) offering.add(id.toString())
    }

    async function check(): Promise<void> {
      if (checking) return
      checking = true
      try {
        const places = new Set(reservedAt())
        for (const [peer, addr] of configured) {
          if (places.has(peer)) continue
          await peerStore.merge(peerIdFromString(peer), { multiaddrs: [addr] }).catch(() => {})
          await transportManager.listen([addr.encapsulate('/p2p-circuit')]).catch(() => {})
        }
        for (const peer of pairedRelays())
          if (!places.has(peer))
            await transportManager.listen([multiaddr(`/p2p/${peer}/p2p-circuit`)]).catch(() => {})
      } finally {
        checking = false
      }
    }

    const onChange = () => void check().catch(() => {})
    const onIdentify = ({ detail }: CustomEvent<IdentifyResult>): void => {
      const peer = detail.peerId.toString()
      if (detail.protocols.includes(HOP_PROTOCOL) && policy.isPaired(peer)) offering.add(peer)
      onChange()
    }

    return {
      get reservedAt() {
        return reservedAt()
      },
      start() {
        for (const peer of configured.keys()) {
          held.use(policy.expect(peer))
          held.use(policy.keep(peer))
        }
        timer = setInterval(onChange, RELAY_CHECK_MS)
        timer.unref()
        events.addEventListener('peer:identify', onIdentify)
        events.addEventListener('peer:disconnect', onChange)
      },
      afterStart() {
        void recall().then(check, () => {})
      },
      stop() {
        clearInterval(timer)
        events.removeEventListener('peer:identify', onIdentify)
        events.removeEventListener('peer:disconnect', onChange)
        held.dispose()
      },
    }
  }
}

/** The relay in an address through one. */
export function relayOf(addr: Multiaddr): string | undefined {
  const components = addr.getComponents()
  const at = components.findIndex(({ name }) => name === 'p2p-circuit')
  return at === -1 ? undefined : components.slice(0, at).findLast(({ name }) => name === 'p2p')?.value
}
