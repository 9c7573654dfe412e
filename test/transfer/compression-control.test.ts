import test from 'ava'
import { createCompressionControl } from '../../transfer/compression-control.ts'
import type {
  CompressionControl,
  CompressionMode,
  FrameObservation,
} from '../../transfer/compression-control.ts'
import { LEVELS } from '../../transfer/compression-level.ts'

const MiB = 1024 * 1024
const FRAME_BYTES = MiB
const SECONDS_PER_GIB = 1 / 1024
/** Measured on our machines: seconds of CPU for each GiB. */
const RAW_PATH = 1.5 * SECONDS_PER_GIB
const COMPRESS = 3 * SECONDS_PER_GIB
const DECOMPRESS = 1.2 * SECONDS_PER_GIB
/** What sockets hold on either side of the line. */
const BUFFER_BYTES = 4 * MiB
/** What zstd's higher levels leave of what the first one does. */
const LEFT_AT: Readonly<Record<number, number>> = { 1: 1, 3: 0.93, 6: 0.88 }
const costAt = (level: number) => LEVELS.find((at) => at.level === level)!.cost

/** Round trips to a receiver in another country, and to one in the same room. */
const FAR_MS = 40
const NEAR_MS = 1

const MBIT = 1e6 / 8
const GBIT = 1e9 / 8

interface Line {
  readonly bytesPerSecond: number
  readonly mode: CompressionMode
  /** What is left of a compressed frame. */
  readonly ratio?: number
  /** Relative spread of the sender's costs. */
  readonly jitter?: number
  /** Seconds of the receiver's CPU for a raw frame. */
  readonly receive?: number
  /** Share of frames the probe lets through. */
  readonly compressible?: number
  /** Of the sender, in one thread. */
  readonly lanes?: number
  readonly roundTripMs?: number
}

interface Outcome {
  readonly seconds: number
  readonly compressedFrames: number
  /** MiB sent when the share first fell to 3 % or less. */
  readonly fellAfterMiB: number
  readonly share: number
  readonly wireBytes: number
  /** Of the first lane, at the end. */
  readonly level: number
  /** Times at which a lane changed its own. */
  readonly levelChanges: number
}

/** Bytes that are in a buffer until a moment. */
interface Held {
  readonly bytes: number
  readonly until: number
}

/** The first moment from `time` on at which `bytes` fit beside what is held. */
function timeOfRoom(held: readonly Held[], bytes: number, time: number): number {
  const there = held.filter((item) => item.until > time)
  let used = there.reduce((sum, item) => sum + item.bytes, 0)
  let room = time
  for (const item of there) {
    if (used + bytes <= BUFFER_BYTES) break
    room = item.until
    used -= item.bytes
  }
  return room
}

