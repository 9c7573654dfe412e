/** Waiting for jobs to change: for whoever follows them, and for whoever needs one to be over. */
import { PROGRESS_INTERVAL_MS } from '../../protocol/limits.ts'
import type { JobReport } from '../api.ts'
import type { Job } from './job.ts'

/** Reports on the jobs until each is over or rests with an error; `more` names those that count from then on. */
export async function* watchJobs(more: () => Iterable<Job>, signal: AbortSignal): AsyncGenerator<JobReport> {
  const followed = new Set<Job>()
  for (;;) {
    for (const job of more()) followed.add(job)
    for (const job of followed) {
      // What is over is reported once more, and then left.
      if (job.over || restsWithError(job)) followed.delete(job)
      yield job.report()
    }
    if (followed.size === 0 || signal.aborted) return
    await changed([...followed], signal)
  }
}

/** Resolves when the job is over, or after `ms`. */
export async function overWithin(job: Job, ms: number): Promise<void> {
  const deadline = AbortSignal.timeout(ms)
  while (!job.over && !deadline.aborted) await changed([job], deadline)
}

/** Resolves at the next change of one of the jobs, or after PROGRESS_INTERVAL_MS. */
export function changed(jobs: readonly Job[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const watches = jobs.map((job) => job.watch(() => done()))
    const done = () => {
      clearTimeout(timer)
      for (const watch of watches) watch[Symbol.dispose]()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, PROGRESS_INTERVAL_MS)
    signal.addEventListener('abort', done, { once: true })
  })
}

function restsWithError({ record }: Job): boolean {
  return record.state === 'paused' && record.error !== undefined
}
