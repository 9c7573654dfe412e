/** How many lanes a job asks for when its owner does not say. */
import { availableParallelism } from 'node:os'
import { NEAR_ROUND_TRIP_MS } from '../protocol/limits.ts'

/**
 * Far away, lanes make up for the window and the losses of each: `most`. Nearby, one lane a core is all that CPUs can
 * feed, and more only push each other's data out of the caches (a quarter more CPU for four lanes on two cores).
 */
export function laneCount(
  asked: number | undefined,
  line: { readonly roundTripMs: number; readonly most: number },
  cores = availableParallelism(),
): number {
  if (asked !== undefined) return asked
  return line.roundTripMs > NEAR_ROUND_TRIP_MS ? line.most : Math.min(line.most, cores)
}
