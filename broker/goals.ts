/**
 * The soft goals of a request: what each measures of an offer, and the term of 0 to 1 it becomes. Pure.
 *
 * Less is better of all that is measured, so a term compares with the best of those that fit:
 * (best + SOFTENING) / (own + SOFTENING). The best one has 1; one at twice its price about half.
 */
import type { MatchRequest, Offer, Price } from '../protocol/catalog-message.ts'
import type { PeerFacts } from './peer-facts.ts'

/** As request.toml names them. */
export const GOALS = ['price', 'egress', 'move_time', 'rtt', 'outcomes'] as const
export type GoalName = (typeof GOALS)[number]

/** Bandwidth where none was measured: 100 Mbit/s, a modest line between two sites. */
export const ASSUMED_BYTES_PER_SECOND = 12_500_000

/** Hours of a month: 365 days by 24 hours in twelve parts, as clouds bill it. */
const MONTH_HOURS = 730
const GIB = 2 ** 30
const MICROS = 1_000_000

/**
 * Differences that are nothing to the one who asks: one unit of money, a minute, ten milliseconds. They also keep
 * what is free from making all else worthless.
 */
const SOFTENING: Readonly<Record<Exclude<GoalName, 'outcomes'>, number>> = {
  price: MICROS,
  egress: MICROS,
  move_time: 60,
  rtt: 10,
}

/** What an offer costs, in millionths of its own currency; undefined: cannot be said. */
export interface Costs {
  readonly perMonthMicros?: number
  readonly moveOnceMicros?: number
}

/** What is measured of one offer for each goal; undefined: unknown, or not to be compared. */
export type Measures = { readonly [G in GoalName]: number | undefined }

/** The lowest of each measure among offers that fit. */
export type Bests = { [G in Exclude<GoalName, 'outcomes'>]: number }

export interface Term {
  /** 0 to 1, 1 is best. */
  readonly value: number
  readonly weight: number
  /** What an unknown or odd value is due to, for people. */
  readonly note?: string
}

/** The currency that prices are compared in: the source's, else the one most of `offers` name; '' when none does. */
export function currencyOf(request: MatchRequest, offers: readonly Offer[]): string {
  if (request.have.currency) return request.have.currency
  const counts = new Map<string, number>()
  for (const { price } of offers) if (price) counts.set(price.currency, (counts.get(price.currency) ?? 0) + 1)
  let best = ''
  for (const [name, count] of counts) {
    const most = counts.get(best) ?? 0
    if (count > most || (count === most && name < best)) best = name
  }
  return best
}

/** What the service would cost there, and moving it there; `currency` is the source's. */
export function costsOf({ need, have }: MatchRequest, price: Price | undefined, currency: string): Costs {
  if (!price) return {}
  const perHour = need.vcpus * price.vcpuHourMicros + (need.memoryBytes / GIB) * price.memoryGibHourMicros
  const perMonthMicros = Math.round(
    perHour * MONTH_HOURS + (need.storageBytes / GIB) * price.storageGibMonthMicros,
  )
  // What leaving costs is in the source's currency, and cannot be added to another.
  if (have.egressGibMicros > 0 && price.currency !== currency) return { perMonthMicros }
  const perGib = have.egressGibMicros + price.ingressGibMicros
  return { perMonthMicros, moveOnceMicros: Math.round((have.allocatedBytes / GIB) * perGib) }
}

/** Seconds to move what the source holds. */
export function moveSeconds({ have }: MatchRequest, { bytesPerSecond }: PeerFacts): number {
  return have.allocatedBytes / Math.max(1, bytesPerSecond ?? ASSUMED_BYTES_PER_SECOND)
}

/** What is measured of `offer` for each goal. */
export function measure(request: MatchRequest, offer: Offer, facts: PeerFacts, currency: string): Measures {
  const price = offer.price?.currency === currency ? offer.price : undefined
  return {
    price: price && costsOf(request, price, currency).perMonthMicros,
    egress: price && trafficMicros(request, price),
    move_time: moveSeconds(request, facts),
    rtt: facts.rttMs,
    outcomes: trust(facts),
  }
}

/** Bests of nothing yet. */
export function noBests(): Bests {
  return { price: Infinity, egress: Infinity, move_time: Infinity, rtt: Infinity }
}

/** Lowers `bests` to what `measures` has lower. */
export function lower(bests: Bests, { price, egress, move_time, rtt }: Measures): void {
  if (price !== undefined && price < bests.price) bests.price = price
  if (egress !== undefined && egress < bests.egress) bests.egress = egress
  if (move_time !== undefined && move_time < bests.move_time) bests.move_time = move_time
  if (rtt !== undefined && rtt < bests.rtt) bests.rtt = rtt
}

/** 0 to 1; 0 for what is unknown. An offer that does not fit may be better than all that do: it has 1 as well. */
export function valueOf(goal: GoalName, measures: Measures, bests: Bests): number {
  const own = measures[goal]
  if (own === undefined) return 0
  if (goal === 'outcomes') return own
  const soft = SOFTENING[goal]
  return Math.min(1, (Math.min(bests[goal], own) + soft) / (own + soft))
}

/** Why a value is what it is, where the number alone would mislead. */
export function noteOf(
  goal: GoalName,
  { price }: Offer,
  facts: PeerFacts,
  currency: string,
): string | undefined {
  switch (goal) {
    case 'price':
    case 'egress':
      if (!price) return 'the offer names no price'
      return price.currency === currency ? undefined : `${price.currency} is not compared with ${currency}`
    case 'move_time':
      return facts.bytesPerSecond === undefined ? 'bandwidth is assumed, not measured' : undefined
    case 'rtt':
      return facts.rttMs === undefined ? 'not measured' : undefined
    case 'outcomes':
      return facts.outcomes === undefined ? 'no move to it is known' : undefined
  }
}

/** Moving in once and out again later, of all there is to move, or of one GiB where that is not known. */
function trafficMicros({ have }: MatchRequest, price: Price): number {
  const perGib = have.egressGibMicros + price.ingressGibMicros + price.egressGibMicros
  return Math.round(((have.allocatedBytes || GIB) / GIB) * perGib)
}

/** Laplace's rule of succession: one success and one failure are supposed beforehand, so that no history is a half. */
function trust({ outcomes }: PeerFacts): number {
  const { complete, failed } = outcomes ?? { complete: 0, failed: 0 }
  return (complete + 1) / (complete + failed + 2)
}
