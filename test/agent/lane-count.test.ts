import test from 'ava'
import { laneCount } from '../../agent/lane-count.ts'

const near = { roundTripMs: 0.2, most: 4 }
const far = { roundTripMs: 40, most: 4 }

test('laneCount() is what the owner says', (t) => {
  t.is(laneCount(7, near, 2), 7)
  t.is(laneCount(1, far, 2), 1)
})

test('laneCount() is the most far away, and follows the cores nearby', (t) => {
  t.is(laneCount(undefined, far, 2), 4)
  t.deepEqual(
    [1, 2, 4, 16].map((cores) => laneCount(undefined, near, cores)),
    [1, 2, 4, 4],
  )
})
