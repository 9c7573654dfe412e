/**
 * Being reached through relays: an agent that nobody can dial keeps a place at each relay it was told of, and at those
 * of paired peers; at others only if its owner says so (reach/find-relays.ts).
 */
import { circuitRelayTransport, type CircuitRelayTransportComponents } from '@libp2p/circuit-relay-v2'
import type { IdentifyResult, Startable, StreamHandler } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { DIRECTORY_FIND_TIMEOUT_MS, RELAY_CHECK_MS, RELAY_FIND_MS } from '../../protocol/limits.ts'
import { hostOf, isCircuit, isPrivate, relayOf } from './addresses.ts'
import type { ConnectionPolicy } from './connection-policy.ts'
import type { Directory } from './directory.ts'
import { override } from './override.ts'
import { createRelayFinder } from '../reach/find-relays.ts'
import type { OwnAddresses } from '../reach/own-addresses.ts'

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
  /** Of these, relays of strangers that the directory told of. */
  readonly strangers: readonly string[]
  /** True for a stranger's relay that may bring connections here. */
  isChosen(peer: string): boolean
  /** Looks for relays in the directory, now, if nobody can dial this agent. */
  look(): Promise<void>
}

/** The service for libp2p. `relays` are multiaddrs that end in /p2p/<peer ID>. */
export function relayClientService({
  relays,
  announced,
  policy,
  anybody = false,
  directory = () => undefined,
  own,
}: {
  readonly relays: readonly string[]
  /** This agent told addresses of its own: it can be reached. */
  readonly announced: boolean
  readonly policy: ConnectionPolicy
  /** Relays of strangers may be used, if the directory tells of some. */
  readonly anybody?: boolean
  readonly directory?: () => Directory | undefined
  /** Knows which addresses lead nowhere. */
  readonly own?: OwnAddresses
}): (components: CircuitRelayTransportComponents) => RelayClient {
  return ({ peerId, peerStore, transportManager, events }) => {
    const configured = new Map(relays.map((addr) => [addr.replace(/^.*\/p2p\//, ''), multiaddr(addr)]))
    configured.delete(peerId.toString())
    const held = new DisposableStack()
    /** Paired peers that say they are relays. */
    const offering = new Set<string>()
    let timer: NodeJS.Timeout | undefined
    let checking = false
    let started = false

    const ownAddrs = () => transportManager.getAddrs()
    const reservedAt = () => [...new Set(ownAddrs().flatMap((addr) => relayOf(addr) ?? []))]
    const isPublic = (addr: Multiaddr) => !isCircuit(addr) && !isPrivate(hostOf(addr))
    const reachable = () => announced || (own?.filter(ownAddrs()) ?? ownAddrs()).some(isPublic)
    const finder = createRelayFinder({
      directory,
      anybody,
      policy,
      listen: (relay) => transportManager.listen([relay]),
      reservedAt,
    })
    let finding: Promise<void> | undefined
    let lookedAt = -Infinity
    const closing = new AbortController()

    async function find(): Promise<void> {
      if (reachable() || !directory()) return
      lookedAt = performance.now()
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(2 * DIRECTORY_FIND_TIMEOUT_MS)])
      await finder.look([...configured.keys(), ...pairedRelays()], { signal })
    }

    /** One search at a time. */
    const look = (): Promise<void> =>
      (finding ??= find()
        .catch(() => {})
        .finally(() => (finding = undefined)))

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
          if (hostOf(addr) !== undefined)
            await peerStore.merge(peerIdFromString(peer), { multiaddrs: [addr] }).catch(() => {})
          await transportManager.listen([addr.encapsulate('/p2p-circuit')]).catch(() => {})
        }
        for (const peer of pairedRelays())
          if (!places.has(peer))
            await transportManager.listen([multiaddr(`/p2p/${peer}/p2p-circuit`)]).catch(() => {})
      } finally {
        checking = false
      }
      if (performance.now() - lookedAt >= RELAY_FIND_MS && started) void look()
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
      get strangers() {
        return finder.strangers
      },
      isChosen: (peer) => finder.isChosen(peer),
      look,
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
        started = true
        void recall()
          .then(check)
          .catch(() => {})
      },
      stop() {
        clearInterval(timer)
        closing.abort(new Error('The agent is stopping'))
        finder[Symbol.dispose]()
        events.removeEventListener('peer:identify', onIdentify)
        events.removeEventListener('peer:disconnect', onChange)
        held.dispose()
      },
    }
  }
}
