/**
 * The answering side of the catalogue protocol: serves anybody, paired or not, since offers prove themselves. What one
 * peer, one host and all together may ask is bounded, and every wait has a deadline. Spec: catalog.md.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { decodeCatalog, encodeCatalog, framesOf } from '../protocol/catalog-codec.ts'
import type {
  CatalogAnswer,
  CatalogMessage,
  CatalogMessageOf,
  MatchRequest,
  SummaryNode,
} from '../protocol/catalog-message.ts'
import { offerPosition } from '../protocol/catalog-offer.ts'
import { asFluidError, FluidError } from '../protocol/errors.ts'
import {
  CATALOG_ANSWER_TIMEOUT_MS,
  CATALOG_IDLE_TIMEOUT_MS,
  CATALOG_WATCH_INTERVAL_MS,
  MAX_CATALOG_FRAME_BYTES,
  MAX_CATALOG_FRAMES_UNREAD,
  MAX_CATALOG_WATCHES,
  MAX_ENTRIES_PER_FRAME,
  MAX_HASTY_REQUESTS,
  MAX_OFFERS_PER_ANSWER,
} from '../protocol/limits.ts'
import { type Asker, createAskers } from './askers.ts'
import type { Catalog, HeldOffer } from './catalog.ts'
import { resolveChain } from './chain.ts'
import { match } from './match.ts'
import { openMessageStream, type MessageStream } from './message-stream.ts'
import { checksOf } from './need.ts'
import { NO_FACTS } from './peer-facts.ts'
import { hostShare } from './shares.ts'

const MAX_TIMER_MS = 2 ** 31 - 1
const TOO_LONG = /^Message of \d+ bytes is outside/

/** Offers to hand out, and what is said of them; the asker examines and ranks them again. */
interface Selected {
  readonly offers: readonly HeldOffer[]
  readonly considered?: number
  readonly fitting?: number
}

export interface ServerParts {
  readonly catalog: Catalog
  /** Address of the other end, for bounds on hosts. */
  readonly hostOf: (connection: Connection) => string
  /** Called when a peer asks for summaries, as only brokers do. */
  readonly onBroker?: (connection: Connection) => void
  /** Keeps a stranger's connection from being ended for its age, until disposed. */
  readonly keep?: (connection: Connection) => Disposable
  readonly idleTimeoutMs?: number
}

export interface CatalogServer extends AsyncDisposable {
  /** Streams served now. */
  readonly streams: number
  /** Answers one stream until it ends; never rejects. */
  serve(stream: Stream, connection: Connection): Promise<void>
}

/** Who asks on one stream, and how often it did not wait when it was told to. */
interface Asking extends Asker {
  hasty: number
}

