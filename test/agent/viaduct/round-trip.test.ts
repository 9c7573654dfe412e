import test from 'ava'
import { nearness, type LineMeter } from '../../../agent/viaduct/round-trip.ts'

/** A meter that knows `shortestMs`, and `laterMs` once its pings are over. */
function meter(shortestMs: number, laterMs = shortestMs) {
  const over = Promise.withResolvers<void>()
  const found = {
    shortestMs,
    settled: over.promise,
    note: () => {},
    settle() {
      found.shortestMs = laterMs
      over.resolve()
    },
  }
  return found satisfies Partial<LineMeter>
}

const never = new Promise<void>(() => {})

test('nearness() does not wait where the answer is plain', async (t) => {
  for (const shortestMs of [0.2, 8, 40, Infinity]) {
    const plain: Parameters<typeof nearness>[0] = {
      shortestMs,
      get settled(): Promise<void> {
        throw new Error('Nobody waits for pings')
      },
    }
    t.is(await nearness(plain), shortestMs)
  }
})

test('nearness() gives the pings of a peer that was slow to answer their time', async (t) => {
  const slow = meter(20, 0.3)
  const found = nearness(slow)
  slow.settle()
  t.is(await found, 0.3)
})

test('nearness() waits no longer than a little', async (t) => {
  t.is(await nearness({ ...meter(20), settled: never }), 20)
})
