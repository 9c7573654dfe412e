/**
 * Matching: which offers meet every need of a request, in which order, and why. Spec: catalog.md, Matching.
 *
 * Pure: the same offers, request and facts give the same answer, whoever computes it and in whatever order the offers
 * came. So an agent repeats what a broker says it found, over offers whose signatures it checked itself.
 */
import type { MatchRequest, Offer, Want } from '../protocol/catalog-message.ts'
import { firstOf } from './first-of.ts'
import {
  type GoalName,
  GOALS,
  type Measures,
  type Term,
  costsOf,
  currencyOf,
  lower,
  measure,
  moveSeconds,
  noBests,
  noteOf,
  valueOf,
} from './goals.ts'
import { type NeedCheck, type NeedName, type NeedResult, type NeedValue, checksOf } from './need.ts'
import { type Facts, NO_FACTS } from './peer-facts.ts'

/** One offer under a request, explained. */
export interface Candidate {
  readonly offer: Offer
  /** 1 is best; null: it fails a need. */
  readonly rank: number | null
  /** 0 to 1: the weighted mean of the terms. */
  readonly score: number
  /** One for each goal with a weight. */
  readonly terms: { readonly [G in GoalName]?: Term }
  /** In units of `currency`; null: cannot be said. */
  readonly cost: {
    readonly currency: string | null
    readonly moveOnce: number | null
    readonly perMonth: number | null
  }
  readonly etaSeconds: number
  /** Every constraint of the request, met or not. */
  readonly needs: readonly NeedResult[]
  /** Those that are not met. */
  readonly failed: readonly {
    readonly need: NeedName
    readonly wanted: NeedValue
    readonly offered: NeedValue
  }[]
}

export interface Matching {
  /** Offers that were looked at: all but those withdrawn. */
  readonly considered: number
  /** Of these, offers that meet every need, listed or not. */
  readonly fitting: number
  /** The one that prices were compared in; '' when no offer names a price. */
  readonly currency: string
  /** Those that fit, best first; then those that fail, fewest failed needs first. Ties: by offer id, then peer. */
  readonly candidates: readonly Candidate[]
}

export interface MatchOptions {
  readonly facts?: Facts
  /** Candidates that fit, and that fail, to list; all of them when absent. */
  readonly limit?: number
  readonly failing?: number
}

interface Weight {
  readonly goal: GoalName
  readonly weight: number
}

interface Scored {
  readonly offer: Offer
  readonly measures: Measures
  score: number
}

const SCORE_DIGITS = 1_000_000

/** Matches `offers`, of which each is of a provider and id of its own. Time: two passes, and a sort of what is listed. */
export function match(
  offers: Iterable<Offer>,
  request: MatchRequest,
  { facts, limit = Infinity, failing = Infinity }: MatchOptions = {},
): Matching {
  const checks = checksOf(request.need)
  const factsOf = (offer: Offer) => facts?.get(offer.peer) ?? NO_FACTS
  const fitting: Offer[] = []
  const unfit: { readonly offer: Offer; readonly misses: number }[] = []
  for (const offer of offers) {
    if (offer.withdrawn) continue
    const misses = countMisses(checks, offer, factsOf(offer), failing > 0)
    if (misses === 0) fitting.push(offer)
    else unfit.push({ offer, misses })
  }

  const currency =
    currencyOf(request, fitting) ||
    currencyOf(
      request,
      unfit.map(({ offer }) => offer),
    )
  const weights = weightsOf(request.want)
  const bests = noBests()
  const scored = fitting.map((offer): Scored => {
    const measures = measure(request, offer, factsOf(offer), currency)
    lower(bests, measures)
    return { offer, measures, score: 0 }
  })
  for (const each of scored) each.score = scoreOf(weights, (goal) => valueOf(goal, each.measures, bests))

  const explain = (offer: Offer, rank: number | null): Candidate => {
    const known = factsOf(offer)
    const measures = measure(request, offer, known, currency)
    const needs = checks.map(({ need, wanted, offered, met }) => ({
      need,
      wanted,
      offered: offered(offer, known),
      met: met(offer, known),
    }))
    const { perMonthMicros, moveOnceMicros } = costsOf(request, offer.price, currency)
    const terms = weights.map(({ goal, weight }) => {
      const note = noteOf(goal, offer, known, currency)
      return [goal, { value: rounded(valueOf(goal, measures, bests)), weight, ...(note && { note }) }]
    })
    return {
      offer,
      rank,
      score: scoreOf(weights, (goal) => valueOf(goal, measures, bests)),
      terms: Object.fromEntries(terms) as Candidate['terms'],
      cost: {
        currency: offer.price?.currency ?? null,
        moveOnce: units(moveOnceMicros),
        perMonth: units(perMonthMicros),
      },
      etaSeconds: Math.round(moveSeconds(request, known) * 1000) / 1000,
      needs,
      failed: needs.filter(({ met }) => !met).map(({ met: _, ...failed }) => failed),
    }
  }

  const best = firstOf(scored, limit, (a, b) => b.score - a.score || byIdentity(a.offer, b.offer))
  const nearest = firstOf(unfit, failing, (a, b) => a.misses - b.misses || byIdentity(a.offer, b.offer))
  return {
    considered: fitting.length + unfit.length,
    fitting: fitting.length,
    currency,
    candidates: [
      ...best.map(({ offer }, i) => explain(offer, i + 1)),
      ...nearest.map(({ offer }) => explain(offer, null)),
    ],
  }
}

/** How many needs the offer fails; 1 for any number of them when it is not to be listed. */
function countMisses(
  checks: readonly NeedCheck[],
  offer: Offer,
  facts: Parameters<NeedCheck['met']>[1],
  all: boolean,
): number {
  let misses = 0
  for (const { met } of checks) {
    if (met(offer, facts)) continue
    if (!all) return 1
    misses++
  }
  return misses
}

function weightsOf({ price, egress, moveTime, rtt, outcomes }: Want): Weight[] {
  const weights: Readonly<Record<GoalName, number>> = { price, egress, move_time: moveTime, rtt, outcomes }
  return GOALS.map((goal) => ({ goal, weight: weights[goal] })).filter(({ weight }) => weight > 0)
}

/** The weighted mean, always added in the same order; 1 when nothing is wanted, as nothing then speaks against it. */
function scoreOf(weights: readonly Weight[], value: (goal: GoalName) => number): number {
  if (weights.length === 0) return 1
  let sum = 0
  let total = 0
  for (const { goal, weight } of weights) {
    sum += weight * value(goal)
    total += weight
  }
  return rounded(sum / total)
}

/** To six digits, so that a difference means something. */
function rounded(value: number): number {
  return Math.round(value * SCORE_DIGITS) / SCORE_DIGITS
}

function units(micros: number | undefined): number | null {
  return micros === undefined ? null : micros / 1_000_000
}

function byIdentity(a: Offer, b: Offer): number {
  if (a.id !== b.id) return a.id < b.id ? -1 : 1
  return a.peer < b.peer ? -1 : a.peer > b.peer ? 1 : 0
}
