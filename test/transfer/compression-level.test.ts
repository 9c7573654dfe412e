import test from 'ava'
import { CompressionLevel, LEVELS, RaiseTurns, type Judgement } from '../../transfer/compression-level.ts'

const [FIRST, SECOND, THIRD] = LEVELS.map(({ level }) => level)
/** Of a lane on a slow line, of one that has no time left, and of one that does not compress all. */
const ROOMY: Judgement = { slack: 0.9, short: false, compressing: 0.05, most: true }
const TIGHT: Judgement = { slack: 0, short: true, compressing: 0.5, most: true }
const PARTLY: Judgement = { ...ROOMY, most: false }

function judged(level: CompressionLevel, judgement: Judgement, times: number): number {
  for (let i = 0; i < times; i++) level.judge(judgement)
  return level.level
}

/** Judgements until the level is another; Infinity when it stays for a thousand. */
function until(level: CompressionLevel, judgement: Judgement): number {
  const before = level.level
  for (let i = 1; i <= 1000; i++) {
    level.judge(judgement)
    if (level.level !== before) return i
  }
  return Infinity
}

test('judge() raises the level, step by step, while there is time for it', (t) => {
  const level = new CompressionLevel()
  t.is(level.level, FIRST)
  t.is(judged(level, ROOMY, 5), SECOND)
  t.is(judged(level, ROOMY, 5), THIRD)
  t.is(judged(level, ROOMY, 100), THIRD)
})

test('judge() does not raise the level for moments', (t) => {
  const level = new CompressionLevel()
  const crowded: Judgement = { slack: 0.1, short: false, compressing: 0.5, most: true }
  for (let i = 0; i < 50; i++) {
    judged(level, ROOMY, 4)
    t.is(judged(level, crowded, 1), FIRST)
  }
})

test('judge() learns nothing while a lane waits for other things than the line', (t) => {
  const level = new CompressionLevel()
  const elsewhere: Judgement = { ...ROOMY, slack: 0 }
  judged(level, ROOMY, 4)
  t.is(judged(level, elsewhere, 100), FIRST)
  t.is(judged(level, ROOMY, 1), SECOND)
  t.is(judged(level, elsewhere, 100), SECOND)
})

test('judge() does not raise the level where it would take more than is left', (t) => {
  const level = new CompressionLevel()
  // Four tenths more than 0.3 is more than six tenths of 0.19, and less than those of 0.21.
  t.is(judged(level, { ...ROOMY, slack: 0.19, compressing: 0.3 }, 100), FIRST)
  t.is(judged(level, { ...ROOMY, slack: 0.21, compressing: 0.3 }, 100), SECOND)
})

test('judge() gives a level up when no time is left any more, and tries again later and later', (t) => {
  const level = new CompressionLevel()
  let before = until(level, ROOMY)
  for (let i = 0; i < 5; i++) {
    t.is(judged(level, TIGHT, 1), SECOND)
    t.is(judged(level, TIGHT, 1), FIRST)
    const next = until(level, ROOMY)
    t.is(next, 2 * before)
    before = next
  }
})

test('judge() tries again at last, however often a level was given up', (t) => {
  const level = new CompressionLevel()
  for (let i = 0; i < 20; i++) {
    t.true(until(level, ROOMY) <= 320)
    judged(level, TIGHT, 2)
  }
})

test('judge() goes back to the first level where not all is compressed', (t) => {
  const level = new CompressionLevel()
  judged(level, ROOMY, 10)
  t.is(judged(level, PARTLY, 1), FIRST)
  t.is(judged(level, PARTLY, 100), FIRST)
})

test('judge() waits for its turn, and forgets nothing meanwhile', (t) => {
  let may = false
  const level = new CompressionLevel(() => may)
  t.is(judged(level, ROOMY, 100), FIRST)
  may = true
  t.is(judged(level, ROOMY, 1), SECOND)
})

test('RaiseTurns.take() gives one turn at a time', (t) => {
  let nowMs = 0
  const turns = new RaiseTurns(() => nowMs)
  t.true(turns.take())
  t.false(turns.take())
  nowMs += 499
  t.false(turns.take())
  nowMs += 1
  t.true(turns.take())
})
