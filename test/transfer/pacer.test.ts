import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import fc from 'fast-check'
import { createPacer, openPacer } from '../../transfer/pacer.ts'

const MiB = 1024 * 1024
const BURST_MS = 50

/** A clock that moves when told to, in milliseconds. */
function virtualClock(): { now: () => bigint; advance: (ms: number) => void } {
  let ns = 1_000_000_000_000n
  return { now: () => ns, advance: (ms) => void (ns += BigInt(Math.round(ms * 1e6))) }
}

test('take() lets bytes through at the rate, after a burst of a twentieth of a second', (t) => {
  const clock = virtualClock()
  const pacer = openPacer(createPacer(1_000_000), clock)
  t.is(pacer.take(50_000), 0)
  t.is(pacer.take(100_000), 0)
  t.is(pacer.take(100_000), 100)
  t.is(pacer.take(1), 200)
  clock.advance(150)
  t.is(Math.round(pacer.take(0)), 50)
})

test('take() never lets more through than rate × time + burst + one frame', (t) => {
  const frames = fc.array(
    fc.record({ bytes: fc.integer({ min: 1, max: MiB }), idleMs: fc.nat(300), late: fc.nat(30) }),
    { maxLength: 60 },
  )
  fc.assert(
    fc.property(frames, fc.integer({ min: 1000, max: 1e9 }), (list, rate) => {
      const clock = virtualClock()
      const pacer = openPacer(createPacer(rate), clock)
      const start = clock.now()
      let sent = 0
      for (const { bytes, idleMs, late } of list) {
        clock.advance(idleMs)
        const waitMs = pacer.take(bytes)
        clock.advance(waitMs === 0 ? 0 : waitMs + late)
        const elapsedMs = Number(clock.now() - start) / 1e6
        t.true(sent <= (rate * (elapsedMs + BURST_MS)) / 1000 + list.length)
        sent += bytes
      }
    }),
  )
})

test('take() loses no time to timers that fire late', (t) => {
  const clock = virtualClock()
  const rate = 10 * MiB
  const pacer = openPacer(createPacer(rate), clock)
  const start = clock.now()
  let sent = 0
  for (let i = 0; i < 200; i++) {
    const waitMs = pacer.take(MiB / 4)
    if (waitMs > 0) clock.advance(waitMs + 7)
    sent += MiB / 4
  }
  const seconds = Number(clock.now() - start) / 1e9
  t.true(Math.abs(sent / seconds / rate - 1) < 0.03)
})

test('setRate() takes effect on what is owed', (t) => {
  const clock = virtualClock()
  const shared = createPacer(100_000)
  const pacer = openPacer(shared, clock)
  const other = openPacer(shared, clock)
  pacer.take(1_000_000)
  t.true(other.take(0) > 9000)
  other.setRate(1_000_000)
  t.is(pacer.rateBytesPerSecond, 1_000_000)
  const waitMs = pacer.take(0)
  t.true(waitMs > 900 && waitMs <= 1000)
  other.setRate(Infinity)
  t.is(pacer.take(10 * MiB), 0)
  t.is(pacer.rateBytesPerSecond, Infinity)
  other.setRate(1000)
  t.is(pacer.take(1), 0)
})

test('createPacer() refuses rates that are none', (t) => {
  for (const rate of [0, -1, NaN, 0.5]) t.throws(() => createPacer(rate), { instanceOf: RangeError })
})

test('take() of several threads adds up to one rate', async (t) => {
  // The clock stands still, so every reservation is visible in the last wait: none may be lost to a race.
  const shared = createPacer(1_000_000)
  const source = `
    import { workerData, parentPort } from 'node:worker_threads'
    import { openPacer } from ${JSON.stringify(new URL('../../transfer/pacer.ts', import.meta.url).href)}
    const pacer = openPacer(workerData, { now: () => 1_000_000_000_000n })
    for (let i = 0; i < 20_000; i++) pacer.take(100)
    parentPort.postMessage('done')`
  const workers = Array.from(
    { length: 3 },
    () => new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: shared }),
  )
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  await Promise.all(workers.map((worker) => worker.terminate()))
  const waitMs = openPacer(shared, { now: () => 1_000_000_000_000n }).take(0)
  t.is(Math.round(waitMs), (3 * 20_000 * 100) / 1000 - BURST_MS)
})
