import test from 'ava'
import { Promptness, QUICK_CALLS, SLOW_MS } from '../../../transfer/backends/promptness.ts'

test('a disk is prompt until a call was slow, and again after many quick ones in a row', async (t) => {
  let now = 0
  const promptness = new Promptness(() => now)
  const here = (tookMs: number) => promptness.run(() => void (now += tookMs))
  const elsewhere = (tookMs: number) => promptness.watch(async () => void (now += tookMs))
  for (let i = 0; i < 2 * QUICK_CALLS; i++) here(SLOW_MS - 1)
  t.true(promptness.prompt)
  here(SLOW_MS)
  t.false(promptness.prompt)
  for (let i = 0; i < QUICK_CALLS - 1; i++) await elsewhere(SLOW_MS - 1)
  await elsewhere(SLOW_MS)
  for (let i = 0; i < QUICK_CALLS; i++) {
    t.false(promptness.prompt)
    await elsewhere(0)
  }
  t.true(promptness.prompt)
})

test('a call that fails is told to the caller', async (t) => {
  const promptness = new Promptness()
  const fail = () => {
    throw new Error('no such disk')
  }
  t.throws(() => promptness.run(fail), { message: 'no such disk' })
  await t.throwsAsync(
    promptness.watch(async () => fail()),
    { message: 'no such disk' },
  )
})
