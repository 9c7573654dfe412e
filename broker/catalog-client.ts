/**
 * The asking side of the catalogue protocol, over one stream: a request, then its answer. Nothing that is answered is
 * believed: offers come as they were signed, and whoever asked examines them. Spec: catalog.md.
 */
import type { Stream } from '@libp2p/interface'
import { decodeCatalog, encodeCatalog } from '../protocol/catalog-codec.ts'
import type {
  CatalogAnswer,
  CatalogMessageOf,
  CatalogRequest,
  Entry,
  MatchRequest,
  SignedOffer,
  SummaryNode,
  Verdict,
} from '../protocol/catalog-message.ts'
import { FluidError } from '../protocol/errors.ts'
import { violation } from '../protocol/field.ts'
import {
  CATALOG_ANSWER_TIMEOUT_MS,
  MAX_CATALOG_FRAME_BYTES,
  MAX_OFFERS_PER_ANSWER,
  MAX_OFFER_BYTES,
  MAX_POSITIONS_PER_FETCH,
  SIGNATURE_BYTES,
} from '../protocol/limits.ts'
import { openMessageStream, type MessageStream, type Waits } from './message-stream.ts'

const MAX_SIGNED_OFFER_BYTES = MAX_OFFER_BYTES + SIGNATURE_BYTES

/** Offers a broker chose, and how many it had to choose from. */
export interface Selection {
  readonly offers: readonly SignedOffer[]
  /** Matched at the broker, and of these such as fit. */
  readonly considered: number
  readonly fitting: number
}

/** One request at a time. Each throws TIMEOUT, PEER_UNREACHABLE, PROTOCOL_VIOLATION, and the code of a refusal. */
export interface CatalogClient extends AsyncDisposable {
  readonly wireBytes: MessageStream['wireBytes']
  /** Verdicts in the order of the offers, at most 256 of them. */
  publish(offers: readonly SignedOffer[], waits?: Waits): Promise<readonly Verdict[]>
  query(
    options: { readonly request: MatchRequest; readonly limit: number; readonly failing: number },
    waits?: Waits,
  ): Promise<Selection>
  /** What fits now, then whatever changes, until aborted. */
  watch(
    options: { readonly request: MatchRequest; readonly limit: number },
    waits?: Waits,
  ): AsyncGenerator<Selection>
  /** A page of offers by position, those after `after`; shorter than `limit` at the end. */
  list(
    options: { readonly peer?: string; readonly after?: Uint8Array; readonly limit?: number },
    waits?: Waits,
  ): Promise<readonly SignedOffer[]>
  /** The hosts of the shortest chain of Migrators, over which resolveChain() gives it; or why there is none. */
  resolve(
    ends: {
      readonly produces: readonly string[]
      readonly accepts: readonly string[]
      readonly preferred?: readonly string[]
    },
    waits?: Waits,
  ): Promise<Omit<CatalogMessageOf<'chain'>, 'kind'>>
  /** The children of each prefix, at most 16 prefixes. */
  summarise(prefixes: readonly Uint8Array[], waits?: Waits): Promise<SummaryNode[][]>
  /** Everything below the prefixes, at most 256 of them. */
  enumerate(prefixes: readonly Uint8Array[], waits?: Waits): AsyncGenerator<readonly Entry[]>
  /** What is still held of at most MAX_POSITIONS_PER_FETCH positions. */
  fetch(positions: readonly Uint8Array[], waits?: Waits): Promise<readonly SignedOffer[]>
}

