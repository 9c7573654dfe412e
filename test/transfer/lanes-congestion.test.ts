import test from 'ava'
import type { TcpState } from '../../transfer/linux.ts'
import { CongestionControl } from '../../transfer/lanes/congestion.ts'

const FAR: TcpState = { roundTripMs: 40.5, leastRoundTripMs: 40, repeats: 0, busyMs: 0 }

/** A control of a socket whose states the test gives, one a look; what was chosen for it. */
function controlOf(first: TcpState | undefined) {
  let state = first
  const chosen: string[] = []
  const kernel = { state: () => state, choose: (_: number, name: string) => chosen.push(name) > 0 }
  const control = new CongestionControl(3, kernel)
  const look = (next: Partial<TcpState>) => {
    state = { ...FAR, ...next }
    return control.observe()
  }
  return { control, chosen, look }
}

test('CongestionControl begins with CUBIC, near and far', (t) => {
  t.deepEqual(controlOf(FAR).chosen, ['cubic'])
  t.deepEqual(controlOf({ ...FAR, roundTripMs: 0.1, leastRoundTripMs: 0.1 }).chosen, ['cubic'])
})

test('observe() tells a line that loses packets though none wait in its queue', (t) => {
  const { look } = controlOf(FAR)
  t.deepEqual(look({ repeats: 3 }), { full: false, loses: false, near: false })
  t.deepEqual(look({ repeats: 3 }), { full: false, loses: false, near: false })
  t.deepEqual(look({ repeats: 4, roundTripMs: 42 }), { full: false, loses: true, near: false })
})

test('observe() takes no overflow of a queue for losses of the line', (t) => {
  const { look } = controlOf(FAR)
  for (let repeats = 0; repeats < 1000; repeats += 100) {
    t.false(look({ repeats, roundTripMs: 79 }).loses)
    t.false(look({ repeats: repeats + 50, roundTripMs: 47 }).loses)
    // It is empty for a moment, and what was lost is sent once more.
    t.false(look({ repeats: repeats + 60, roundTripMs: 41 }).loses)
  }
})

test('observe() tells a full line by what waits in its queue', (t) => {
  const { look } = controlOf(FAR)
  t.true(look({ roundTripMs: 60 }).full)
  t.false(look({ roundTripMs: 47 }).full)
  t.false(look({ roundTripMs: 60, leastRoundTripMs: undefined }).full)
})

test('expectLosses() goes over to BBR, but not nearby, nor where there is no TCP', (t) => {
  const far = controlOf(FAR)
  far.control.expectLosses()
  t.deepEqual(far.chosen, ['cubic', 'bbr'])
  const near = controlOf({ ...FAR, roundTripMs: 1 })
  near.control.expectLosses()
  t.deepEqual(near.chosen, ['cubic'])
  const none = controlOf(undefined)
  none.control.expectLosses()
  t.deepEqual(none.chosen, [])
})

test('observe() tells whether the other end is near, however busy it is', (t) => {
  const { look } = controlOf(FAR)
  t.true(look({ roundTripMs: 30, leastRoundTripMs: 0.1 }).near)
  t.false(look({ roundTripMs: 0.1, leastRoundTripMs: undefined }).near)
})
