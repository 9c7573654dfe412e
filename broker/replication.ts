/**
 * Brokers that know each other hold the same offers: each keeps connected to its contacts, compares with them when they
 * meet and every CATALOG_COMPARE_INTERVAL_MS, and gossips what is new in between. Spec: catalog.md, Replication.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, Stream } from '@libp2p/interface'
import { asFluidError, FluidError } from '../protocol/errors.ts'
import {
  BROKER_RETRY_CAP_MS,
  BROKER_RETRY_MS,
  CATALOG_COMPARE_INTERVAL_MS,
  MAX_BROKER_NEIGHBOURS,
  MAX_HOST_NEIGHBOURS,
} from '../protocol/limits.ts'
import { openCatalogClient } from './catalog-client.ts'
import type { Catalog } from './catalog.ts'
import { compare, type Comparison } from './compare.ts'
import type { Gossip } from './gossip.ts'
import { type Share, STRANGERS } from './shares.ts'

/** What replication needs of the node and its policy. */
export interface Neighbourhood {
  /** A connection to the broker at a contact, as `contacts` and `discover` name them. */
  connect(contact: string, options: { signal: AbortSignal }): Promise<Connection>
  /** A stream of the catalogue protocol. */
  openStream(connection: Connection, options: { signal: AbortSignal }): Promise<Stream>
  /** Keeps a stranger's connection from being ended for its age, until disposed. */
  keep(connection: Connection): Disposable
  /** Other brokers that the mesh tells of now; contacts, as connect() takes them. */
  discover?(options: { signal: AbortSignal }): AsyncIterable<string>
}

export interface ReplicationParts {
  readonly catalog: Catalog
  readonly gossip: Gossip
  readonly neighbourhood: Neighbourhood
  /** Address of the other end, for bounds on hosts. */
  readonly hostOf: (connection: Connection) => string
  /** First contacts; tried for ever. */
  readonly contacts: readonly string[]
  readonly compareIntervalMs?: number
  /** Hears of every comparison that ended well. */
  readonly onCompared?: (peer: string, comparison: Comparison & { readonly wireBytes: number }) => void
  /** Hears why a contact could not be reached or left. */
  readonly onTrouble?: (contact: string, error: FluidError) => void
}

export interface Replication extends AsyncDisposable {
  /** Peer IDs of brokers this one exchanges offers with now. */
  readonly neighbours: readonly string[]
  /** Keeps in touch with one more contact. */
  meet(contact: string): void
  /** Exchanges offers with the broker at the other end, which asked first. */
  welcome(connection: Connection): void
}

/** A broker it exchanges offers with. */
interface Neighbour {
  readonly connection: Connection
  readonly host: string
  /** Named by the owner; else it came by itself, or the mesh told of it. */
  readonly isContact: boolean
}

const REFUSED_REMEMBERED = 4096
/** News that a comparison brought is passed on up to here; more is left to the comparisons of others. */
const MAX_NEWS_PASSED_ON = 2048
/** A new neighbour is soon compared with again: each may have learned from a third meanwhile. */
const SECOND_COMPARISON_MS = 2_000

