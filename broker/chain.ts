/**
 * Chains of Migrators: from what a source produces to what a target accepts, over the Migrators of all offers, when
 * the two do not fit directly. Pure. Spec: catalog.md, Chains.
 */
import type { Offer } from '../protocol/catalog-message.ts'

/** One Migrator at work: it makes `to` out of `from`. */
export interface ChainStep {
  readonly from: string
  readonly to: string
  /** Who hosts it. */
  readonly peer: string
  readonly offer: string
  readonly migrator: string
  readonly version: string
}

/** Why there is no chain: nothing takes what the source has, nothing makes what the target takes, or they never meet. */
export type ChainGap = 'source' | 'target' | 'between'

export type Chain =
  /** No steps: the source fits the target as it is. */
  | { readonly steps: readonly ChainStep[] }
  | {
      readonly steps?: undefined
      readonly gap: ChainGap
      /** For people. */
      readonly reason: string
      /** What can be made of what the source produces, itself included. */
      readonly reachable: readonly string[]
      /** Out of which what the target accepts can be made, itself included. */
      readonly wanted: readonly string[]
    }

interface Reached {
  /** Steps by hosts that are not preferred, so far. */
  readonly away: number
  readonly steps: readonly ChainStep[]
}

/**
 * The shortest chain. Of equally short ones, that with the fewest steps away from the `preferred` peers (the source and
 * the target: data need not pass through a third party), then the first by what it makes and by who hosts it.
 */
export function resolveChain(
  produces: readonly string[],
  accepts: readonly string[],
  offers: Iterable<Offer>,
  preferred: ReadonlySet<string> = new Set(),
): Chain {
  const fits = new Set(accepts)
  const edges = edgesOf(offers, preferred)
  let layer = new Map<string, Reached>(produces.map((kind) => [kind, { away: 0, steps: [] }]))
  const seen = new Set(produces)
  while (layer.size > 0) {
    const arrived = [...layer].filter(([kind]) => fits.has(kind)).map(([, reached]) => reached)
    if (arrived.length > 0) return { steps: arrived.toSorted(byPreference)[0].steps }
    layer = nextLayer(layer, edges, seen, preferred)
    for (const kind of layer.keys()) seen.add(kind)
  }
  return gapBetween(produces, accepts, edges, seen)
}

/** For each kind, what can be made of it in one step, and by whom best. */
type Edges = Map<string, Map<string, ChainStep>>

function edgesOf(offers: Iterable<Offer>, preferred: ReadonlySet<string>): Edges {
  const edges: Edges = new Map()
  for (const { peer, id, withdrawn, migrators } of offers) {
    if (withdrawn) continue
    for (const { name, version, accepts, produces } of migrators) {
      for (const from of accepts) {
        let outgoing = edges.get(from)
        if (!outgoing) edges.set(from, (outgoing = new Map()))
        for (const to of produces) {
          const step = { from, to, peer, offer: id, migrator: name, version }
          const known = outgoing.get(to)
          if (!known || compareSteps(step, known, preferred) < 0) outgoing.set(to, step)
        }
      }
    }
  }
  return edges
}

/** All that one more step reaches for the first time, each by the best way. */
function nextLayer(
  layer: ReadonlyMap<string, Reached>,
  edges: Edges,
  seen: ReadonlySet<string>,
  preferred: ReadonlySet<string>,
): Map<string, Reached> {
  const next = new Map<string, Reached>()
  for (const [kind, { away, steps }] of layer) {
    for (const [to, step] of edges.get(kind) ?? []) {
      if (seen.has(to)) continue
      const reached = { away: away + (preferred.has(step.peer) ? 0 : 1), steps: [...steps, step] }
      const known = next.get(to)
      if (!known || byPreference(reached, known) < 0) next.set(to, reached)
    }
  }
  return next
}

function gapBetween(
  produces: readonly string[],
  accepts: readonly string[],
  edges: Edges,
  seen: ReadonlySet<string>,
): Chain {
  const backwards = new Map<string, string[]>()
  for (const [from, outgoing] of edges) {
    for (const to of outgoing.keys()) backwards.set(to, [...(backwards.get(to) ?? []), from])
  }
  const wanted = new Set(accepts)
  for (const kind of wanted) for (const from of backwards.get(kind) ?? []) wanted.add(from)
  const reachable = [...seen].toSorted()
  const found = { reachable, wanted: [...wanted].toSorted() }
  if (!produces.some((kind) => edges.has(kind)))
    return { gap: 'source', reason: `No Migrator accepts ${words(produces)}`, ...found }
  if (!accepts.some((kind) => backwards.has(kind)))
    return { gap: 'target', reason: `No Migrator produces ${words(accepts)}`, ...found }
  const made = reachable.filter((kind) => !produces.includes(kind))
  const taken = found.wanted.filter((kind) => !accepts.includes(kind))
  const reason = `Out of ${words(produces)} only ${words(made)} can be made, and ${words(accepts)} only out of ${words(taken)}`
  return { gap: 'between', reason, ...found }
}

function byPreference(a: Reached, b: Reached): number {
  if (a.away !== b.away) return a.away - b.away
  for (const [i, step] of a.steps.entries()) {
    const order = compareTexts(textsOf(step), textsOf(b.steps[i]))
    if (order !== 0) return order
  }
  return 0
}

function compareSteps(a: ChainStep, b: ChainStep, preferred: ReadonlySet<string>): number {
  const nearer = Number(preferred.has(b.peer)) - Number(preferred.has(a.peer))
  return nearer || compareTexts(textsOf(a), textsOf(b))
}

function textsOf({ from, to, offer, peer, migrator, version }: ChainStep): string[] {
  return [from, to, offer, peer, migrator, version]
}

function compareTexts(a: readonly string[], b: readonly string[]): number {
  for (const [i, text] of a.entries()) if (text !== b[i]) return text < b[i] ? -1 : 1
  return 0
}

function words(kinds: readonly string[]): string {
  const sorted = [...new Set(kinds)].toSorted()
  return sorted.length < 2
    ? (sorted[0] ?? 'nothing')
    : `${sorted.slice(0, -1).join(', ')} or ${sorted.at(-1)}`
}
