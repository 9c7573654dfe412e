/** When to stop the machines: pure, from what rounds took and what was written meanwhile. */
import type { RoundFacts } from './relocation-record.ts'

/** What a cut-over takes apart from its bytes, before any was measured: pausing, snapshots, messages, the receipt. */
const FIXED_MS = 700
/** Rounds smaller than this say more about their fixed cost than about the line. */
const MIN_RATED_BYTES = 4 * 2 ** 20
/** Rounds without a better prediction, after which it is not getting better. */
export const ROUNDS_WITHOUT_PROGRESS = 3
/** Better means by this share. */
const PROGRESS = 0.9

/** Bytes a second that rounds got through; undefined before one was large enough. */
export function roundRate(
  rounds: readonly Pick<RoundFacts, 'renewedBytes' | 'seconds'>[],
): number | undefined {
  const rated = rounds.filter(({ renewedBytes, seconds }) => renewedBytes >= MIN_RATED_BYTES && seconds > 0)
  // Late rounds carry what a last one will: scattered, small, little to find at the target.
  const last = rated.at(-1)
  return last && last.renewedBytes / last.seconds
}

/** Scattered writes cost whole cells: what a round had to look at, for each byte that was told before it. At least 1. */
export function amplification(rounds: readonly Pick<RoundFacts, 'renewedBytes' | 'dirtyBytes'>[]): number {
  const [before, last] = rounds.slice(-2)
  return last && before.dirtyBytes > 0 ? Math.max(1, last.renewedBytes / before.dirtyBytes) : 1
}

/** Milliseconds for which the machines would stand still, until all their data is there. */
export function predictDowntimeMs(
  rounds: readonly Pick<RoundFacts, 'renewedBytes' | 'seconds' | 'dirtyBytes'>[],
  dirtyBytes: number,
): number {
  const rate = roundRate(rounds)
  const small = rounds
    .filter(({ renewedBytes }) => renewedBytes < MIN_RATED_BYTES)
    .map(({ seconds }) => seconds * 1000)
  const fixedMs =
    small.length > 0 ? Math.max(FIXED_MS / 2, small.reduce((a, b) => a + b, 0) / small.length) : FIXED_MS
  return Math.round(fixedMs + (rate === undefined ? 0 : ((dirtyBytes * amplification(rounds)) / rate) * 1000))
}

export type Convergence = 'fits' | 'again' | 'not-converging'

/** What to do after the last of `rounds`, of which there is at least one. */
export function convergence(rounds: readonly RoundFacts[], maxDowntimeMs: number): Convergence {
  const predicted = rounds.map((round, i) => predictDowntimeMs(rounds.slice(0, i + 1), round.dirtyBytes))
  if (predicted.at(-1)! <= maxDowntimeMs) return 'fits'
  if (predicted.length <= ROUNDS_WITHOUT_PROGRESS) return 'again'
  const before = Math.min(...predicted.slice(0, -ROUNDS_WITHOUT_PROGRESS))
  const since = Math.min(...predicted.slice(-ROUNDS_WITHOUT_PROGRESS))
  return since <= before * PROGRESS ? 'again' : 'not-converging'
}
