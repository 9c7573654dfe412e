import test from 'ava'
import { createLaneGrowth, createLaneShare, growLanes, mostOf } from '../../../agent/viaduct/lane-growth.ts'
import { eventually } from '../../helpers/eventually.ts'

const MiB = 2 ** 20
const FAR = { near: () => false, sharing: () => ({ jobs: 1 }) }
const line = { lanes: 4, most: 48, roundTripMs: 40 }

/** Lets the growth see a line on which `lanes` lanes carry `rateOf(lanes, at)` bytes a second; lanes after each second. */
function run(
  growth: ReturnType<typeof createLaneGrowth>,
  seconds: number,
  rateOf: (lanes: number, atMs: number) => number,
  leftBytes = 1024 * 1024 * MiB,
  from = { at: 0, wireBytes: 0, lanes: line.lanes },
  lineFull: (atMs: number) => boolean = () => false,
) {
  let { at, wireBytes, lanes } = from
  const eachSecond: number[] = []
  for (const end = at + seconds * 1000; at < end;) {
    at += 100
    wireBytes += rateOf(lanes, at) / 10
    lanes = growth.observe({ at, wireBytes, leftBytes, lineFull: lineFull(at) })
    if (at % 1000 === 0) eachSecond.push(lanes)
  }
  return { at, wireBytes, lanes, eachSecond }
}

test('createLaneGrowth() doubles lanes up to the most while each brings its share', (t) => {
  const { eachSecond } = run(createLaneGrowth(line), 8, (lanes) => lanes * 2 * MiB)
  t.is(eachSecond.at(-1), 48)
  for (const [i, lanes] of eachSecond.entries()) t.true(lanes >= (eachSecond[i - 1] ?? 4) && lanes <= 48)
})

test('createLaneGrowth() tries once, and no more, on a line that is full', (t) => {
  t.is(run(createLaneGrowth(line), 600, () => 110 * MiB).lanes, 8)
})

test('createLaneGrowth() adds none while packets wait in a queue now and then, and some once they no longer do', (t) => {
  const growth = createLaneGrowth(line)
  const full = run(
    growth,
    60,
    () => 110 * MiB,
    undefined,
    undefined,
    (at) => at % 500 === 0,
  )
  t.is(full.lanes, 4)
  t.is(run(growth, 20, (lanes) => lanes * 2 * MiB, undefined, full).lanes, 48)
})

test('createLaneGrowth() waits while the rate climbs by itself', (t) => {
  const { eachSecond } = run(createLaneGrowth(line), 10, (lanes, at) =>
    lanes > 4 ? 80 * MiB : at * at * 100,
  )
  t.deepEqual(eachSecond, Array(10).fill(4))
})

test('createLaneGrowth() goes on where the first bytes came fast and the line lost its rate', (t) => {
  const rate = (lanes: number, at: number) => (at < 2000 ? 80 * MiB : lanes * 1.5 * MiB)
  t.is(run(createLaneGrowth(line), 30, rate).lanes, 48)
})

test('createLaneGrowth() tries again when the line gives less than half of what it gave', (t) => {
  const growth = createLaneGrowth(line)
  const sound = run(growth, 20, () => 110 * MiB)
  t.is(sound.lanes, 8)
  t.is(run(growth, 20, (lanes) => lanes * 2 * MiB, undefined, sound).lanes, 48)
})

test('createLaneGrowth() learns nothing from a time in which nothing moved', (t) => {
  const growth = createLaneGrowth(line)
  const idle = run(growth, 20, () => 0)
  t.is(idle.lanes, 4)
  t.is(run(growth, 20, (lanes) => lanes * 2 * MiB, undefined, idle).lanes, 48)
})

test('createLaneGrowth() adds nothing for what is over soon, or when there are as many as agreed', (t) => {
  t.is(run(createLaneGrowth(line), 20, (lanes) => lanes * MiB, 10 * MiB).lanes, 4)
  t.is(run(createLaneGrowth({ ...line, most: 4 }), 20, (lanes) => lanes * MiB).lanes, 4)
})

test('createLaneGrowth() waits longer on a longer line', (t) => {
  const rate = (lanes: number) => lanes * MiB
  const near = run(createLaneGrowth(line), 2, rate).lanes
  const far = run(createLaneGrowth({ ...line, roundTripMs: 400 }), 2, rate).lanes
  t.true(far < near)
})

