/**
 * Chains of Migrators: from what a source produces to what a target accepts, over the Migrators of all offers, when
 * the two do not fit directly. Pure. Spec: catalog.md, Chains.
 */
import type { ChainGap, MigratorSpec, Offer } from '../protocol/catalog-message.ts'
import { MAX_CHAIN_STEPS } from '../protocol/limits.ts'

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

export type Chain =
  /** No steps: the source fits the target as it is. */
  | { readonly steps: readonly ChainStep[] }
  | {
      readonly steps?: undefined
      readonly gap: ChainGap
      /** For people. */
      readonly reason: string
    }

/** A Migrator, and the offer it stands in. */
interface Host {
  readonly offer: Offer
  readonly migrator: MigratorSpec
}

/** The best way to one kind: the step that makes it, after those before. */
interface Reached {
  /** Steps by hosts that are not preferred, so far. */
  readonly away: number
  readonly before?: Reached
  readonly step?: ChainStep
}

/** Kinds of data that a reason lists. */
const MAX_WORDS = 8

/**
 * The shortest chain, of MAX_CHAIN_STEPS at most. Of equally short ones, that with the fewest steps away from the
 * `preferred` peers (the source and the target: data need not pass through a third party), then the first by what it
 * makes and by who hosts it. Each Migrator is looked at once, so that no offer costs more than its length.
 */
export function resolveChain(
  produces: readonly string[],
  accepts: readonly string[],
  offers: Iterable<Offer>,
  preferred: ReadonlySet<string> = new Set(),
): Chain {
  const hosts = hostsOf(offers)
  const takers = groupBy(hosts, ({ migrator }) => migrator.accepts)
  const seen = new Set(produces)
  const used = new Set<Host>()
  let layer = new Map<string, Reached>(produces.map((kind) => [kind, { away: 0 }]))
  for (let steps = 0; layer.size > 0 && steps <= MAX_CHAIN_STEPS; steps++) {
    const arrived = accepts.flatMap((kind) => layer.get(kind) ?? [])
    if (arrived.length > 0) return { steps: stepsTo(arrived.toSorted(compareReached)[0]) }
    layer = nextLayer(layer, { takers, seen, used, preferred })
    for (const kind of layer.keys()) seen.add(kind)
  }
  return gapBetween({ produces, accepts }, hosts, seen)
}

function hostsOf(offers: Iterable<Offer>): Host[] {
  const hosts: Host[] = []
  for (const offer of offers)
    if (!offer.withdrawn) for (const migrator of offer.migrators) hosts.push({ offer, migrator })
  return hosts
}

function groupBy(hosts: readonly Host[], kindsOf: (host: Host) => readonly string[]): Map<string, Host[]> {
  const groups = new Map<string, Host[]>()
  for (const host of hosts) {
    for (const kind of kindsOf(host)) {
      const group = groups.get(kind)
      if (group) group.push(host)
      else groups.set(kind, [host])
    }
  }
  return groups
}

/** All that one more step reaches for the first time, each by the best way. */
function nextLayer(
  layer: ReadonlyMap<string, Reached>,
  world: {
    readonly takers: ReadonlyMap<string, readonly Host[]>
    readonly seen: ReadonlySet<string>
    readonly used: Set<Host>
    readonly preferred: ReadonlySet<string>
  },
): Map<string, Reached> {
  const { takers, seen, used, preferred } = world
  const entrances = new Map<Host, [kind: string, reached: Reached]>()
  for (const [kind, reached] of layer) {
    for (const host of takers.get(kind) ?? []) {
      if (used.has(host)) continue
      const known = entrances.get(host)
      const order = known ? compareReached(reached, known[1]) || compareTexts(kind, known[0]) : -1
      if (order < 0) entrances.set(host, [kind, reached])
    }
  }
  const next = new Map<string, Reached>()
  for (const [host, [from, before]] of entrances) {
    used.add(host)
    const { peer, id: offer } = host.offer
    const { name: migrator, version, produces } = host.migrator
    const away = before.away + (preferred.has(peer) ? 0 : 1)
    for (const to of produces) {
      if (seen.has(to)) continue
      const reached = { away, before, step: { from, to, peer, offer, migrator, version } }
      const known = next.get(to)
      if (!known || compareReached(reached, known) < 0) next.set(to, reached)
    }
  }
  return next
}

function stepsTo(reached: Reached): ChainStep[] {
  const steps: ChainStep[] = []
  for (let at: Reached | undefined = reached; at?.step; at = at.before) steps.unshift(at.step)
  return steps
}

/** Ways of the same length: by steps away from the preferred, then step by step. */
function compareReached(a: Reached, b: Reached): number {
  return a.away - b.away || comparePaths(a, b)
}

function comparePaths(a: Reached, b: Reached): number {
  if (a === b || !a.step || !b.step) return 0
  return comparePaths(a.before!, b.before!) || compareSteps(a.step, b.step)
}

function compareSteps(a: ChainStep, b: ChainStep): number {
  return (
    compareTexts(a.from, b.from) ||
    compareTexts(a.to, b.to) ||
    compareTexts(a.offer, b.offer) ||
    compareTexts(a.peer, b.peer) ||
    compareTexts(a.migrator, b.migrator) ||
    compareTexts(a.version, b.version)
  )
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** What is missing: `seen` is all that can be made in MAX_CHAIN_STEPS. */
function gapBetween(
  { produces, accepts }: { readonly produces: readonly string[]; readonly accepts: readonly string[] },
  hosts: readonly Host[],
  seen: ReadonlySet<string>,
): Chain {
  const makers = groupBy(hosts, ({ migrator }) => migrator.produces)
  const wanted = new Set(accepts)
  const asked = new Set<Host>()
  for (const kind of wanted) {
    for (const host of makers.get(kind) ?? []) {
      if (asked.has(host)) continue
      asked.add(host)
      for (const from of host.migrator.accepts) wanted.add(from)
    }
  }
  const [source, target] = [words(produces), words(accepts)]
  if (!hosts.some(({ migrator }) => migrator.accepts.some((kind) => produces.includes(kind))))
    return { gap: 'source', reason: `No Migrator accepts ${source}` }
  if (!accepts.some((kind) => makers.has(kind)))
    return { gap: 'target', reason: `No Migrator produces ${target}` }
  const reason = [...seen].some((kind) => wanted.has(kind))
    ? `No chain of at most ${MAX_CHAIN_STEPS} Migrators leads from ${source} to ${target}`
    : `Out of ${source} only ${words([...seen], produces)} can be made, and ${target} only out of ${words([...wanted], accepts)}`
  return { gap: 'between', reason }
}

/** A list for people of `kinds`, without those named before. */
function words(kinds: readonly string[], named: readonly string[] = []): string {
  const sorted = [...new Set(kinds)].filter((kind) => !named.includes(kind)).toSorted()
  if (sorted.length > MAX_WORDS)
    return `${sorted.slice(0, MAX_WORDS).join(', ')} or ${sorted.length - MAX_WORDS} others`
  return sorted.length < 2
    ? (sorted[0] ?? 'nothing')
    : `${sorted.slice(0, -1).join(', ')} or ${sorted.at(-1)}`
}