/** Lanes in virtual time: the sender's thread, a socket buffer each, the line, the receiver's buffers, its thread. */
function simulate(line: Line, totalMiB = 1024): Outcome {
  const { bytesPerSecond, mode, ratio = 0.5, jitter = 0, receive = RAW_PATH, compressible = 1 } = line
  const { roundTripMs = FAR_MS } = line
  const lanes = Array.from({ length: line.lanes ?? 1 }, () => ({
    control: createCompressionControl({ mode, near: roundTripMs === NEAR_MS }),
    /** When the lane has its last frame written, and the thread may make its next. */
    freeAt: 0,
    sending: [] as Held[],
    receiving: [] as Held[],
    report: { since: 0, waited: 0, idle: 1 },
    seen: { at: 0, idle: 0 },
    /** Time in which the line has bytes of it, until a moment that may be to come. */
    busy: { total: 0, until: 0, asked: 0 },
    level: 1,
    last: undefined as { compressMs: number; encodedBytes: number; doneAt: number } | undefined,
  }))
  let seed = 1
  const spread = () => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff
    return 1 + jitter * (seed / 0x7fffffff - 0.5)
  }
  let threadFree = 0
  let idle = 0
  let lineFree = 0
  let receiverFree = 0
  let compressedFrames = 0
  let wireBytes = 0
  let fellAfterMiB = Infinity
  let levelChanges = 0

  for (let i = 0; i < totalMiB; i++) {
    const lane = lanes.reduce((first, other) => (other.freeAt < first.freeAt ? other : first))
    const { control, report, seen, last } = lane
    const start = Math.max(threadFree, lane.freeAt)
    idle += start - threadFree
    const busy = lane.busy.total - Math.max(0, lane.busy.until - start)
    if (last) {
      control.observe({
        compressMs: last.compressMs,
        rawBytes: FRAME_BYTES,
        encodedBytes: last.encodedBytes,
        waitedForLineMs: Math.max(0, lane.freeAt - last.doneAt) * 1000,
        lineBusyMs() {
          const since = lane.busy.asked
          lane.busy.asked = busy
          return (busy - since) * 1000
        },
        idleMs: (idle - seen.idle) * 1000,
        elapsedMs: (start - seen.at) * 1000,
        receiverIdle: report.idle,
        machineIdle: 1,
        roundTripMs,
      })
      if (control.share <= 0.03) fellAfterMiB = Math.min(fellAfterMiB, i)
    }
    lane.seen = { at: start, idle }

    const compressed = control.shouldCompress() && i % 10 < compressible * 10
    const { level } = control
    if (level !== lane.level) levelChanges++
    lane.level = level
    const compressSeconds = compressed ? COMPRESS * costAt(level) * spread() : 0
    const done = start + RAW_PATH * spread() + compressSeconds
    threadFree = done
    const bytes = compressed ? Math.round(FRAME_BYTES * ratio * LEFT_AT[level]) : FRAME_BYTES
    compressedFrames += compressed ? 1 : 0
    wireBytes += bytes

    const accepted = timeOfRoom(lane.sending, bytes, done)
    const sent = timeOfRoom(lane.receiving, bytes, Math.max(accepted, lineFree)) + bytes / bytesPerSecond
    lineFree = sent
    lane.busy.total += sent - Math.min(sent, Math.max(done, lane.busy.until))
    lane.busy.until = sent
    lane.sending = [...lane.sending.filter((item) => item.until > accepted), { bytes, until: sent }]

    report.waited += Math.max(0, sent - receiverFree)
    receiverFree = Math.max(sent, receiverFree) + receive + (compressed ? DECOMPRESS : 0)
    lane.receiving = [
      ...lane.receiving.filter((item) => item.until > accepted),
      { bytes, until: receiverFree },
    ]
    const period = receiverFree - report.since
    if (period > 0.1)
      lane.report = { since: receiverFree, waited: 0, idle: Math.min(1, report.waited / period) }
    lane.last = { compressMs: compressSeconds * 1000, encodedBytes: bytes, doneAt: done }
    lane.freeAt = accepted
  }
  const { share, level } = lanes[0].control
  return { seconds: receiverFree, compressedFrames, fellAfterMiB, share, wireBytes, level, levelChanges }
}

/** One that compressing halved, to a far receiver; nobody waits for anything. */
const COMPRESSED: FrameObservation = {
  compressMs: 3,
  rawBytes: MiB,
  encodedBytes: MiB / 2,
  waitedForLineMs: 0,
  lineBusyMs: () => Infinity,
  idleMs: 0,
  elapsedMs: 5,
  receiverIdle: 1,
  machineIdle: 1,
  roundTripMs: FAR_MS,
}

/** Has the control decide about a frame, and observe it with what else is `seen`. */
function pass(control: CompressionControl, seen: Partial<FrameObservation>): void {
  const made = control.shouldCompress() ? {} : { compressMs: 0, encodedBytes: MiB }
  control.observe({ ...COMPRESSED, ...made, ...seen })
}

const lines: readonly [string, number][] = [
  ['100 Mb/s', 100 * MBIT],
  ['500 Mb/s', 500 * MBIT],
  ['1 Gb/s', GBIT],
  ['2.5 Gb/s', 2.5 * GBIT],
  ['5 Gb/s', 5 * GBIT],
  ['10 Gb/s', 10 * GBIT],
  ['20 Gb/s', 20 * GBIT],
]
const shapes = [1, 4].flatMap((lanes) =>
  [0, 0.6].flatMap((jitter) => [NEAR_MS, FAR_MS].map((roundTripMs) => ({ lanes, jitter, roundTripMs }))),
)
for (const [name, bytesPerSecond] of lines) {
  for (const { lanes, jitter, roundTripMs } of shapes) {
    test(`createCompressionControl() comes within 15 % of the better fixed choice at ${name}, ${lanes} lanes, jitter ${jitter}, ${roundTripMs} ms`, (t) => {
      const [on, off, auto] = (['on', 'off', 'auto'] as const).map((mode) =>
        simulate({ bytesPerSecond, mode, jitter, lanes, roundTripMs }),
      )
      t.log(
        `on ${on.seconds.toFixed(2)} s, off ${off.seconds.toFixed(2)} s, auto ${auto.seconds.toFixed(2)} s`,
      )
      t.true(auto.seconds <= 1.15 * Math.min(on.seconds, off.seconds))
    })
  }
}

