/**
 * The distributed directory: libp2p's Kademlia among FluidCloud's own agents. Who serves it is found by peer ID alone,
 * from anywhere in the mesh, and can announce itself under a well-known name. What it answers is hearsay: it is good
 * for nothing but dialing, where Noise proves who is there.
 */
import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { type KadDHT, type KadDHTComponents, kadDHT, type QueryEvent } from '@libp2p/kad-dht'
import {
  type Connection,
  type PeerId,
  type PeerInfo,
  peerDiscoverySymbol,
  type Startable,
} from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import type { Multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { toString as encodeText } from 'uint8arrays/to-string'
import { DIRECTORY_PROTOCOL } from '../../protocol/ids.ts'
import {
  DIRECTORY_FIND_TIMEOUT_MS,
  MAX_DIRECTORY_ADDRESSES,
  MAX_DIRECTORY_LOOKUPS,
  MAX_DIRECTORY_STREAMS,
} from '../../protocol/limits.ts'
import type { ConnectionPolicy } from './connection-policy.ts'
import { type DirectoryGuard, guardDirectory, usefulAddrs } from './directory-guard.ts'
import { announceToFew, joinGently, type Joining } from './join-gently.ts'
import type { Refusals } from './refusals.ts'
import { createTurns } from '../turns.ts'

/** What agents announce themselves as. */
export const DIRECTORY_NAMES = ['broker', 'relay'] as const
export type DirectoryName = (typeof DIRECTORY_NAMES)[number]

/** Peers asked at once by one lookup, on each of so many ways that share no peer: a liar on one is not on the others. */
const PARALLEL = 2
const WAYS = 2
/** Announcements are forgotten after an hour, and renewed when half of it is over. */
const ANNOUNCED_FOR_MS = 60 * 60_000
const RENEW_EVERY_MS = 10 * 60_000
/** The one that is asked first has so long to answer. */
const FIRST_ANSWER_MS = 2_000
/** Peers whose answers are waited for when somebody looks for who announced itself: half of them on each way. */
const ENOUGH_ANSWERS = 8
/**
 * Where many agents start together, nobody knows all of them yet. For some time after its start an agent asks again, after
 * these waits, before it dials half the mesh in search of one.
 */
const FORMING_MS = 15_000
const FORMING_WAITS_MS = [100, 200, 300, 500, 700, 1000]
const FORMING_PAUSE_MS = 250
/** A lookup waits so long for the agent to join. */
const DIRECTORY_JOIN_MS = 3_000
const SHA2_256 = 0x12
const RAW = 0x55

/** Where a peer may be, as somebody says. */
export interface Whereabouts {
  readonly peer: string
  readonly addrs: Multiaddr[]
}

export interface Directory extends Startable {
  /** Peers of the routing table: who was spoken to. */
  readonly size: number
  /**
   * Addresses that `peer` itself told this agent, then those that others tell, as they answer; none twice, at most
   * MAX_DIRECTORY_ADDRESSES, and they may be old, or lies. Its walk ends after DIRECTORY_FIND_TIMEOUT_MS.
   */
  find(peer: string, options?: { signal?: AbortSignal }): AsyncGenerator<Multiaddr[]>
  /** Announces this agent under `name`, now and as long as it runs. Rejects while nobody is there to tell. */
  announce(name: DirectoryName, options?: { signal?: AbortSignal }): Promise<void>
  /** Who announced itself under `name`: hearsay too. Ends after DIRECTORY_FIND_TIMEOUT_MS. */
  announced(name: DirectoryName, options?: { signal?: AbortSignal }): AsyncGenerator<Whereabouts>
  /** True for a stranger whose entry in the address book stays when it leaves. */
  retains(peer: string): boolean
}

/** The service for libp2p. */
export function directoryService(parts: {
  readonly policy: ConnectionPolicy
  readonly refusals: Refusals
}): (components: KadDHTComponents) => Directory {
  return (components) => {
    const keys = new Set(DIRECTORY_NAMES.map((name) => encodeText(keyOf(name).multihash.bytes, 'base32')))
    const guard = guardDirectory(components, { ...parts, keys })
    const dht = kadDHT({
      protocol: DIRECTORY_PROTOCOL,
      // Every agent of the directory serves it: its own prefix keeps others out.
      clientMode: false,
      alpha: PARALLEL,
      disjointPaths: WAYS,
      initialQuerySelfInterval: 0,
      pingNewContactConcurrency: 2 * PARALLEL,
      routingTableUpdateMaxQueueSize: 256,
      maxInboundStreams: MAX_DIRECTORY_STREAMS,
      maxOutboundStreams: MAX_DIRECTORY_STREAMS,
      peerInfoMapper: (info) => ({ ...info, multiaddrs: usefulAddrs(info.multiaddrs) }),
      reprovide: { validity: ANNOUNCED_FOR_MS, threshold: ANNOUNCED_FOR_MS / 2, interval: RENEW_EVERY_MS },
    })(guard.components) as Kademlia
    joinGently(dht)
    announceToFew(dht)
    dht[peerDiscoverySymbol].addEventListener('peer', ({ detail }) => void guard.hear(detail).catch(() => {}))
    return createDirectory(dht, guard)
  }
}

/** What kad-dht has and its types do not tell. */
interface Kademlia extends KadDHT, Startable, Joining {
  readonly [peerDiscoverySymbol]: {
    addEventListener(type: 'peer', listener: (event: CustomEvent<PeerInfo>) => void): void
  }
}

/** What libp2p is told nothing of: it would believe what it finds. */
function createDirectory(
  dht: Kademlia,
  { components: { peerId: self, peerStore, events, connectionManager }, lately, retains }: DirectoryGuard,
): Directory {
  const lookups = createTurns(MAX_DIRECTORY_LOOKUPS)
  const formedAt = performance.now() + FORMING_MS
  let askedAt = -Infinity
  /** Asked first, and did not answer: somebody else is asked from now on. */
  const silent = new WeakSet<Connection>()
  /** The first query for ourselves is over: it makes us known, and whom we know. */
  const joined = new Promise<void>((resolve) => {
    const told: EventTarget = events
    told.addEventListener('kad-dht:query:self', () => resolve(), { once: true })
    setTimeout(resolve, DIRECTORY_JOIN_MS).unref()
  })

  async function* find(peer: string, { signal }: { signal?: AbortSignal } = {}): AsyncGenerator<Multiaddr[]> {
    const id = peerIdFromString(peer)
    const told = new Set<string>()
    const fresh = (addrs: readonly Multiaddr[]): Multiaddr[] => {
      const news = usefulAddrs(addrs).filter((addr) => !told.has(addr.toString()))
      const some = news.slice(0, MAX_DIRECTORY_ADDRESSES - told.size)
      for (const addr of some) told.add(addr.toString())
      return some
    }
    const noted = async () => {
      const { multiaddrs } = await peerStore.getInfo(id, { signal })
      return fresh([...multiaddrs, ...lately(peer)])
    }
    const before = await noted()
    if (before.length > 0) yield before
    using _turn = await lookups.take(signal)
    for (const waitMs of [0, ...FORMING_WAITS_MS]) {
      if (waitMs > 0) {
        if (told.size > 0 || performance.now() > formedAt) break
        await delay(waitMs, undefined, { signal, ref: false })
      }
      const heard = await noted()
      if (heard.length > 0) yield heard
      if (told.size > 0 && waitMs > 0) break
      // Others that are looked for at the same time are mostly in the answer too.
      if (performance.now() < formedAt && performance.now() < askedAt + FORMING_PAUSE_MS) continue
      askedAt = performance.now()
      const first = fresh(await askFirst(id, signal))
      if (first.length > 0) yield first
    }
    // Whoever has just joined soon knows its neighbours, and need not ask them.
    await joined
    const since = await noted()
    if (since.length > 0) yield since
    for await (const event of query(
      (within) => dht.findPeer(id, { signal: within, useCache: false }),
      signal,
    )) {
      if (event.name !== 'FINAL_PEER' || !event.peer.id.equals(id)) continue
      const some = fresh(event.peer.multiaddrs)
      if (some.length > 0) yield some
      if (told.size >= MAX_DIRECTORY_ADDRESSES) return
    }
  }

  /** What one peer says that is connected longest: it knows most, mostly, and nobody has to be dialed to ask. */
  async function askFirst(id: PeerId, signal?: AbortSignal): Promise<Multiaddr[]> {
    const timeout = AbortSignal.timeout(FIRST_ANSWER_MS)
    for (const connection of connectionManager.getConnections()) {
      const { remotePeer, status } = connection
      if (status !== 'open' || silent.has(connection)) continue
      if (!(await peerStore.get(remotePeer)).protocols.includes(DIRECTORY_PROTOCOL)) continue
      const question = { type: 'FIND_NODE', key: id.toMultihash().bytes }
      const path = { index: -1, queued: 0, running: 0, total: 0 }
      const ask = (within: AbortSignal) =>
        dht.network.sendRequest(remotePeer, question, { path, signal: AbortSignal.any([within, timeout]) })
      for await (const event of query(ask, signal))
        if (event.name === 'PEER_RESPONSE')
          return event.closer.find((each) => each.id.equals(id))?.multiaddrs ?? []
      silent.add(connection)
      return []
    }
    return []
  }

  async function* announced(
    name: DirectoryName,
    { signal }: { signal?: AbortSignal } = {},
  ): AsyncGenerator<Whereabouts> {
    const seen = new Set<string>([self.toString()])
    const key = keyOf(name)
    let answers = 0
    for await (const event of query((within) => dht.findProviders(key, { signal: within }), signal)) {
      // Announcements are told to the nearest of the name (join-gently.ts); these are asked first.
      if (event.name === 'PEER_RESPONSE' && !event.from.equals(self) && ++answers > ENOUGH_ANSWERS) return
      if (event.name !== 'PROVIDER') continue
      for (const { id, multiaddrs } of event.providers) {
        const peer = id.toString()
        if (seen.has(peer)) continue
        seen.add(peer)
        yield { peer, addrs: usefulAddrs(multiaddrs) }
      }
    }
  }

  return {
    get size() {
      return dht.routingTable.size
    },
    find,
    announced,
    async announce(name, { signal } = {}) {
      let told = 0
      for await (const event of query((within) => dht.provide(keyOf(name), { signal: within }), signal))
        if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') told++
      if (told === 0) throw new Error(`Nobody of the directory was told of a ${name}`)
    },
    retains,
    start: () => dht.start(),
    stop: () => dht.stop(),
  }
}

/** The events of one query; one that finds nothing, or not in time, ends. Throws only when the caller aborts. */
async function* query(
  run: (signal: AbortSignal) => AsyncIterable<QueryEvent>,
  signal?: AbortSignal,
): AsyncGenerator<QueryEvent> {
  const within = AbortSignal.any([
    ...(signal ? [signal] : []),
    AbortSignal.timeout(DIRECTORY_FIND_TIMEOUT_MS),
  ])
  try {
    yield* run(within)
  } catch {
    signal?.throwIfAborted()
  }
}

/** Where announcements under `name` are kept. */
function keyOf(name: DirectoryName): CID {
  const digest = createHash('sha256').update(`fluidcloud directory v1 ${name}`).digest()
  return CID.createV1(RAW, createDigest(SHA2_256, digest))
}
