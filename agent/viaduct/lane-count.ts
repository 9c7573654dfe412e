/** How many lanes a job asks for. */
import { availableParallelism } from 'node:os'
import { MAX_LANES, NEAR_LANES } from '../../protocol/limits.ts'
import { isFar } from './round-trip.ts'

/** The line to the peer, and the lanes that a job begins with by configuration, at `most`. */
export interface Line {
  readonly roundTripMs: number
  readonly most: number
}

/** Who shares this machine: the jobs that move at present. */
export interface Sharing {
  readonly jobs: number
  readonly cores?: number
}

/** What a job's first lanes are for. */
interface Work extends Sharing {
  /** A version is changed in place: the receiver's work is to read it again, and over before a lane that waits for idle cores. */
  readonly rereads?: boolean
}

/**
 * Far away, lanes make up for the window and the losses of each: `most`. Nearby, one lane a core is all that CPUs can
 * feed, those of all jobs together: more only push each other's data out of the caches (a quarter more CPU for four
 * lanes on two cores). The other end may well be on this machine, so a job begins with half of them.
 */
export function laneCount(asked: number | undefined, line: Line, work: Work): number {
  if (asked !== undefined) return asked
  if (isFar(line)) return line.most
  return nearLanes(line.most, work.rereads ? work : { ...work, cores: coresOf(work) / 2 })
}

/**
 * Up to how many there may be in all once lanes are added, see lane-growth.ts; undefined: as many as it begins with, as
 * always when the owner says how many. Nearby as many as there are cores for, once nobody else needs them.
 */
export function mostLanes(asked: number | undefined, line: Line, work: Work): number | undefined {
  if (asked !== undefined) return undefined
  const most = isFar(line) ? MAX_LANES : nearLanes(Math.max(line.most, NEAR_LANES), { ...work, jobs: 1 })
  return most > laneCount(asked, line, work) ? most : undefined
}

/** The lanes of one near job, at least one. */
export function nearLanes(most: number, sharing: Sharing): number {
  return Math.max(1, Math.min(most, Math.floor(coresOf(sharing) / Math.max(1, sharing.jobs))))
}

export function coresOf({ cores = availableParallelism() }: Sharing): number {
  return cores
}
