/** Waiting for jobs to change: for whoever follows them, and for whoever needs one to be over. */
import { PROGRESS_INTERVAL_MS } from '../../protocol/limits.ts'
import type { JobReport, JobState } from '../reports/job-reports.ts'
import { changed } from '../changed.ts'
import type { Job } from './job.ts'

/**
 * Reports on the jobs until each is over or rests with an error; `more` names those that count from then on. A change of
 * state is told at once, all else every PROGRESS_INTERVAL_MS.
 */
export async function* watchJobs(more: () => Iterable<Job>, signal: AbortSignal): AsyncGenerator<JobReport> {
  const followed = new Set<Job>()
  for (;;) {
    for (const job of more()) followed.add(job)
    const told = new Map<Job, JobState>()
    for (const job of followed) {
      told.set(job, job.record.state)
      // What is over is reported once more, and then left.
      if (job.over || restsWithError(job)) followed.delete(job)
      yield job.report()
    }
    if (followed.size === 0 || signal.aborted) return
    await stateChanged(told, signal)
  }
}

/** Resolves when the state of one of the jobs is not the one that was told, or after PROGRESS_INTERVAL_MS. */
async function stateChanged(told: ReadonlyMap<Job, JobState>, signal: AbortSignal): Promise<void> {
  const until = performance.now() + PROGRESS_INTERVAL_MS
  const asTold = () => [...told].every(([job, state]) => job.record.state === state)
  for (;;) {
    const left = until - performance.now()
    if (left <= 0 || signal.aborted || !asTold()) return
    await changed([...told.keys()], signal, left)
  }
}

/** Resolves when the job is over, or in the state that is waited for, or after `ms`. */
export async function overWithin(job: Job, ms: number, state?: JobState): Promise<void> {
  const deadline = AbortSignal.timeout(ms)
  while (!job.over && job.record.state !== state && !deadline.aborted) await changed([job], deadline)
}

/** Resolves when the job has left this state, or after `ms`. */
export async function leftWithin(job: Job, ms: number, state: JobState): Promise<void> {
  const deadline = AbortSignal.timeout(ms)
  while (job.record.state === state && !deadline.aborted) await changed([job], deadline)
}

function restsWithError({ record }: Job): boolean {
  return record.state === 'paused' && record.error !== undefined
}
