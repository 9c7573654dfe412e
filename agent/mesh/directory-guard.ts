/**
 * What the Kademlia of the directory sees of the node, with bounds: it hears strangers, who may lie and flood. Whatever
 * they say is kept in bounded numbers, never reaches what is known of paired peers, and is dialed at a bounded rate.
 */
import type { KadDHTComponents } from '@libp2p/kad-dht'
import type { Connection, Peer, PeerId, PeerInfo, Stream, StreamHandler } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { FluidError } from '../../protocol/errors.ts'
import { DIRECTORY_PROTOCOL } from '../../protocol/ids.ts'
import {
  DIRECTORY_ANSWER_BYTES,
  DIRECTORY_QUESTION_BYTES,
  DIRECTORY_STREAM_BURST,
  DIRECTORY_STREAMS_PER_SECOND,
  MAX_ADDRESSES,
  MAX_DIRECTORY_HEARD,
  MAX_DIRECTORY_PROVIDERS,
} from '../../protocol/limits.ts'
import { outerFirst } from './addresses.ts'
import type { ConnectionPolicy } from './connection-policy.ts'
import { override } from './override.ts'
import type { Refusals } from './refusals.ts'
import { createTokenBucket, type TokenBucket } from '../../protocol/token-bucket.ts'

type PeerStore = KadDHTComponents['peerStore']
type Datastore = KadDHTComponents['datastore']
type Key = Parameters<Datastore['put']>[0]

/** The tag that kad-dht gives to peers of its routing table. */
export const TABLE_TAG = 'kad-peer'

/** How long an entry of the address book is answered without a look: reading it takes 0.1 ms. */
const READ_AGAIN_MS = 2_000

/** Whoever proved a moment ago who it is, and said that it serves the directory, is taken to be there. */
const PROVEN_FOR_MS = 60_000
/** Who is merely heard of is dialed for the routing table, soon while that holds so few, then at leisure. */
const FEW_PEERS = 4
const SOON_PER_SECOND = 0.5
const LEISURE_PER_SECOND = 0.05
/** What others told of a stranger is told again without asking anybody anew for so long. */
const LATELY_MS = 10_000

/** A PING of the directory: a length, and protobuf field 1 (type) = 5. */
const PING = Uint8Array.of(2, 8, 5)

export interface DirectoryGuard {
  /** For kad-dht instead of the node's own. */
  readonly components: KadDHTComponents
  /** Keeps addresses that somebody told of a peer, unless it is known, or told its own. */
  hear(peer: PeerInfo): Promise<void>
  /** Addresses that somebody told of a stranger a moment ago. */
  lately(peer: string): readonly Multiaddr[]
  /** True for a stranger whose entry in the address book stays when it leaves. */
  retains(peer: string): boolean
}

export interface DirectoryGuardParts {
  readonly policy: ConnectionPolicy
  readonly refusals: Refusals
  /** Multihashes, base32, under which agents may announce themselves here. */
  readonly keys: ReadonlySet<string>
}

/** The node's `components` for kad-dht. */
export function guardDirectory(components: KadDHTComponents, parts: DirectoryGuardParts): DirectoryGuard {
  const { policy, keys } = parts
  const { hear, lately, retains, holds, peerStore } = guardBook(
    components.peerStore,
    components.peerId,
    policy,
  )
  const { connectionManager, registrar } = components
  const openStream: typeof connectionManager.openStream = async (peer, protocol, options) =>
    limitStream(await connectionManager.openStream(peer, protocol, options), DIRECTORY_ANSWER_BYTES)
  const handle: typeof registrar.handle = (protocol, handler, options) =>
    registrar.handle(protocol, guardHandler(handler, parts), options)
  const soon = createTokenBucket({ burst: 1, perSecond: SOON_PER_SECOND })
  const leisure = createTokenBucket({ burst: 1, perSecond: LEISURE_PER_SECOND })
  /** Peers that are being dialed for the routing table. */
  let dialing = 0
  // Strangers answer no ping but this one.
  const ping = {
    async ping(peer: PeerId, options?: object): Promise<number> {
      const open = connectionManager.getConnections(peer).filter(({ status }) => status === 'open')
      const since = Date.now() - PROVEN_FOR_MS
      const isProven = open.some(({ timeline }) => timeline.open > since)
      if (isProven && (await peerStore.get(peer)).protocols.includes(DIRECTORY_PROTOCOL)) return 0
      const ask = () => askForSign(() => openStream(peer, DIRECTORY_PROTOCOL, options))
      if (open.length > 0) return await ask()
      const turns = holds() + dialing < FEW_PEERS ? soon : leisure
      if (!turns.take()) throw new Error('Not now')
      dialing++
      return await ask().finally(() => dialing--)
    },
  }
  return {
    hear,
    lately,
    retains,
    components: override(components, {
      peerStore,
      datastore: override(components.datastore, providerStore(keys, components.peerId.toString())),
      connectionManager: override(connectionManager, { openStream }),
      registrar: override(registrar, { handle }),
      ping,
    }),
  }
}

