/**
 * This agent as a client of brokers: it asks several, examines every offer itself and merges what they say. So a broker
 * can leave offers out, and nothing worse; and who asks two sees what one leaves out.
 */
import type { Connection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { openCatalogClient, type CatalogClient } from '../../broker/catalog-client.ts'
import type { Offer, SignedOffer } from '../../protocol/catalog-message.ts'
import { decodeOffer, examineOffer, offerPosition } from '../../protocol/catalog-offer.ts'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { CATALOG_PROTOCOL } from '../../protocol/ids.ts'
import {
  BROKER_CONNECT_TIMEOUT_MS,
  BROKER_LOOKUP_KEPT_MS,
  BROKER_LOOKUP_TIMEOUT_MS,
  MAX_BROKERS_ASKED,
  MAX_CATALOG_BYTES,
  MAX_CATALOG_OFFERS,
  MAX_OFFERS_PER_ANSWER,
} from '../../protocol/limits.ts'
import type { Config } from '../config.ts'
import type { ConnectionPolicy } from '../mesh/connection-policy.ts'
import { dialAnywhere } from '../mesh/dial-peer.ts'
import type { MeshNode } from '../mesh/node.ts'
import { parsePeerAddress } from '../mesh/peer-address.ts'
import type { Refusals } from '../mesh/refusals.ts'

export interface BrokerClientParts {
  readonly node: MeshNode
  readonly connectionPolicy: ConnectionPolicy
  readonly config: Pick<Config, 'brokers' | 'bootstrap'>
  readonly refusals: Refusals
}

/** An offer that proved itself, and the broker that gave it first. */
export interface FoundOffer {
  readonly offer: Offer
  readonly broker: string
}

/** What brokers said, together. */
export interface Findings {
  /** The newest version of each, whoever gave it; those taken back are left out. */
  readonly offers: readonly FoundOffer[]
  /** Peer IDs of brokers that answered. */
  readonly brokers: readonly string[]
  /** What went wrong with others. */
  readonly failures: readonly BrokerFailure[]
  /** Offers the fullest broker matched. */
  readonly considered: number
}

export interface BrokerFailure {
  readonly broker: string
  readonly error: FluidError
}

/** One broker's answer, or why there is none. */
export type Answer<T> = { readonly broker: string } & (
  | { readonly value: T; readonly error?: undefined }
  | { readonly error: FluidError }
)

export interface BrokerClient {
  /**
   * The brokers to ask, as peer IDs or multiaddrs that end in one: those given, else those of the configuration, else
   * first contacts and whoever the mesh tells of. Throws USAGE when there is none.
   */
  brokers(given?: readonly string[], waits?: Waits): Promise<string[]>
  /** Opens a stream to each of `brokers` and lets `ask` use it. Never rejects, but when aborted. */
  askAll<T>(
    brokers: readonly string[],
    ask: (client: CatalogClient, broker: string) => Promise<T>,
    waits?: Waits,
  ): Promise<Answer<T>[]>
  /** Asks one. Throws PEER_UNREACHABLE, TIMEOUT, PROTOCOL_VIOLATION, LIMIT_EXCEEDED. */
  askOne<T>(broker: string, ask: (client: CatalogClient) => Promise<T>, waits?: Waits): Promise<T>
  /** Offers of all `answers` that prove themselves, merged. Throws the first failure when no broker answered. */
  merge(
    answers: readonly Answer<{ offers: readonly SignedOffer[]; considered?: number }>[],
  ): Promise<Findings>
  /** Those of `offers` that prove themselves, tombstones included. */
  examine(offers: readonly SignedOffer[]): Promise<Offer[]>
  /** Everything the brokers hold, or everything of one provider. */
  list(brokers: readonly string[], options?: { peer?: string }, waits?: Waits): Promise<Findings>
}

export interface Waits {
  readonly signal?: AbortSignal
}

export function createBrokerClient(parts: BrokerClientParts): BrokerClient {
  const { node, connectionPolicy, config, refusals } = parts
  const own = node.peerId.toString()
  let lookedUp: { at: number; brokers: readonly string[] } = { at: -Infinity, brokers: [] }

  async function brokers(given: readonly string[] = [], { signal }: Waits = {}): Promise<string[]> {
    const named = given.length > 0 ? given : config.brokers
    for (const broker of given) parsePeerAddress(broker)
    if (named.length > 0) return unique(named).slice(0, MAX_BROKERS_ASKED)
    const found = await announced(signal)
    // First contacts need not be brokers: they are asked when the mesh knows of none.
    const others = unique(found.length > 0 ? found : config.bootstrap).slice(0, MAX_BROKERS_ASKED)
    if (others.length > 0) return others
    throw new FluidError('USAGE', 'No broker is known', {
      hint: 'Name one with --broker MULTIADDR, or brokers in config.toml; fluidcloud broker runs one',
    })
  }

  /** Brokers that the directory tells of, remembered for a while. */
  async function announced(signal: AbortSignal | undefined): Promise<readonly string[]> {
    const { directory } = node.services
    if (!directory) return []
    if (performance.now() - lookedUp.at < BROKER_LOOKUP_KEPT_MS) return lookedUp.brokers
    const deadline = AbortSignal.timeout(BROKER_LOOKUP_TIMEOUT_MS)
    const within = signal ? AbortSignal.any([signal, deadline]) : deadline
    const found: string[] = []
    try {
      for await (const { peer, addrs } of directory.announced('broker', { signal: within })) {
        const [addr] = addrs
        found.push(addr ? withPeer(addr.toString(), peer) : peer)
        if (found.length >= MAX_BROKERS_ASKED) break
      }
    } catch (error) {
      signal?.throwIfAborted()
      if (!deadline.aborted) throw error
    }
    if (found.length > 0) lookedUp = { at: performance.now(), brokers: found }
    return found
  }

  /** One entry for each peer; this agent itself is not asked. */
  function unique(named: readonly string[]): string[] {
    const byPeer = new Map(named.map((text) => [parsePeerAddress(text).peer, text]))
    byPeer.delete(own)
    return [...byPeer.values()]
  }

  async function askOne<T>(
    broker: string,
    ask: (client: CatalogClient) => Promise<T>,
    { signal }: Waits = {},
  ): Promise<T> {
    const { peer } = parsePeerAddress(broker)
    using _expected = connectionPolicy.expect(peer)
    using _kept = connectionPolicy.keep(peer)
    const old = new Set(node.getConnections(peerIdFromString(peer)))
    let connection = await dial(broker, signal)
    const attempt = async (): Promise<T> => {
      const stream = await openStream(connection, peer, signal)
      await using client = openCatalogClient(stream)
      return await ask(client)
    }
    return await attempt().catch(async (error) => {
      // A connection from before may be dead without knowing it, or at the end of its time.
      if (!old.has(connection) || asFluidError(error).code !== 'PEER_UNREACHABLE') throw error
      signal?.throwIfAborted()
      await connection.close().catch(() => {})
      connection = await dial(broker, signal)
      return attempt()
    })
  }

  async function dial(broker: string, signal: AbortSignal | undefined): Promise<Connection> {
    const { peer, addrs } = parsePeerAddress(broker)
    const open = node.getConnections(peerIdFromString(peer)).find(({ status }) => status === 'open')
    if (open) return open
    const deadline = AbortSignal.timeout(BROKER_CONNECT_TIMEOUT_MS)
    try {
      return await dialAnywhere(node, peer, addrs, {
        signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
      })
    } catch (cause) {
      signal?.throwIfAborted()
      throw new FluidError('PEER_UNREACHABLE', `The broker ${broker} cannot be reached`, {
        cause,
        peer,
        hint: 'Check that it runs and that its address can be reached from here',
      })
    }
  }

  async function openStream(connection: Connection, peer: string, signal: AbortSignal | undefined) {
    const deadline = AbortSignal.timeout(BROKER_CONNECT_TIMEOUT_MS)
    return connection
      .newStream(CATALOG_PROTOCOL, { signal: signal ? AbortSignal.any([signal, deadline]) : deadline })
      .catch((cause) => {
        signal?.throwIfAborted()
        throw new FluidError('PEER_UNREACHABLE', `${peer} does not answer as a broker`, {
          cause,
          peer,
          hint: 'Name a broker: fluidcloud broker prints its multiaddr',
        })
      })
  }

  async function askAll<T>(
    named: readonly string[],
    ask: (client: CatalogClient, broker: string) => Promise<T>,
    waits: Waits = {},
  ): Promise<Answer<T>[]> {
    const answers = named.map(async (text): Promise<Answer<T>> => {
      const broker = parsePeerAddress(text).peer
      try {
        return { broker, value: await askOne(text, (client) => ask(client, broker), waits) }
      } catch (error) {
        waits.signal?.throwIfAborted()
        return { broker, error: asFluidError(error) }
      }
    })
    return Promise.all(answers)
  }

  async function examine(offers: readonly SignedOffer[]): Promise<Offer[]> {
    const examined = await Promise.all(offers.map((signed) => examineOffer(signed, Date.now())))
    const proven = examined.flatMap(({ offer }) => offer ?? [])
    for (let at = proven.length; at < offers.length; at++) refusals.count('broker-offer')
    return proven
  }

  async function merge(
    answers: readonly Answer<{ offers: readonly SignedOffer[]; considered?: number }>[],
  ): Promise<Findings> {
    const newest = new Map<string, FoundOffer>()
    const failures: BrokerFailure[] = []
    const answered: string[] = []
    let considered = 0
    for (const answer of answers) {
      const { broker } = answer
      if (answer.error) {
        failures.push({ broker, error: answer.error })
        continue
      }
      answered.push(broker)
      considered = Math.max(considered, answer.value.considered ?? 0)
      for (const offer of await examine(answer.value.offers)) {
        const position = Buffer.from(offerPosition(offer)).toString('hex')
        const before = newest.get(position)
        if (!before || before.offer.sequence < offer.sequence) newest.set(position, { offer, broker })
      }
    }
    if (answered.length === 0 && failures.length > 0) throw failures[0].error
    const offers = [...newest.values()].filter(({ offer }) => !offer.withdrawn)
    return { offers, brokers: answered, failures, considered: Math.max(considered, offers.length) }
  }

  async function list(
    named: readonly string[],
    { peer }: { peer?: string } = {},
    waits: Waits = {},
  ): Promise<Findings> {
    const answers = await askAll(
      named,
      async (client) => {
        const offers: SignedOffer[] = []
        let bytes = 0
        for (let after: Uint8Array | undefined; ;) {
          const page = await client.list({ peer, after }, waits)
          offers.push(...page)
          if (page.length < MAX_OFFERS_PER_ANSWER) return { offers }
          for (const { body } of page) bytes += body.length
          if (offers.length > MAX_CATALOG_OFFERS || bytes > MAX_CATALOG_BYTES)
            throw new FluidError('PROTOCOL_VIOLATION', 'The broker lists offers without end')
          after = offerPosition(decodeOffer(page.at(-1)!.body))
        }
      },
      waits,
    )
    return merge(answers)
  }

  return { brokers, askAll, askOne, merge, examine, list }
}

function withPeer(addr: string, peer: string): string {
  return /\/p2p\/[^/]+$/.test(addr) ? addr : `${addr}/p2p/${peer}`
}
