import test from 'ava'
import { setImmediate as turn } from 'node:timers/promises'
import type { JobReport } from '../../../agent/reports/job-reports.ts'
import { Job } from '../../../agent/jobs/job.ts'
import { freshRecord } from '../../../agent/jobs/job-record.ts'
import { watchJobs } from '../../../agent/jobs/job-watch.ts'
import { PROGRESS_INTERVAL_MS } from '../../../protocol/limits.ts'

function freshJob(name: string): Job {
  const record = freshRecord({
    job: name,
    direction: 'out',
    peer: 'peer',
    source: 'disk',
    destination: 'disk',
    options: { verifyDeep: false, replace: false, format: 'raw', compression: 'auto' },
  })
  return new Job(record, { put: async () => {} }, () => 'boreal')
}

/** What is told of the jobs while `act` runs, and until all of them are over. */
async function toldOf(jobs: readonly Job[], act: () => Promise<void>): Promise<JobReport[]> {
  const told: JobReport[] = []
  const acting = act()
  const more = () => jobs.filter((job) => !job.over)
  for await (const report of watchJobs(more, new AbortController().signal)) told.push(report)
  await acting
  return told
}

test('watchJobs() tells every state, at once, and the last of each job', async (t) => {
  const jobs = [freshJob('a'), freshJob('b')]
  const told = await toldOf(jobs, async () => {
    for (const state of ['running', 'verifying', 'complete'] as const) {
      for (const job of jobs) {
        await turn()
        await job.become(state)
        await turn()
      }
    }
  })
  for (const job of jobs) {
    const states = told.filter((report) => report.job === job.id).map(({ state }) => state)
    const each = states.filter((state, i) => state !== states[i - 1])
    t.deepEqual(each, ['connecting', 'running', 'verifying', 'complete'])
    t.is(states.filter((state) => state === 'complete').length, 1)
  }
})

test('watchJobs() tells of progress no more often than anybody reads it', async (t) => {
  const job = freshJob('a')
  const from = performance.now()
  const told = await toldOf([job], async () => {
    for (let i = 0; i < 500; i++) {
      await job.update({}, { durable: false })
      await turn()
    }
    await job.become('complete')
  })
  const intervals = (performance.now() - from) / PROGRESS_INTERVAL_MS
  t.true(told.length <= 2 + intervals, `${told.length} reports in ${intervals} intervals`)
})

test('watchJobs() ends with its signal', async (t) => {
  const stop = new AbortController()
  const job = freshJob('a')
  let reports = 0
  for await (const _ of watchJobs(() => [job], stop.signal)) if (++reports === 2) stop.abort()
  t.is(reports, 2)
})
