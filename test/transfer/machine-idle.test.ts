import test from 'ava'
import { createMachineIdle, parseTicks, type ProcessorTicks } from '../../transfer/machine-idle.ts'

/** A machine whose clock and counters the test moves. */
function machine(known = true) {
  let at = 0
  let ticks: ProcessorTicks = { idle: 1000, all: 5000 }
  let looks = 0
  const idle = createMachineIdle(
    () => {
      looks++
      return known ? ticks : undefined
    },
    () => at,
  )
  return {
    idle,
    pass(ms: number, idleTicks: number, allTicks: number) {
      at += ms
      ticks = { idle: ticks.idle + idleTicks, all: ticks.all + allTicks }
    },
    looks: () => looks,
  }
}

test('parseTicks() counts waiting for disks as idle, and guests once', (t) => {
  const stat = 'cpu  100 5 50 700 20 3 2 10 40 1\ncpu0 1 2 3 4 5 6 7 8 9 10\n'
  t.deepEqual(parseTicks(stat), { idle: 720, all: 890 })
})

test('parseTicks() reads the line of old kernels, which is shorter', (t) => {
  t.deepEqual(parseTicks('cpu 100 5 50 700\nintr 5\n'), { idle: 700, all: 855 })
})

for (const text of ['', 'cpu0 1 2 3 4\n', 'intr 1 2\n', 'cpu 1 2 3'])
  test(`parseTicks() finds nothing in ${JSON.stringify(text)}`, (t) => {
    t.is(parseTicks(text), undefined)
  })

test('createMachineIdle() counts all as idle before it has looked twice', (t) => {
  const { idle, pass } = machine()
  t.is(idle(), 1)
  pass(99, 0, 20)
  t.is(idle(), 1)
})

test('createMachineIdle() tells the share since the look before', (t) => {
  const { idle, pass } = machine()
  pass(100, 5, 20)
  t.is(idle(), 0.25)
  pass(100, 0, 20)
  t.is(idle(), 0)
  pass(100, 20, 20)
  t.is(idle(), 1)
})

test('createMachineIdle() looks once in 100 ms', (t) => {
  const { idle, pass, looks } = machine()
  pass(100, 10, 20)
  for (let i = 0; i < 5; i++) idle()
  t.is(looks(), 2)
})

test('createMachineIdle() keeps what it knew when the counters stand still or go back', (t) => {
  const { idle, pass } = machine()
  pass(100, 5, 20)
  t.is(idle(), 0.25)
  pass(100, 0, 0)
  t.is(idle(), 0.25)
  pass(100, -10, -50)
  t.is(idle(), 0.25)
})

test('createMachineIdle() counts all as idle where that is not known', (t) => {
  const { idle, pass } = machine(false)
  pass(1000, 0, 0)
  t.is(idle(), 1)
})

test('createMachineIdle() reads the counters of this machine', (t) => {
  const share = createMachineIdle()()
  t.true(share >= 0 && share <= 1)
})