/** Asks over `stream`, which it owns; disposing it closes the stream. */
export function openCatalogClient(
  stream: Stream,
  { timeoutMs = CATALOG_ANSWER_TIMEOUT_MS }: { timeoutMs?: number } = {},
): CatalogClient {
  const messages = openMessageStream(stream, {
    maxFrameBytes: MAX_CATALOG_FRAME_BYTES,
    // The longest answer that is asked for: it comes without waiting for its reader.
    maxUnreadBytes: MAX_POSITIONS_PER_FETCH * (MAX_OFFER_BYTES + 256),
    timeoutMs,
  })

  async function ask(request: CatalogRequest, waits?: Waits): Promise<void> {
    await messages.send(encodeCatalog(request), waits)
  }

  async function answer<K extends CatalogAnswer['kind']>(
    kind: K,
    waits?: Waits,
  ): Promise<CatalogMessageOf<K>> {
    const body = await messages.receive(waits)
    if (!body) throw new FluidError('PEER_UNREACHABLE', 'The broker ended the stream without an answer')
    const message = decodeCatalog(body)
    if (message.kind === 'refused')
      throw new FluidError(message.code, `The broker refused: ${message.message || 'no reason given'}`)
    if (message.kind !== kind) throw violation(`The broker answered with ${message.kind}, not ${kind}`)
    return message as CatalogMessageOf<K>
  }

  /** All frames of one answer of offers; no more than `most` offers, none longer than it may be. */
  async function selection(most: number, waits?: Waits): Promise<Selection> {
    const offers: SignedOffer[] = []
    for (;;) {
      const part = await answer('offers', waits)
      offers.push(...part.offers)
      if (offers.length > most) throw violation(`The broker answered with more than ${most} offers`)
      if (part.offers.some(({ body, signature }) => body.length + signature.length > MAX_SIGNED_OFFER_BYTES))
        throw violation(`The broker answered with an offer of more than ${MAX_OFFER_BYTES} bytes`)
      if (!part.more) return { offers, considered: part.considered, fitting: part.fitting }
      if (part.offers.length === 0) throw violation('A part of the answer holds nothing')
    }
  }

  /** Ends the stream when it failed: what comes after would be taken for the answer to something else. */
  async function guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof FluidError) || error.code !== 'LIMIT_EXCEEDED') messages.abort(error as Error)
      throw error
    }
  }

  return {
    get wireBytes() {
      return messages.wireBytes
    },
    publish: (offers, waits) =>
      guarded(async () => {
        await ask({ kind: 'publish', offers }, waits)
        const { verdicts } = await answer('published', waits)
        if (verdicts.length !== offers.length)
          throw violation(`The broker gave ${verdicts.length} verdicts on ${offers.length} offers`)
        return verdicts
      }),
    query: ({ request, limit, failing }, waits) =>
      guarded(async () => {
        await ask({ kind: 'query', request, limit, failing }, waits)
        return selection(limit + failing, waits)
      }),
    async *watch({ request, limit }, waits) {
      await ask({ kind: 'watch', request, limit }, waits)
      yield await guarded(() => selection(limit, waits))
      // News may be long in coming; a connection that broke shows by itself.
      const forever = { ...waits, timeoutMs: 2 ** 31 - 1 }
      for (;;) yield await guarded(() => selection(MAX_OFFERS_PER_ANSWER, forever))
    },
    list: ({ peer = '', after, limit = MAX_OFFERS_PER_ANSWER }, waits) =>
      guarded(async () => {
        await ask({ kind: 'list', peer, limit, ...(after && { after }) }, waits)
        return (await selection(limit, waits)).offers
      }),
    resolve: ({ produces, accepts, preferred = [] }, waits) =>
      guarded(async () => {
        await ask({ kind: 'resolve', produces, accepts, preferred }, waits)
        const { kind: _, ...chain } = await answer('chain', waits)
        return chain
      }),
    summarise: (prefixes, waits) =>
      guarded(async () => {
        await ask({ kind: 'summarise', prefixes }, waits)
        const summaries: SummaryNode[][] = []
        for (const [at, prefix] of prefixes.entries()) {
          const summary = await answer('summary', waits)
          const isLast = at === prefixes.length - 1
          if (Buffer.compare(summary.prefix, prefix) !== 0 || summary.more === isLast)
            throw violation('The broker summarised another prefix than it was asked for')
          summaries.push([...summary.nodes])
        }
        return summaries
      }),
    async *enumerate(prefixes, waits) {
      await ask({ kind: 'enumerate', prefixes }, waits)
      for (;;) {
        const { entries, more } = await guarded(() => answer('entries', waits))
        yield entries
        if (!more) return
        if (entries.length === 0) throw violation('A part of the answer holds nothing')
      }
    },
    fetch: (positions, waits) =>
      guarded(async () => {
        if (positions.length > MAX_POSITIONS_PER_FETCH) throw new RangeError('Too many positions at once')
        await ask({ kind: 'fetch', positions }, waits)
        return (await selection(positions.length, waits)).offers
      }),
    [Symbol.asyncDispose]: () => messages[Symbol.asyncDispose](),
  }
}
