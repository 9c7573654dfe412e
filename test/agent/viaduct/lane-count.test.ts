import test from 'ava'
import { MAX_LANES } from '../../../protocol/limits.ts'
import { laneCount, mostLanes } from '../../../agent/viaduct/lane-count.ts'

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

test('mostLanes() lets lanes be added far away, unless the owner says how many there are', (t) => {
  t.is(mostLanes(undefined, far), MAX_LANES)
  t.is(mostLanes(undefined, near), undefined)
  t.is(mostLanes(4, far), undefined)
  t.is(mostLanes(undefined, { ...far, most: MAX_LANES }), undefined)
})