export function createReplication(parts: ReplicationParts): Replication {
  const { catalog, gossip, neighbourhood, hostOf, contacts, onCompared, onTrouble } = parts
  const { compareIntervalMs = CATALOG_COMPARE_INTERVAL_MS } = parts
  const closing = new AbortController()
  const { signal } = closing
  const neighbours = new Map<string, Neighbour>()
  /** Versions that were fetched and refused; they are not fetched again while they are remembered. */
  const refused = new Set<string>()
  const running = new Set<Promise<void>>()

  const spreading = catalog.onKept((kept, origin) => {
    // Gossip passes on by itself what came by gossip.
    if (origin === 'gossiped') return
    // Who it was fetched from has it.
    if (origin === 'fetched' && (kept.length > MAX_NEWS_PASSED_ON || neighbours.size < 2)) return
    void gossip.spread(kept.map(({ signed }) => signed))
  })

  function track(work: Promise<void>): void {
    const ended = work.catch(() => {}).finally(() => running.delete(ended))
    running.add(ended)
  }

  /** True for one more at `host` that the owner did not name: such are bounded, so that they leave contacts their places. */
  function isFull(host: string): boolean {
    const others = [...neighbours.values()].filter(({ isContact }) => !isContact)
    const fromHost = others.filter((other) => other.host === host).length
    return others.length >= MAX_BROKER_NEIGHBOURS || fromHost >= MAX_HOST_NEIGHBOURS
  }

  /** Compares with the broker at the other end now and again, as long as it is connected. Who asked first opens the gossip. */
  async function neighbour(
    connection: Connection,
    { asks, isContact }: { asks: boolean; isContact: boolean },
  ): Promise<void> {
    const id = connection.remotePeer
    const peer = id.toString()
    const host = hostOf(connection)
    if (neighbours.has(peer) || (!isContact && isFull(host))) return
    neighbours.set(peer, { connection, host, isContact })
    const gone = new AbortController()
    const onClose = (): void => gone.abort(new FluidError('PEER_UNREACHABLE', 'The broker has gone'))
    connection.addEventListener('close', onClose)
    if (connection.status !== 'open') onClose()
    const within = AbortSignal.any([signal, gone.signal])
    using _kept = neighbourhood.keep(connection)
    const share = isContact ? undefined : STRANGERS
    gossip.admit(connection, share)
    let isFirst = true
    try {
      for (;;) {
        await compareOver(connection, within, share)
        if (asks && isFirst) gossip.join(connection)
        const pauseMs = isFirst ? Math.min(SECOND_COMPARISON_MS, compareIntervalMs) : compareIntervalMs
        isFirst = false
        // Some earlier, some later: not all at once.
        await delay(pauseMs * (0.75 + Math.random() / 2), undefined, { signal: within, ref: false })
      }
    } finally {
      connection.removeEventListener('close', onClose)
      gossip.dismiss(id)
      neighbours.delete(peer)
    }
  }

  async function compareOver(
    connection: Connection,
    within: AbortSignal,
    share: Share | undefined,
  ): Promise<void> {
    const stream = await neighbourhood.openStream(connection, { signal: within })
    await using client = openCatalogClient(stream)
    const key = (position: string, sequence: number) => `${position}${sequence}`
    const comparison = await compare(client, catalog, {
      signal: within,
      share,
      wanted: (position, sequence) => !refused.has(key(position, sequence)),
      onRefused: (position, sequence) => {
        refused.add(key(position, sequence))
        if (refused.size > REFUSED_REMEMBERED) refused.delete(refused.values().next().value!)
      },
    })
    const { sent, received } = client.wireBytes
    onCompared?.(connection.remotePeer.toString(), { ...comparison, wireBytes: sent + received })
  }

  /** Keeps in touch with one contact. */
  async function keepUp(contact: string): Promise<void> {
    for (let waitMs = BROKER_RETRY_MS; !signal.aborted; waitMs = Math.min(2 * waitMs, BROKER_RETRY_CAP_MS)) {
      const begun = performance.now()
      await meet(contact, { isContact: true })
      if (performance.now() - begun > BROKER_RETRY_CAP_MS) waitMs = BROKER_RETRY_MS
      await delay(waitMs * (0.5 + Math.random()), undefined, { signal, ref: false })
    }
  }

  /** One meeting, until it ends for whatever reason. */
  async function meet(contact: string, { isContact }: { isContact: boolean }): Promise<void> {
    try {
      const connection = await neighbourhood.connect(contact, { signal })
      const known = neighbours.get(connection.remotePeer.toString())
      if (known) await untilClosed(known.connection, signal)
      else await neighbour(connection, { asks: true, isContact })
    } catch (error) {
      signal.throwIfAborted()
      onTrouble?.(contact, asFluidError(error))
    }
  }

  /** Meets whoever the mesh tells of, beside the contacts. */
  async function lookAround(): Promise<void> {
    const meeting = new Set<string>()
    for (;;) {
      for await (const contact of neighbourhood.discover!({ signal })) {
        if (neighbours.size + meeting.size >= MAX_BROKER_NEIGHBOURS || meeting.has(contact)) continue
        meeting.add(contact)
        track(meet(contact, { isContact: false }).finally(() => meeting.delete(contact)))
      }
      await delay(compareIntervalMs, undefined, { signal, ref: false })
    }
  }

  for (const contact of contacts) track(keepUp(contact))
  if (neighbourhood.discover) track(lookAround())

  return {
    get neighbours() {
      return [...neighbours.keys()]
    },
    meet: (contact) => track(keepUp(contact)),
    welcome: (connection) => {
      // It joins the gossip from its side, as soon as it has its answer.
      if (!signal.aborted) track(neighbour(connection, { asks: false, isContact: false }))
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort(new FluidError('INTERRUPTED', 'The broker is stopping'))
      spreading[Symbol.dispose]()
      await Promise.all(running)
    },
  }
}

function untilClosed(connection: Connection, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const listening = new AbortController()
  connection.addEventListener('close', () => resolve(), { signal: listening.signal })
  signal.addEventListener('abort', () => reject(signal.reason), { signal: listening.signal })
  if (connection.status !== 'open') resolve()
  return promise.finally(() => listening.abort())
}
