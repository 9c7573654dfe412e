import test from 'ava'
import { MAX_JOB_WINDOWS, WINDOW_BYTES, WINDOWS_PER_LANE } from '../../protocol/limits.ts'
import { WindowTurns } from '../../transfer/window-turns.ts'

const SECOND = 1_000

/** Hands out windows until it is nobody's turn; who got them. */
function handOut(turns: WindowTurns<string>, at: number, left?: number): string[] {
  const got: string[] = []
  for (;;) {
    const lane = turns.next(left === undefined ? undefined : left - got.length)
    if (lane === undefined) return got
    turns.handed(lane, at)
    got.push(lane)
    // As a lane does: it asks again as soon as it begins with one.
    turns.ask(lane)
  }
}

/** Has the lane send a window every `windowMs` from 0 on, and hold one more, until `until`. */
function sendSteadily(turns: WindowTurns<string>, lane: string, windowMs: number, until: number): void {
  turns.ask(lane)
  turns.handed(lane, 0)
  turns.ask(lane)
  turns.handed(lane, 0)
  for (let sent = 1; sent * windowMs <= until; sent++) {
    turns.counted(lane, sent * WINDOW_BYTES, sent * windowMs)
    turns.sent(lane, sent * windowMs)
    turns.ask(lane)
    turns.handed(lane, sent * windowMs)
  }
  turns.ask(lane)
}

test('next() gives each lane two windows at first, in the order in which they ask', (t) => {
  const turns = new WindowTurns<string>()
  turns.ask('a')
  turns.ask('b')
  t.deepEqual(handOut(turns, 0), ['a', 'b', 'a', 'b'])
  t.deepEqual(turns.waiting, ['a', 'b'])
})

test('next() lets a quick lane hold as many as its memory, and one that it is told of', (t) => {
  const turns = new WindowTurns<string>()
  turns.ask('quick')
  let held = handOut(turns, 0).length
  for (let at = 1; at <= 20; at++) {
    turns.sent('quick', at)
    held += handOut(turns, at).length - 1
  }
  t.is(held, WINDOWS_PER_LANE + 1)
})

test('next() takes from a lane that became slow what it may hold beyond two', (t) => {
  const turns = new WindowTurns<string>()
  turns.ask('lane')
  let held = handOut(turns, 0).length
  for (let at = 1; at <= 5; at++) {
    turns.sent('lane', at)
    held += handOut(turns, at).length - 1
  }
  for (let at = 60 * SECOND; at <= 120 * SECOND; at += 5 * SECOND) {
    turns.sent('lane', at)
    held += handOut(turns, at).length - 1
  }
  t.is(held, 2)
})

test('next() gives a lane no more than keep it busy while a window is asked for', (t) => {
  const held = (roundTripMs: number, windowMs: number) => {
    const turns = new WindowTurns<string>(roundTripMs)
    turns.ask('lane')
    let under = handOut(turns, 0).length
    for (let at = windowMs; at <= 5 * SECOND; at += windowMs) {
      turns.counted('lane', (at / windowMs) * WINDOW_BYTES, at)
      turns.sent('lane', at)
      under += handOut(turns, at).length - 1
    }
    return under
  }
  t.is(held(40, 100), 3)
  t.is(held(200, 100), WINDOWS_PER_LANE + 1)
  t.is(held(0.1, 5), WINDOWS_PER_LANE + 1)
})

test('next() leaves all lanes together within MAX_JOB_WINDOWS, and each with one at least', (t) => {
  for (const lanes of [20, 40, MAX_JOB_WINDOWS, 2 * MAX_JOB_WINDOWS]) {
    const turns = new WindowTurns<string>()
    for (let i = 0; i < lanes; i++) turns.ask(`${i}`)
    const got = handOut(turns, 0)
    t.is(new Set(got).size, lanes)
    t.true(got.length <= Math.max(lanes, MAX_JOB_WINDOWS))
  }
})

test('next() gives the last windows to the lanes that are done with them first', (t) => {
  const turns = new WindowTurns<string>()
  sendSteadily(turns, 'quick', 100, 10 * SECOND)
  sendSteadily(turns, 'slow', 5 * SECOND, 10 * SECOND)
  // The slow one would take ten seconds for its two and five for another; the quick one a second for ten.
  turns.sent('slow', 10 * SECOND)
  t.is(turns.next(10), 'quick')
  t.true(handOut(turns, 10 * SECOND, 10).every((lane) => lane === 'quick'))
  t.true(turns.waiting.includes('slow'))
})

test('next() gives a slow lane its share as long as there is enough for all', (t) => {
  const turns = new WindowTurns<string>()
  sendSteadily(turns, 'quick', 100, 10 * SECOND)
  sendSteadily(turns, 'slow', 5 * SECOND, 10 * SECOND)
  turns.sent('slow', 10 * SECOND)
  t.true(handOut(turns, 10 * SECOND, 1_000).includes('slow'))
})

test('next() shares the last windows among lanes of which nothing is known', (t) => {
  const turns = new WindowTurns<string>()
  for (const lane of ['a', 'b', 'c', 'd']) turns.ask(lane)
  const got: string[] = []
  for (let left = 4; left > 0; left--) {
    const lane = turns.next(left)!
    turns.handed(lane, 0)
    got.push(lane)
  }
  t.deepEqual(got.toSorted(), ['a', 'b', 'c', 'd'])
})

test('next() is somebody once every lane has sent what it had', (t) => {
  const turns = new WindowTurns<string>()
  sendSteadily(turns, 'stuck', 100, SECOND)
  sendSteadily(turns, 'quick', 100, SECOND)
  // Nothing moves any more, then all of it at once.
  for (let at = 2 * SECOND; at < 60 * SECOND; at += 200)
    for (const lane of ['stuck', 'quick']) turns.counted(lane, 10 * WINDOW_BYTES, at)
  for (let i = 0; i < MAX_JOB_WINDOWS; i++) {
    turns.sent('stuck', 61 * SECOND)
    turns.sent('quick', 61 * SECOND)
  }
  t.not(turns.next(1), undefined)
})

test('forget() leaves a lane without windows and without a turn', (t) => {
  const turns = new WindowTurns<string>()
  turns.ask('gone')
  turns.forget('gone')
  turns.counted('gone', 1, 1)
  turns.sent('gone', 1)
  t.deepEqual([turns.next(undefined), turns.next(1)], [undefined, undefined])
})
