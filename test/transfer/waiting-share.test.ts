import test from 'ava'
import { WaitingShare } from '../../transfer/waiting-share.ts'

function waiting() {
  const lane = { waited: { readMs: 0, writeMs: 0 } }
  const clock = { nowMs: 1000 }
  const share = new WaitingShare(lane, () => clock.nowMs)
  const pass = (ms: number, waitedMs: number) => {
    clock.nowMs += ms
    lane.waited.readMs += waitedMs
    return share.now()
  }
  return pass
}

test('now() is the share of the time that was waited since it last was evened out', (t) => {
  const pass = waiting()
  t.is(pass(200, 150), 0.75)
  t.is(pass(1000, 100), 0.1)
})

test('now() takes a short time without a wait for nothing by itself', (t) => {
  const pass = waiting()
  t.is(pass(200, 180), 0.9)
  t.is(pass(1, 0), 0.9)
  t.is(pass(2, 0), 0.9)
  t.is(pass(97, 47), 0.47)
})

test('now() is 1 before there was anything to even out', (t) => {
  t.is(waiting()(5, 0), 1)
})

test('now() is 1 at most, however waits are counted', (t) => {
  t.is(waiting()(100, 130), 1)
})