export function createCatalogServer(parts: ServerParts): CatalogServer {
  const { catalog, hostOf, idleTimeoutMs = CATALOG_IDLE_TIMEOUT_MS } = parts
  const closing = new AbortController()
  const askers = createAskers()
  const running = new Set<Promise<void>>()
  let watches = 0

  /** Serves as long as there is room: another stream of who has many is reset unread. */
  async function serve(stream: Stream, connection: Connection): Promise<void> {
    const asker: Asking = { peer: connection.remotePeer.toString(), host: hostOf(connection), hasty: 0 }
    using place = closing.signal.aborted ? undefined : askers.enter(asker)
    if (!place) {
      catalog.count('hasty')
      stream.abort(new FluidError('LIMIT_EXCEEDED', 'Too many streams'))
      return
    }
    using _kept = parts.keep?.(connection)
    const work = converse(stream, connection, asker).catch(() => {})
    running.add(work)
    await work
    running.delete(work)
  }

  async function converse(stream: Stream, connection: Connection, asker: Asking): Promise<void> {
    await using messages = openMessageStream(stream, {
      maxFrameBytes: MAX_CATALOG_FRAME_BYTES,
      maxUnreadBytes: MAX_CATALOG_FRAMES_UNREAD * MAX_CATALOG_FRAME_BYTES,
      timeoutMs: CATALOG_ANSWER_TIMEOUT_MS,
    })
    const { signal } = closing
    let said: Promise<Uint8Array | undefined> | undefined
    try {
      for (;;) {
        const body = await (said ?? messages.receive({ timeoutMs: idleTimeoutMs, signal }))
        said = undefined
        if (!body) return
        const request = decodeCatalog(body)
        if (request.kind === 'watch') said = (await watch(messages, request, asker)).next
        else await reply(messages, request, asker, connection)
        if (asker.hasty > MAX_HASTY_REQUESTS)
          throw new FluidError('LIMIT_EXCEEDED', 'The peer asks on and on without waiting')
      }
    } catch (error) {
      const { code, message } = asFluidError(error)
      if (code === 'PROTOCOL_VIOLATION') {
        catalog.count(TOO_LONG.test(message) ? 'oversized' : 'malformed')
        await send(messages, { kind: 'refused', code, message }).catch(() => {})
      } else if (code === 'LIMIT_EXCEEDED') catalog.count('hasty')
      messages.abort(error as Error)
    }
  }

  /** One request that is not a watch. What is wrong inside is nobody else's business. */
  async function reply(
    messages: MessageStream,
    request: CatalogMessage,
    asker: Asking,
    connection: Connection,
  ): Promise<void> {
    try {
      const answers =
        request.kind === 'publish'
          ? [await publish(request, asker)]
          : timed(asker, answersTo(request, asker, connection))
      for (const answer of answers) await send(messages, answer, asker)
    } catch (error) {
      if (!(error instanceof FluidError)) {
        await send(messages, { kind: 'refused', code: 'UNEXPECTED', message: 'The broker failed' })
        throw error
      }
      if (error.code !== 'LIMIT_EXCEEDED') throw error
      asker.hasty++
      await send(messages, { kind: 'refused', code: error.code, message: error.message })
    }
  }

  /** Costs what it takes: what is asked for may be cheap to ask and dear to find. */
  function* timed(asker: Asking, answers: Iterator<CatalogAnswer>): Generator<CatalogAnswer> {
    for (;;) {
      const begun = performance.now()
      const next = answers.next()
      askers.work.spend(asker, performance.now() - begun)
      if (next.done) return
      yield next.value
    }
  }

  function* answersTo(
    request: CatalogMessage,
    asker: Asking,
    connection: Connection,
  ): Generator<CatalogAnswer> {
    if (!askers.work.take(asker, 0) || !askers.requests.take(asker)) throw tooMany('requests')
    switch (request.kind) {
      case 'query':
        return yield* matching(request.request, request)
      case 'list':
        return yield* selected({ offers: page(request) })
      case 'resolve':
        return yield resolved(request)
      case 'summarise':
        parts.onBroker?.(connection)
        return yield* summaries(request.prefixes)
      case 'enumerate':
        return yield* entries(request.prefixes)
      case 'fetch':
        return yield* selected({ offers: request.positions.flatMap((at) => catalog.get(hex(at)) ?? []) })
      default:
        throw new FluidError('PROTOCOL_VIOLATION', `A broker is not asked with ${request.kind}`)
    }
  }

  async function publish(
    { offers: published }: CatalogMessageOf<'publish'>,
    asker: Asking,
  ): Promise<CatalogAnswer> {
    if (askers.offers.take(asker, published.length))
      return {
        kind: 'published',
        verdicts: await catalog.put(published, 'published', hostShare(asker.host)),
      }
    catalog.count('hasty', published.length)
    asker.hasty++
    const verdict = { outcome: 'hasty', message: 'Too many offers at once; try again in a minute' } as const
    return { kind: 'published', verdicts: published.map(() => verdict) }
  }

  /** Such as fit, best first, then such as fail. */
  function* matching(
    request: MatchRequest,
    options: { limit: number; failing: number },
  ): Generator<CatalogAnswer> {
    const offers = catalog.offers.map(({ offer }) => offer)
    const { candidates, considered, fitting } = match(offers, request, options)
    const chosen = candidates.flatMap(({ offer }) => catalog.get(hex(offerPosition(offer))) ?? [])
    yield* selected({ offers: chosen, considered, fitting })
  }

  /** The hosts of the shortest chain, or why there is none; the asker resolves over them again. */
  function resolved({ produces, accepts, preferred }: CatalogMessageOf<'resolve'>): CatalogAnswer {
    const held = catalog.offers
    const chain = resolveChain(
      produces,
      accepts,
      held.map(({ offer }) => offer),
      new Set(preferred),
    )
    if (!chain.steps) return { kind: 'chain', offers: [], gap: chain.gap, reason: chain.reason }
    const hosts = new Set(chain.steps.map(({ peer, offer: id }) => hex(offerPosition({ peer, id }))))
    const offers = [...hosts].flatMap((position) => catalog.get(position)?.signed ?? [])
    return { kind: 'chain', offers, reason: '' }
  }

  function page({ peer, after, limit }: CatalogMessageOf<'list'>): HeldOffer[] {
    const found: HeldOffer[] = []
    for (let last = after ? hex(after) : ''; found.length < limit;) {
      const positions = catalog.index.after(last, MAX_OFFERS_PER_ANSWER)
      for (const position of positions) {
        const held = catalog.get(position)
        if (held && !held.offer.withdrawn && (peer === '' || held.offer.peer === peer)) found.push(held)
        if (found.length === limit) return found
      }
      if (positions.length < MAX_OFFERS_PER_ANSWER) break
      last = positions.at(-1)!
    }
    return found
  }

  function* summaries(prefixes: readonly Uint8Array[]): Generator<CatalogAnswer> {
    for (const [at, prefix] of prefixes.entries()) {
      const nodes = catalog.index.children(hex(prefix)).map((node): SummaryNode => ({
        prefix: Buffer.from(node.prefix, 'hex'),
        entries: node.entries,
        digest: node.digest,
      }))
      yield { kind: 'summary', prefix, nodes, more: at < prefixes.length - 1 }
    }
  }

  function* entries(prefixes: readonly Uint8Array[]): Generator<CatalogAnswer> {
    // No prefix begins with another, so this is ascending.
    const positions = prefixes.map(hex).toSorted().flatMap(catalog.index.below)
    for (let at = 0; at === 0 || at < positions.length; at += MAX_ENTRIES_PER_FRAME) {
      const part = positions.slice(at, at + MAX_ENTRIES_PER_FRAME).map((position) => ({
        position: Buffer.from(position, 'hex'),
        sequence: catalog.index.sequenceOf(position)!,
      }))
      yield { kind: 'entries', entries: part, more: at + MAX_ENTRIES_PER_FRAME < positions.length }
    }
  }

  /**
   * What fits, then what changes, at most once in CATALOG_WATCH_INTERVAL_MS; until the asker says anything. That is
   * returned, to be answered next.
   */
  async function watch(
    messages: MessageStream,
    { request, limit }: CatalogMessageOf<'watch'>,
    asker: Asking,
  ): Promise<{ next?: Promise<Uint8Array | undefined> }> {
    if (!askers.work.take(asker, 0) || !askers.requests.take(asker) || watches >= MAX_CATALOG_WATCHES) {
      asker.hasty++
      await send(messages, { kind: 'refused', code: 'LIMIT_EXCEEDED', message: 'Too many watches' })
      return {}
    }
    watches++
    const changed = new Map<string, HeldOffer>()
    let [wake, isOver, toldAt] = [Promise.withResolvers<void>(), false, performance.now()]
    const checks = checksOf(request.need)
    const fits = ({ offer }: HeldOffer) => checks.every(({ met }) => met(offer, NO_FACTS))
    using _listening = catalog.onKept((kept) => {
      // One that is taken back may have fitted.
      for (const held of kept) if (held.offer.withdrawn || fits(held)) changed.set(held.position, held)
      // More than can be told at once: the oldest go, and are there for the next match.
      for (const position of changed.keys()) {
        if (changed.size <= MAX_OFFERS_PER_ANSWER) break
        changed.delete(position)
      }
      wake.resolve()
    })
    try {
      const first = timed(asker, matching(request, { limit, failing: 0 }))
      for (const answer of first) await send(messages, answer, asker)
      const next = messages.receive({ timeoutMs: MAX_TIMER_MS, signal: closing.signal })
      const end = (): void => {
        isOver = true
        wake.resolve()
      }
      next.then(end, end)
      for (;;) {
        if (isOver) return { next }
        const dueMs = toldAt + CATALOG_WATCH_INTERVAL_MS - performance.now()
        if (changed.size > 0 && dueMs <= 0) {
          const offers = [...changed.values()]
          changed.clear()
          const news = { offers, considered: catalog.offers.length, fitting: offers.length }
          for (const answer of selected(news)) await send(messages, answer, asker)
          toldAt = performance.now()
          continue
        }
        wake = Promise.withResolvers()
        const timer = changed.size > 0 ? setTimeout(wake.resolve, dueMs) : undefined
        await wake.promise
        clearTimeout(timer)
      }
    } finally {
      watches--
    }
  }

  async function send(messages: MessageStream, answer: CatalogAnswer, asker?: Asking): Promise<void> {
    const body = encodeCatalog(answer)
    if (asker && !askers.answers.take(asker, body.length)) throw tooMany('answers')
    await messages.send(body, { signal: closing.signal })
  }

  return {
    get streams() {
      return askers.streams
    },
    serve,
    [Symbol.asyncDispose]: async () => {
      closing.abort(new FluidError('INTERRUPTED', 'The broker is stopping'))
      await Promise.all(running)
    },
  }
}

/** An answer of offers, in as many frames as it takes. */
function* selected({ offers, considered = 0, fitting = 0 }: Selected): Generator<CatalogAnswer> {
  const frames = [...framesOf(offers.map(({ signed }) => signed))]
  for (const [at, part] of frames.entries())
    yield { kind: 'offers', offers: part, more: at < frames.length - 1, considered, fitting }
}

function tooMany(what: string): FluidError {
  return new FluidError('LIMIT_EXCEEDED', `Too many ${what} at once; try again in a minute`)
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
