/** Tells where the processor time and the waits of a job went, on this side: with FLUIDCLOUD_PROFILE=1, into the log. */
import type { StageTimes } from '../../transfer/stage-clock.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'

/** One line of the log for the job, if stages were measured; seconds, all attempts together. */
export function reportStages({ log }: Pick<JobParts, 'log'>, { id, record }: Job): void {
  const { stages } = record.counters
  if (!stages) return
  log.info({ job: id, direction: record.direction, stages: inSeconds(stages) }, 'Where the time went')
}

function inSeconds(stages: StageTimes): Record<string, number> {
  const largestFirst = Object.entries(stages).toSorted(([, a], [, b]) => b - a)
  return Object.fromEntries(largestFirst.map(([stage, ms]) => [stage, Math.round(ms) / 1000]))
}