/** At most MAX_ADDRESSES, and loopback only when there is nothing else. */
export function usefulAddrs(addrs: readonly Multiaddr[]): Multiaddr[] {
  return outerFirst(addrs).slice(0, MAX_ADDRESSES)
}

/** The address book: read of peers that serve the directory only, written with hearsay of strangers in bounded numbers. */
function guardBook(book: PeerStore, self: PeerId, policy: ConnectionPolicy) {
  /** Strangers of whom others told, and what they told last; the oldest first. */
  const heard = new Map<string, { id: PeerId; addrs: readonly Multiaddr[]; until: number }>()
  /** Those of the routing table, which is bounded by itself. */
  const tabled = new Set<string>()
  /** Entries read a moment ago: an answer has 20 of them, mostly the same. */
  const read = new Map<string, { entry: Peer; until: number }>()

  /** Makes room in the book for an entry of `id`. */
  async function admit(id: PeerId, addrs: readonly Multiaddr[] = []): Promise<void> {
    heard.delete(id.toString())
    heard.set(id.toString(), { id, addrs, until: performance.now() + LATELY_MS })
    if (heard.size <= MAX_DIRECTORY_HEARD) return
    const [[oldest, { id: oldId }]] = heard
    heard.delete(oldest)
    if (!policy.isKnown(oldest) && !tabled.has(oldest)) await book.delete(oldId).catch(() => {})
  }

  /** Notes whether `id` is of the routing table. */
  async function mark(id: PeerId, inTable: boolean): Promise<Peer> {
    const peer = id.toString()
    if (inTable) tabled.add(peer)
    else tabled.delete(peer)
    if (!inTable && !policy.isKnown(peer)) await admit(id)
    // Worth nothing to the pruner of connections.
    return book.merge(id, { tags: { [TABLE_TAG]: inTable ? { value: 0 } : undefined } })
  }

  async function hear({ id, multiaddrs }: PeerInfo): Promise<void> {
    const peer = id.toString()
    // Who is in the table was spoken to, and told its own.
    if (tabled.has(peer) || policy.isKnown(peer) || id.equals(self)) return
    const told = usefulAddrs(multiaddrs)
    await admit(id, told)
    const entry = await book.get(id).catch(() => undefined)
    const known = entry?.addresses ?? []
    // What a peer signed itself counts more than what others say.
    if (known.some(({ isCertified }) => isCertified)) return
    const fresh = told.filter((addr) => !known.some(({ multiaddr }) => multiaddr.equals(addr)))
    const some = fresh.slice(0, Math.max(0, MAX_ADDRESSES - known.length))
    if (some.length === 0) return
    read.delete(peer)
    await book.merge(id, { multiaddrs: some })
  }

  const get: PeerStore['get'] = async (id, options) => {
    const peer = id.toString()
    const before = read.get(peer)
    if (before && before.until > performance.now()) return before.entry
    const found = await book.get(id, options).catch(() => undefined)
    // Nobody learns of peers that are merely known here: without addresses an entry is not told.
    const entry = found?.protocols.includes(DIRECTORY_PROTOCOL) ? found : emptyEntry(id)
    if (read.size >= MAX_DIRECTORY_HEARD) read.clear()
    if (entry === found) read.set(peer, { entry, until: performance.now() + READ_AGAIN_MS })
    return entry
  }
  const guarded = {
    get,
    getInfo: async (id, options) => {
      const { addresses } = await get(id, options)
      return { id, multiaddrs: addresses.map(({ multiaddr }) => multiaddr) }
    },
    // Other tags, which keep connections alive, are left out: strangers are dialed when they are needed.
    merge: async (id, { multiaddrs, tags }) => {
      if (multiaddrs) await hear({ id, multiaddrs })
      return tags && TABLE_TAG in tags ? mark(id, tags[TABLE_TAG] !== undefined) : get(id)
    },
  } satisfies Partial<PeerStore>
  const lately = (peer: string) => {
    const said = heard.get(peer)
    return said && said.until > performance.now() ? said.addrs : []
  }
  const retains = (peer: string) => heard.has(peer) || tabled.has(peer)
  return { hear, lately, retains, holds: () => tabled.size, peerStore: override(book, guarded) }
}

