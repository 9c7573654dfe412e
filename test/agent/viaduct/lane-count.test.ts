import test from 'ava'
import { MAX_LANES, NEAR_LANES } from '../../../protocol/limits.ts'
import { laneCount, mostLanes } from '../../../agent/viaduct/lane-count.ts'

const near = { roundTripMs: 0.2, most: 4 }
const far = { roundTripMs: 40, most: 4 }
const alone = { jobs: 1, cores: 2 }

test('laneCount() is what the owner says', (t) => {
  t.is(laneCount(7, near, alone), 7)
  t.is(laneCount(1, far, alone), 1)
})

test('laneCount() is the most far away, and nearby half of the cores, which the other end may share', (t) => {
  t.is(laneCount(undefined, far, { jobs: 8, cores: 2 }), 4)
  t.deepEqual(
    [1, 2, 3, 4, 6, 8, 16].map((cores) => laneCount(undefined, near, { jobs: 1, cores })),
    [1, 1, 1, 2, 3, 4, 4],
  )
})

test('laneCount() of near jobs is their part of the cores, and one at least', (t) => {
  t.deepEqual(
    [0, 1, 2, 3, 4, 8, 16, 64].map((jobs) => laneCount(undefined, near, { jobs, cores: 16 })),
    [4, 4, 4, 2, 2, 1, 1, 1],
  )
})

test('laneCount() of a near job that changes a version in place takes all cores at once', (t) => {
  t.is(laneCount(undefined, near, { ...alone, rereads: true }), 2)
  t.is(laneCount(undefined, far, { ...alone, rereads: true }), 4)
  t.is(mostLanes(undefined, near, { ...alone, rereads: true }), undefined)
})

test('mostLanes() lets lanes be added far away, unless the owner says how many there are', (t) => {
  t.is(mostLanes(undefined, far, alone), MAX_LANES)
  t.is(mostLanes(4, far, alone), undefined)
  t.is(mostLanes(undefined, { ...far, most: MAX_LANES }, alone), undefined)
})

test('mostLanes() lets a near job have more than it begins with, where there are cores for them', (t) => {
  t.is(mostLanes(undefined, near, { jobs: 1, cores: 1 }), undefined)
  t.is(mostLanes(undefined, near, alone), 2)
  t.is(mostLanes(undefined, near, { jobs: 8, cores: 2 }), 2)
  t.deepEqual(
    [4, 6, 16, 64].map((cores) => mostLanes(undefined, near, { jobs: 1, cores })),
    [4, 6, NEAR_LANES, NEAR_LANES],
  )
  t.is(mostLanes(undefined, near, { jobs: 8, cores: 64 }), NEAR_LANES)
  t.is(mostLanes(undefined, { ...near, most: 16 }, { jobs: 8, cores: 64 }), 16)
  t.is(mostLanes(1, near, { jobs: 8, cores: 2 }), undefined)
})
