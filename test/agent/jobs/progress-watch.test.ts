import test from 'ava'
import type { FluidError } from '../../../protocol/errors.ts'
import { watchProgress } from '../../../agent/jobs/progress-watch.ts'

/** A watch whose deadline is 20 ms, with what it sees in the test's hand. */
function watched({ owed = true, moving = false } = {}) {
  const seen = { moved: 0, owed, looks: 0 }
  const stalled = Promise.withResolvers<FluidError>()
  const looked = Promise.withResolvers<void>()
  const watch = watchProgress({
    moved: () => {
      // Far more looks than a deadline has.
      if (++seen.looks === 40) looked.resolve()
      return moving ? seen.looks : seen.moved
    },
    owed: () => seen.owed,
    onStall: stalled.resolve,
    timeoutMs: 20,
  })
  return { seen, watch, stalled: stalled.promise, looked: looked.promise }
}

test('watchProgress() tells once when something is owed and nothing moves', async (t) => {
  const { watch, stalled, seen } = watched()
  using _watch = watch
  const begun = performance.now()
  const { code, message } = await stalled
  t.is(code, 'TIMEOUT')
  t.regex(message, /^Nothing moved for \d+ s$/)
  t.true(performance.now() - begun >= 20)
  t.true(seen.looks > 1)
})

test('watchProgress() says nothing while something moves', async (t) => {
  const { watch, stalled, looked } = watched({ moving: true })
  using _watch = watch
  t.is(await Promise.race([stalled, looked]), undefined)
})

test('watchProgress() says nothing while nothing is owed, and takes its time from then on', async (t) => {
  const { watch, stalled, looked, seen } = watched({ owed: false })
  using _watch = watch
  t.is(await Promise.race([stalled, looked]), undefined)
  const owedSince = performance.now()
  seen.owed = true
  await stalled
  t.true(performance.now() - owedSince >= 15)
})
