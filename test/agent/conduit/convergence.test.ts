import test from 'ava'
import {
  amplification,
  convergence,
  predictDowntimeMs,
  roundRate,
} from '../../../agent/conduit/convergence.ts'
import type { RoundFacts } from '../../../agent/conduit/relocation-record.ts'

const MiB = 2 ** 20

function round(renewedMiB: number, seconds: number, dirtyMiB: number): RoundFacts {
  return {
    round: 1,
    renewedBytes: renewedMiB * MiB,
    sentBytes: 0,
    wireBytes: 0,
    seconds,
    dirtyBytes: dirtyMiB * MiB,
  }
}

test('roundRate() is that of the last round that is large enough', (t) => {
  t.is(roundRate([]), undefined)
  t.is(roundRate([round(1, 1, 0)]), undefined)
  t.is(roundRate([round(100, 1, 0), round(50, 1, 0), round(1, 1, 0)]), 50 * MiB)
})

test('predictDowntimeMs() adds what is left at the measured rate to what is fixed', (t) => {
  const fixed = predictDowntimeMs([], 0)
  t.is(predictDowntimeMs([round(100, 1, 0)], 200 * MiB), fixed + 2000)
  t.true(predictDowntimeMs([round(100, 1, 0), round(1, 0.1, 0)], 0) < fixed)
})

test('predictDowntimeMs() knows that scattered writes cost more than their bytes', (t) => {
  const rounds = [round(1000, 10, 10), round(100, 1, 10)]
  t.is(amplification(rounds), 10)
  t.is(predictDowntimeMs(rounds, 10 * MiB), predictDowntimeMs([], 0) + 1000)
})

test('convergence() cuts over as soon as the rest fits', (t) => {
  t.is(convergence([round(1000, 10, 100)], 10_000), 'fits')
  t.is(convergence([round(1000, 10, 2000)], 10_000), 'again')
})

test('convergence() gives up after three rounds that brought nothing', (t) => {
  const stuck = round(1000, 10, 2000)
  t.is(convergence([stuck, stuck, stuck], 10_000), 'again')
  t.is(convergence([stuck, stuck, stuck, stuck], 10_000), 'not-converging')
})

test('convergence() goes on while rounds bring something', (t) => {
  const rounds = [9000, 7000, 5000, 3000, 2000].map((dirty) => round(1000, 10, dirty))
  for (let n = 1; n <= rounds.length; n++) t.is(convergence(rounds.slice(0, n), 10_000), 'again')
})
