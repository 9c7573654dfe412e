import test from 'ava'
import type { FromLane, ScanJob, ToLane } from '../../transfer/lane-job.ts'
import type { LaneHandle } from '../../transfer/lane-pool.ts'
import { LaneSet, type LaneListener } from '../../transfer/lane-set.ts'
import { createCounters } from '../../transfer/transfer-counters.ts'

const JOB: ScanJob = { role: 'scan', sourceUrl: 'raw:/nowhere', chunking: 'fixed-v1/65536' }
const NOTHING = { wireSentBytes: 0, wireReceivedBytes: 0 }
const SOUND = { full: false, loses: false, near: false }

/** A set whose lanes the test speaks for. */
function setOf(listener: Partial<LaneListener> = {}) {
  const lanes: { heard: ToLane['type'][]; say(message: FromLane): void }[] = []
  const pool = {
    open(_job: unknown, say: (message: FromLane) => void): LaneHandle {
      const heard: ToLane['type'][] = []
      lanes.push({ heard, say })
      const closed = Promise.withResolvers<void>()
      const abort = () => {
        heard.push('abort')
        say({ type: 'closed', ...NOTHING })
        closed.resolve()
      }
      return { send: ({ type }) => heard.push(type), abort, closed: closed.promise }
    },
  }
  const set = new LaneSet(pool, createCounters(), { onReport() {}, onClosed() {}, ...listener })
  const add = () => {
    void set.add(JOB)
    const lane = lanes.at(-1)!
    lane.say({ type: 'opened', path: 'tls' })
    return lane
  }
  return { set, add }
}

test('a lane that sees the line lose packets has all others told, once, and those to come', (t) => {
  let noted = 0
  const { add } = setOf({ onLineLoses: () => noted++ })
  const [first, second] = [add(), add()]
  first.say({ type: 'counters', ...NOTHING, line: SOUND })
  t.deepEqual(second.heard, [])
  for (const lane of [first, second, first])
    lane.say({ type: 'counters', ...NOTHING, line: { ...SOUND, loses: true } })
  const third = add()
  t.deepEqual([first.heard, second.heard, third.heard], [['line-loses'], ['line-loses'], ['line-loses']])
  t.is(noted, 1)
})

test('lanes of a line that is known to lose packets are told when they open', (t) => {
  const { add } = setOf({ lineLoses: true, onLineLoses: () => t.fail() })
  t.deepEqual(add().heard, ['line-loses'])
})

test('lineFull is what most of the open lanes say', (t) => {
  const { set, add } = setOf()
  const lanes = [add(), add(), add()]
  t.false(set.lineFull)
  for (const [i, full] of [false, true, true].entries()) {
    const before = set.lineFull
    lanes[i].say({ type: 'counters', ...NOTHING, line: { ...SOUND, full: true } })
    t.deepEqual([before, set.lineFull], [i === 2, full])
  }
})

test('near is what an open lane says, and false while none says anything', (t) => {
  const { set, add } = setOf()
  const [first, second] = [add(), add()]
  t.false(set.near)
  first.say({ type: 'counters', ...NOTHING, line: SOUND })
  t.false(set.near)
  second.say({ type: 'counters', ...NOTHING, line: { ...SOUND, near: true } })
  t.true(set.near)
})

test('settle() ends the lanes that do not end by themselves, and those that come later', async (t) => {
  const { set, add } = setOf()
  const lanes = [add(), add()]
  await set.settle()
  t.is(set.size, 0)
  lanes.push(add())
  t.deepEqual(
    lanes.map(({ heard }) => heard),
    [['abort'], ['abort'], ['abort']],
  )
})