test('createLaneGrowth() measures anew after an interruption', (t) => {
  const growth = createLaneGrowth(line)
  const leftBytes = 1024 * 1024 * MiB
  for (let at = 0; at < 10_000; at += 100) {
    t.is(growth.observe({ at, wireBytes: at * 1000, leftBytes, lineFull: false }), 4)
    if (at % 500 === 0) growth.interrupt()
  }
})

test('createLaneShare() takes what other jobs left, once they stay away', (t) => {
  const share = createLaneShare({ lanes: 1, most: 4 })
  const seen = [8, 8, 2, 8, 2, 2, 2, 2, 1, 1, 1, 8].map((jobs) => share(1024 * MiB, { jobs, cores: 8 }, 1))
  t.deepEqual(seen, [1, 1, 1, 1, 1, 1, 4, 4, 4, 4, 4, 4])
})

test('createLaneShare() adds nothing for what is over soon, nor beyond the most', (t) => {
  const alone = { jobs: 1, cores: 64 }
  const over = createLaneShare({ lanes: 1, most: 4 })
  const full = createLaneShare({ lanes: 4, most: 4 })
  for (let tick = 0; tick < 10; tick++) {
    t.is(over(MiB, alone, 1), 1)
    t.is(full(1024 * MiB, alone, 1), 4)
  }
})

test('createLaneShare() takes no core that somebody uses, whoever it is', (t) => {
  const two = { jobs: 1, cores: 2 }
  const busy = createLaneShare({ lanes: 1, most: 2 })
  t.deepEqual(
    [0.1, 0.5, 0.5, 0.1, 0.5, 0.5, 0.5, 0].map((idle) => busy(1024 * MiB, two, idle)),
    [1, 1, 1, 1, 1, 1, 2, 2],
  )
  // As many as were idle all the time, and then as many as are idle still.
  const sixteen = { jobs: 1, cores: 16 }
  const halfBusy = createLaneShare({ lanes: 1, most: 8 })
  t.deepEqual(
    [0.5, 0.25, 0.5, 0.125, 0.125, 0.125, 0.02, 0.02, 0.02].map((idle) =>
      halfBusy(1024 * MiB, sixteen, idle),
    ),
    [1, 1, 5, 5, 5, 7, 7, 7, 7],
  )
})

test('mostOf() is the lanes of an agreement that says no more', (t) => {
  t.is(mostOf({ lanes: 4 }), 4)
  t.is(mostOf({ lanes: 4, mostLanes: 48 }), 48)
})

test('growLanes() opens lanes numbered on from those there are, no more than agreed', async (t) => {
  const opened: [from: number, to: number][] = []
  let lanes = 4
  let wireBytes = 0
  let seenAt = performance.now()
  using _growing = growLanes({
    lanes,
    most: 11,
    roundTripMs: 0,
    wireBytes() {
      const at = performance.now()
      wireBytes += (at - seenAt) * lanes ** 2 * MiB
      seenAt = at
      return wireBytes
    },
    leftBytes: () => 2 ** 50,
    lineFull: () => false,
    ...FAR,
    paused: () => false,
    async open(from, to) {
      opened.push([from, to])
      lanes = to
      return to - from
    },
  })
  await eventually(() => lanes === 11 || undefined)
  t.deepEqual(opened, [
    [4, 8],
    [8, 11],
  ])
})

test('growLanes() does nothing when no lane opened, or no more are agreed on', (t) => {
  const never = () => t.fail()
  for (const [lanes, most] of [
    [0, 48],
    [4, 4],
  ]) {
    const growing = growLanes({
      lanes,
      most,
      roundTripMs: 0,
      wireBytes: () => 0,
      leftBytes: () => 0,
      lineFull: () => false,
      ...FAR,
      paused: () => false,
      open: async () => (never(), 0),
    })
    growing[Symbol.dispose]()
  }
  t.pass()
})

test('growLanes() gives a near job its share of the cores when others have ended, whatever the rate', async (t) => {
  const opened: [from: number, to: number][] = []
  let jobs = 8
  let looks = 0
  using _growing = growLanes({
    lanes: 1,
    most: 2,
    roundTripMs: 30,
    wireBytes: () => 0,
    leftBytes: () => 2 ** 40,
    lineFull: () => false,
    near: () => true,
    sharing() {
      if (++looks === 5) jobs = 1
      return { jobs, cores: 2 }
    },
    machineIdle: () => 1,
    paused: () => false,
    async open(from, to) {
      t.true(looks > 5)
      opened.push([from, to])
      return to - from
    },
  })
  await eventually(() => opened.length > 0 || undefined)
  t.deepEqual(opened, [[1, 2]])
})
