/**
 * Finding a place for a service: brokers choose among what they hold, and this agent matches again over what proved
 * itself, with what it knows and measured. A standing request reports when a better offer appears; nothing is moved.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { match, type Candidate, type Matching } from '../../broker/match.ts'
import type { MatchRequest, Offer, SignedOffer } from '../../protocol/catalog-message.ts'
import { FluidError } from '../../protocol/errors.ts'
import {
  MAX_BROKERS_ASKED,
  MAX_OFFERS_PER_ANSWER,
  RENEWAL_RETRY_CAP_MS,
  RENEWAL_RETRY_MS,
} from '../../protocol/limits.ts'
import type { JobReport } from '../reports/job-reports.ts'
import type { CandidateReport, ChainReport, MatchReport } from '../reports/offer-reports.ts'
import { findChains } from './broker-chains.ts'
import type { BrokerClient, Findings, Waits } from './broker-client.ts'
import { factsOfJobs, measureRoundTrips } from './broker-facts.ts'

export interface MatcherParts {
  readonly client: BrokerClient
  readonly jobs: () => readonly JobReport[]
}

export interface Matcher {
  /** Throws USAGE when no broker is known, and the first broker's failure when none answered. */
  match(request: MatchRequest, options: MatchingOptions, waits?: Waits): Promise<MatchReport>
  /** What fits best now, then whatever is better, until aborted. Each report has one candidate, or none at first. */
  watch(request: MatchRequest, options: MatchingOptions, waits?: Waits): AsyncGenerator<MatchReport>
}

export interface MatchingOptions {
  readonly brokers: readonly string[]
}

/** News of several brokers that come together are looked at together. */
const GATHER_MS = 100
/** Offers that a standing request knows of: all that its brokers may answer at first. Of more, the worst are forgotten. */
const MAX_OFFERS_WATCHED = MAX_BROKERS_ASKED * 2 * MAX_OFFERS_PER_ANSWER

export function createMatcher({ client, jobs }: MatcherParts): Matcher {
  async function matched(request: MatchRequest, found: Findings, waits: Waits): Promise<Matching> {
    const offers = found.offers.map(({ offer }) => offer)
    const known = factsOfJobs(jobs())
    const first = match(offers, request, { facts: known })
    if (request.want.rtt === 0 || first.fitting === 0) return first
    const fitting = first.candidates.filter(({ rank }) => rank !== null).map(({ offer }) => offer)
    return match(offers, request, { facts: await measureRoundTrips(fitting, known, waits) })
  }

  async function query(request: MatchRequest, brokers: readonly string[], waits: Waits): Promise<Findings> {
    const most = { limit: MAX_OFFERS_PER_ANSWER, failing: MAX_OFFERS_PER_ANSWER }
    return client.merge(
      await client.askAll(brokers, (broker) => broker.query({ request, ...most }, waits), waits),
    )
  }

  async function* watch(
    request: MatchRequest,
    options: MatchingOptions,
    waits: Waits = {},
  ): AsyncGenerator<MatchReport> {
    const closing = new AbortController()
    const signal = waits.signal ? AbortSignal.any([waits.signal, closing.signal]) : closing.signal
    const brokers = await client.brokers(options.brokers, { signal })
    let found = await query(request, brokers, { signal })
    const news: { broker: string; offers: readonly SignedOffer[] }[] = []
    let wake = Promise.withResolvers<void>()
    let looked = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => {
      wake.resolve()
      looked.resolve()
    })

    /** Listens to one broker for as long as it takes, coming back when the line breaks. */
    async function listen(broker: string): Promise<void> {
      for (let retryMs = RENEWAL_RETRY_MS; ; retryMs = Math.min(2 * retryMs, RENEWAL_RETRY_CAP_MS)) {
        await client
          .askOne(
            broker,
            async (stream) => {
              for await (const { offers } of stream.watch(
                { request, limit: MAX_OFFERS_PER_ANSWER },
                { signal },
              )) {
                retryMs = RENEWAL_RETRY_MS
                news.push({ broker, offers })
                wake.resolve()
                // More is not read before; a broker that goes on is cut off, and asked anew.
                await looked.promise
              }
            },
            { signal },
          )
          .catch(() => {})
        await delay(retryMs, undefined, { signal, ref: false })
      }
    }

    for (const broker of brokers) void listen(broker).catch(() => {})
    try {
      let best = reportOf(await matched(request, found, { signal }), found)
      yield top(best)
      for (;;) {
        await wake.promise
        signal.throwIfAborted()
        await delay(GATHER_MS, undefined, { signal, ref: false })
        wake = Promise.withResolvers()
        found = await updated(found, news.splice(0))
        looked.resolve()
        looked = Promise.withResolvers()
        const matching = await matched(request, found, { signal })
        const now = reportOf(matching, found)
        found = bestOf(found, matching)
        if (isBetter(now, best)) yield { ...top(now), better: true }
        best = now
      }
    } finally {
      closing.abort(new FluidError('INTERRUPTED', 'Nobody watches any more'))
    }
  }

  /** What was found, and what is new of it; what was taken back goes. */
  async function updated(
    found: Findings,
    news: readonly { broker: string; offers: readonly SignedOffer[] }[],
  ): Promise<Findings> {
    const nowMs = Date.now()
    const latest = new Map(found.offers.map((each) => [keyOf(each.offer), each]))
    for (const { broker, offers } of news) {
      for (const offer of await client.examine(offers)) {
        const before = latest.get(keyOf(offer))
        if (before && before.offer.sequence >= offer.sequence) continue
        if (offer.withdrawn) latest.delete(keyOf(offer))
        else latest.set(keyOf(offer), { offer, broker })
      }
    }
    const running = [...latest.values()].filter(({ offer }) => offer.expiresAtMs > nowMs)
    return { ...found, offers: running, considered: Math.max(found.considered, running.length) }
  }

  return {
    match: async (request, options, waits = {}) => {
      const brokers = await client.brokers(options.brokers, waits)
      const found = await query(request, brokers, waits)
      const matching = await matched(request, found, waits)
      const chains = await findChains({ client, brokers }, request, matching.candidates, waits)
      return reportOf(matching, found, chains)
    },
    watch,
  }
}

