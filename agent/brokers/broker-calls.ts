/** What the command line may ask about offers and matches: the calls of api.ts, put together from their parts. */
import type { AgentApi } from '../api.ts'
import type { JobReport } from '../reports/job-reports.ts'
import type { CandidateReport, MatchReport, OfferPage } from '../reports/offer-reports.ts'
import type { BrokerClient, FoundOffer } from './broker-client.ts'
import { createMatcher } from './broker-matching.ts'
import { type OfferPublisher, reportOf } from './broker-offers.ts'
import { parseRequestFile } from './request-file.ts'

export type BrokerCalls = Pick<
  AgentApi,
  'offersPublish' | 'offersWithdraw' | 'offersList' | 'offersOwn' | 'match' | 'matchWatch'
>

/** Items of one line of the control socket: at their longest they fit. */
const OFFERS_PER_PAGE = 256
const CANDIDATES_PER_PART = 64

export function createBrokerCalls(parts: {
  readonly peerId: string
  readonly client: BrokerClient
  readonly publisher: OfferPublisher
  readonly jobs: () => readonly JobReport[]
}): BrokerCalls {
  const { peerId, client, publisher, jobs } = parts
  const matcher = createMatcher({ client, jobs })

  async function* offersList(
    { brokers }: { brokers: readonly string[] },
    call = {},
  ): AsyncGenerator<OfferPage> {
    const found = await client.list(await client.brokers(brokers, call), {}, call)
    const failures = found.failures.map(({ broker, error: { code, message } }) => ({ broker, code, message }))
    const offers = found.offers.map((each) => offerReport(each, peerId)).toSorted(byProvider)
    for (const page of partsOf(offers, OFFERS_PER_PAGE))
      yield { offers: page, brokers: found.brokers, failures }
  }

  async function* match(
    { text, brokers }: { text: string; brokers: readonly string[] },
    call = {},
  ): AsyncGenerator<MatchReport> {
    const report = await matcher.match(parseRequestFile(text), { brokers }, call)
    for (const candidates of partsOf<CandidateReport>(report.candidates, CANDIDATES_PER_PART))
      yield { ...report, candidates }
  }

  return {
    offersPublish: (options, { signal } = {}) => publisher.publish({ ...options, signal }),
    offersWithdraw: (options, { signal } = {}) => publisher.withdraw({ ...options, signal }),
    offersList,
    offersOwn: async () => publisher.own().map((offer) => reportOf(offer)),
    match,
    matchWatch: ({ text, brokers }, call = {}) => matcher.watch(parseRequestFile(text), { brokers }, call),
  }
}

function offerReport({ offer, broker }: FoundOffer, self: string) {
  return {
    offer: offer.id,
    peer: offer.peer,
    provider: offer.provider,
    expiresAt: new Date(offer.expiresAtMs).toISOString(),
    broker,
    region: offer.place.region,
    jurisdiction: offer.place.jurisdiction,
    cloud: offer.cloud.kind,
    own: offer.peer === self,
  }
}

function byProvider(a: { provider: string; offer: string }, b: { provider: string; offer: string }): number {
  if (a.provider !== b.provider) return a.provider < b.provider ? -1 : 1
  return a.offer < b.offer ? -1 : 1
}

/** At least one part, which may be empty. */
function* partsOf<T>(items: readonly T[], most: number): Generator<readonly T[]> {
  for (let at = 0; at === 0 || at < items.length; at += most) yield items.slice(at, at + most)
}
