/** How many lanes a job asks for. */
import { availableParallelism } from 'node:os'
import { MAX_LANES, NEAR_ROUND_TRIP_MS } from '../../protocol/limits.ts'

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

/** Up to how many more may be added, see lane-growth.ts: on far lines, unless the owner says how many there are. */
export function mostLanes(
  asked: number | undefined,
  line: { readonly roundTripMs: number; readonly most: number },
): number | undefined {
  const grows = asked === undefined && line.roundTripMs > NEAR_ROUND_TRIP_MS && line.most < MAX_LANES
  return grows ? MAX_LANES : undefined
}