/** No more than MAX_OFFERS_WATCHED of what was found. */
function bestOf(found: Findings, { candidates }: Matching): Findings {
  if (found.offers.length <= MAX_OFFERS_WATCHED) return found
  const best = new Set(candidates.slice(0, MAX_OFFERS_WATCHED).map(({ offer }) => offer))
  return { ...found, offers: found.offers.filter(({ offer }) => best.has(offer)) }
}

/** True when another offer than before is the best, and not only because that is gone. */
function isBetter(now: MatchReport, before: MatchReport): boolean {
  const [best] = now.candidates
  if (!best || best.rank === null) return false
  const [old] = before.candidates
  if (!old || old.rank === null) return true
  const same = now.candidates.find(({ offer, peer }) => offer === old.offer && peer === old.peer)
  if (same === best) return best.score > old.score
  // The best one is gone, or fails: who waits wants to know what is best now.
  return !same || same.rank === null || best.score > same.score
}

function top(report: MatchReport): MatchReport {
  return { ...report, candidates: report.candidates.filter(({ rank }) => rank === 1) }
}

function reportOf(
  matching: Matching,
  found: Findings,
  chains: ReadonlyMap<Candidate, ChainReport> = new Map(),
): MatchReport {
  const brokers = new Map(found.offers.map(({ offer, broker }) => [keyOf(offer), broker]))
  return {
    considered: Math.max(matching.considered, found.considered),
    fitting: matching.fitting,
    currency: matching.currency,
    brokers: found.brokers,
    failures: found.failures.map(({ broker, error: { code, message } }) => ({ broker, code, message })),
    candidates: matching.candidates.map((candidate) => ({
      ...candidateReport(candidate, brokers.get(keyOf(candidate.offer)) ?? ''),
      ...(chains.has(candidate) && { chain: chains.get(candidate) }),
    })),
  }
}

function candidateReport(candidate: Candidate, broker: string): CandidateReport {
  const { offer, rank, score, terms, cost, etaSeconds, needs, failed } = candidate
  const named = Object.entries(terms)
  const notes = named.flatMap(([goal, { note }]) => (note === undefined ? [] : [[goal, note] as const]))
  return {
    rank,
    peer: offer.peer,
    provider: offer.provider,
    offer: offer.id,
    score,
    terms: Object.fromEntries(named.map(([goal, { value }]) => [goal, value])),
    weights: Object.fromEntries(named.map(([goal, { weight }]) => [goal, weight])),
    ...(notes.length > 0 && { notes: Object.fromEntries(notes) }),
    cost,
    etaSeconds,
    failed,
    needs,
    place: offer.place,
    addresses: offer.addresses,
    expiresAt: new Date(offer.expiresAtMs).toISOString(),
    broker,
  }
}

function keyOf({ peer, id }: Offer): string {
  return `${peer} ${id}`
}