function emptyEntry(id: PeerId): Peer {
  return { id, addresses: [], protocols: [], metadata: new Map(), tags: new Map() }
}

/** Who announced itself under one of `keys`, and this agent: in memory, the oldest announcement gives way. Nothing else is kept. */
function providerStore(
  keys: ReadonlySet<string>,
  self: string,
): Pick<Datastore, 'put' | 'get' | 'delete' | 'query'> {
  const byKey = new Map<string, Map<string, { key: Key; value: Uint8Array }>>()
  const parse = (key: Key) => {
    const [, , kind, name, peer] = key.toString().split('/')
    return { kind, name, peer }
  }
  return {
    put(key, value) {
      const { kind, name, peer } = parse(key)
      if (kind !== 'provider' || !peer || !keys.has(name))
        throw new FluidError('POLICY_DENIED', 'The directory keeps nothing under this key')
      const entries = byKey.get(name) ?? new Map<string, { key: Key; value: Uint8Array }>()
      byKey.set(name, entries)
      entries.delete(peer)
      entries.set(peer, { key, value })
      if (entries.size > MAX_DIRECTORY_PROVIDERS) {
        for (const oldest of entries.keys()) {
          if (oldest === self) continue
          entries.delete(oldest)
          break
        }
      }
      return key
    },
    get(key) {
      const { name, peer } = parse(key)
      const entry = byKey.get(name)?.get(peer)
      if (!entry) throw Object.assign(new Error('Not found'), { name: 'NotFoundError' })
      return entry.value
    },
    delete(key) {
      const { name, peer } = parse(key)
      byKey.get(name)?.delete(peer)
    },
    async *query({ prefix = '' }) {
      for (const entries of byKey.values())
        for (const entry of entries.values()) if (entry.key.toString().startsWith(prefix)) yield entry
    },
  }
}

/** Each connection, and all strangers together, open streams at a bounded rate, and ask in few bytes. */
function guardHandler(handler: StreamHandler, { policy, refusals }: DirectoryGuardParts): StreamHandler {
  const rates = new WeakMap<Connection, TokenBucket>()
  const strangers = createTokenBucket({
    burst: 4 * DIRECTORY_STREAM_BURST,
    perSecond: 4 * DIRECTORY_STREAMS_PER_SECOND,
  })
  return (stream, connection) => {
    const rate =
      rates.get(connection) ??
      createTokenBucket({ burst: DIRECTORY_STREAM_BURST, perSecond: DIRECTORY_STREAMS_PER_SECOND })
    rates.set(connection, rate)
    const known = policy.isKnown(connection.remotePeer.toString())
    if (!rate.take() || !(known || strangers.take())) {
      refusals.count('directory-rate')
      stream.abort(new FluidError('LIMIT_EXCEEDED', 'Too many questions'))
      return
    }
    return handler(limitStream(stream, DIRECTORY_QUESTION_BYTES), connection)
  }
}

/** Aborts the stream when the other side sends more than `most` bytes. */
function limitStream(stream: Stream, most: number): Stream {
  let bytes = 0
  stream.maxReadBufferLength = most
  stream.addEventListener('message', ({ data }) => {
    bytes += data.byteLength
    if (bytes > most) stream.abort(new FluidError('LIMIT_EXCEEDED', `More than ${most} bytes`))
  })
  return stream
}

/** Resolves when what was opened answers to a ping of the directory; the time it took, ms. */
async function askForSign(open: () => Promise<Stream>): Promise<number> {
  const begun = performance.now()
  const stream = await open()
  const answered = Promise.withResolvers<void>()
  stream.addEventListener('message', () => answered.resolve())
  stream.addEventListener('close', () => answered.reject(new Error('No answer')))
  const timer = setTimeout(() => stream.abort(new Error('No answer')), 5_000)
  try {
    stream.send(PING)
    await answered.promise
    return performance.now() - begun
  } finally {
    clearTimeout(timer)
    await stream.close().catch(() => {})
  }
}