test('shouldCompress() keeps on while the line is slow, once the buffers are full', (t) => {
  const { compressedFrames } = simulate({ bytesPerSecond: 100 * MBIT, mode: 'auto' }, 256)
  t.true(compressedFrames >= 250)
})

test('shouldCompress() falls to nothing on a fast line, after less than 40 MiB were compressed', (t) => {
  const { compressedFrames, share } = simulate({ bytesPerSecond: 10 * GBIT, mode: 'auto' })
  t.is(share, 0)
  t.true(compressedFrames < 40)
})

test('shouldCompress() falls sooner when the receiver is near', (t) => {
  const after = (roundTripMs: number) => {
    const control = createCompressionControl()
    const observe = (idleMs: number) => pass(control, { waitedForLineMs: idleMs, idleMs, roundTripMs })
    // Everything is idle while a job begins.
    for (let i = 0; i < 50; i++) observe(2)
    let frames = 0
    for (; control.share > 0 && frames < 1000; frames++) observe(0)
    return frames
  }
  t.log(`${after(NEAR_MS)} frames near, ${after(FAR_MS)} far`)
  t.true(after(NEAR_MS) < 0.5 * after(FAR_MS))
})

test('shouldCompress() falls to nothing when the receiver is what all wait for', (t) => {
  const outcome = simulate({ bytesPerSecond: 100 * MBIT, mode: 'auto', receive: 0.1 })
  t.true(outcome.fellAfterMiB <= 64)
  t.true(outcome.compressedFrames < 64)
})

test('shouldCompress() gives up on data that does not shrink, even on a slow line', (t) => {
  const outcome = simulate({ bytesPerSecond: GBIT, mode: 'auto', ratio: 1 })
  t.log(`${outcome.compressedFrames} of 1024 frames compressed in vain`)
  t.true(outcome.compressedFrames < 0.15 * 1024)
})

test('shouldCompress() is not led astray by frames the probe leaves out', (t) => {
  const at = (mode: CompressionMode) =>
    simulate({ bytesPerSecond: 500 * MBIT, mode, compressible: 0.5 }).seconds
  t.true(at('auto') < 1.05 * at('on'))
})

test('shouldCompress() finds its way back up when the line slows down', (t) => {
  const control = createCompressionControl()
  const observe = (waitedForLineMs: number) =>
    pass(control, { waitedForLineMs, idleMs: waitedForLineMs, elapsedMs: 10, receiverIdle: 0.9 })
  for (let i = 0; i < 100; i++) observe(0)
  t.is(control.share, 0)
  for (let i = 0; i < 200; i++) observe(7)
  t.true(control.share > 0.9)
})

test('shouldCompress() keeps on when a slow line shows no slack for a while', (t) => {
  const control = createCompressionControl()
  const frame = { ...COMPRESSED, elapsedMs: 20, receiverIdle: 0.9 }
  const observe = (waitedMs: number) => {
    control.shouldCompress()
    control.observe({ ...frame, waitedForLineMs: waitedMs, idleMs: waitedMs })
  }
  for (let i = 0; i < 100; i++) observe(10)
  t.is(control.share, 1)
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 20; i++) observe(0)
    t.true(control.share > 0.8)
    for (let i = 0; i < 20; i++) observe(10)
  }
})

test('shouldCompress() takes waits for processors that others use for no slowness of the line', (t) => {
  const shareAfter = (machineIdle: number) => {
    const control = createCompressionControl()
    const seen = { waitedForLineMs: 6, idleMs: 6, elapsedMs: 10, receiverIdle: 0.6, machineIdle }
    for (let i = 0; i < 200; i++) pass(control, seen)
    return control.share
  }
  t.is(shareAfter(0.02), 0)
  t.is(shareAfter(0.1), 0)
  t.true(shareAfter(0.6) > 0.9)
})

test('shouldCompress() takes no line for slow nearby that has nothing to carry for much of the time', (t) => {
  const shareAt = (busyMs: number, roundTripMs: number) => {
    const control = createCompressionControl({ near: roundTripMs === NEAR_MS })
    let sinceAsked = 0
    const lineBusyMs = () => {
      const busy = sinceAsked
      sinceAsked = 0
      return busy
    }
    for (let i = 0; i < 200; i++) {
      sinceAsked += busyMs
      pass(control, { waitedForLineMs: 2, idleMs: 2, lineBusyMs, roundTripMs })
    }
    return control.share
  }
  t.is(shareAt(2, NEAR_MS), 0)
  t.true(shareAt(5, NEAR_MS) > 0.5)
  t.true(shareAt(2, FAR_MS) > 0.5)
})

