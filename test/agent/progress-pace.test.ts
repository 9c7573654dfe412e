import test from 'ava'
import { ProgressPace } from '../../agent/output/progress-pace.ts'
import type { JobState } from '../../agent/reports/job-reports.ts'
import { fakeJob } from '../helpers/fake-agent.ts'

/** Times of the lines that are told of a job whose states come at these times. */
function told(reports: readonly (readonly [at: number, state: JobState])[]): number[] {
  const pace = new ProgressPace()
  return reports.filter(([at, state]) => pace.admits({ ...fakeJob, state }, at)).map(([at]) => at)
}

function mostInASecond(times: readonly number[]): number {
  return Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 1000).length))
}

test('at most five lines are told in any second, however often the state changes', (t) => {
  const states = ['running', 'reconnecting', 'verifying'] as const
  for (const every of [1, 7, 90, 200, 333, 1000]) {
    for (const steady of [1, 2, 9, 1000]) {
      const reports = Array.from(
        { length: 3000 },
        (_, i) => [i * every, states[Math.floor(i / steady) % states.length]] as const,
      )
      const times = told([...reports, [3000 * every, 'complete']])
      t.true(mostInASecond(times) <= 5, `${mostInASecond(times)} lines`)
      t.is(times.at(-1), 3000 * every)
    }
  }
})

test('a job that goes on is told of three times a second, and a change at once', (t) => {
  const every50 = (verifyingAt: number) =>
    told(
      Array.from(
        { length: 25 },
        (_, i) => [i * 50, i * 50 === verifyingAt ? 'verifying' : 'running'] as const,
      ),
    )
  t.deepEqual(every50(-1), [0, 350, 700, 1050])
  t.deepEqual(every50(50), [0, 50, 100, 1000])
})

test('the end is told once', (t) => {
  t.deepEqual(
    told([
      [0, 'running'],
      [1, 'complete'],
      [2, 'complete'],
      [5000, 'complete'],
    ]),
    [0, 1],
  )
})