test('shouldCompress() leaves the first frames to a near receiver as they are, unless told otherwise', (t) => {
  t.false(createCompressionControl({ near: true }).shouldCompress())
  t.true(createCompressionControl({ near: true, mode: 'on' }).shouldCompress())
  t.true(createCompressionControl().shouldCompress())
})

test('shouldCompress() keeps on where a lane waits for windows or answers and nobody is hurried', (t) => {
  const control = createCompressionControl()
  const frame = { ...COMPRESSED, idleMs: 95, elapsedMs: 100, receiverIdle: 0.97, machineIdle: 0.8 }
  for (let i = 0; i < 200; i++) {
    control.shouldCompress()
    // The line is waited for in few of the judgements only.
    control.observe({ ...frame, waitedForLineMs: i % 10 === 0 ? 95 : 0 })
    t.true(control.share > 0.9)
  }
})

test('shouldCompress() falls to nothing where nobody is hurried, but the receiver', (t) => {
  const control = createCompressionControl()
  const seen = { waitedForLineMs: 90, idleMs: 95, elapsedMs: 100, receiverIdle: 0.02, machineIdle: 0.8 }
  for (let i = 0; i < 100; i++) pass(control, seen)
  t.is(control.share, 0)
})

for (const lanes of [1, 4]) {
  test(`level is the highest on a slow line, and saves a tenth more, with ${lanes} lanes`, (t) => {
    const { level, wireBytes, levelChanges } = simulate(
      { bytesPerSecond: 100 * MBIT, mode: 'auto', lanes },
      2048,
    )
    t.is(level, 6)
    t.is(levelChanges, 2 * lanes)
    t.true(wireBytes < 0.92 * 2048 * MiB * 0.5)
  })

  test(`level is one that the thread has time for, and stays, with ${lanes} lanes`, (t) => {
    const at = (mode: CompressionMode) =>
      simulate({ bytesPerSecond: 500 * MBIT, mode, lanes, jitter: 0.3 }, 8192)
    const { seconds, level, levelChanges } = at('auto')
    t.log(`${levelChanges} changes, ${seconds.toFixed(2)} s, always on ${at('on').seconds.toFixed(2)} s`)
    t.is(level, 3)
    t.is(levelChanges, lanes)
    t.true(seconds < 0.51 * at('off').seconds)
  })
}

for (const [where, line] of [
  ['on a fast line', { bytesPerSecond: 10 * GBIT }],
  ['nearby', { bytesPerSecond: 100 * MBIT, roundTripMs: NEAR_MS }],
] as const) {
  test(`level stays the first ${where}`, (t) => {
    const { level, levelChanges } = simulate({ ...line, mode: 'auto', lanes: 4 })
    t.is(level, 1)
    t.is(levelChanges, 0)
  })
}

test('shouldCompress() spreads its share evenly over the frames', (t) => {
  const control = createCompressionControl()
  const frame = { ...COMPRESSED, receiverIdle: 0 }
  while (control.share > 0.7) control.observe(frame)
  const { share } = control
  let said = 0
  for (let i = 1; i <= 100; i++) {
    said += control.shouldCompress() ? 1 : 0
    t.true(Math.abs(said - share * i) <= 1)
  }
})

test('createCompressionControl() does as told when on or off, whatever it observes', (t) => {
  const bad = { ...COMPRESSED, compressMs: 9, encodedBytes: MiB, elapsedMs: 9, receiverIdle: 0 }
  const good = { ...bad, encodedBytes: 1, waitedForLineMs: 9, idleMs: 9, elapsedMs: 100, receiverIdle: 1 }
  for (const [mode, expected] of [
    ['on', true],
    ['off', false],
  ] as const) {
    const control = createCompressionControl({ mode })
    for (let i = 0; i < 100; i++) {
      control.observe(i % 2 ? bad : good)
      t.is(control.shouldCompress(), expected)
    }
  }
})

test('earn() lets a lane that is short of CPU compress a third of what dedupe saved', (t) => {
  const control = createCompressionControl({ mode: 'auto' })
  while (control.share > 0) control.observe(COMPRESSED)
  t.false(control.shouldCompress())
  control.earn(9 * MiB)
  const answers = [1, 2, 3, 4].map(() => {
    const answer = control.shouldCompress()
    if (answer) control.observe(COMPRESSED)
    return answer
  })
  t.deepEqual(answers, [true, true, true, false])
})
