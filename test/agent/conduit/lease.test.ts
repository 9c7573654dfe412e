import test from 'ava'
import fc from 'fast-check'
import { dueOf, grantedUntil, heldUntil, letsRun, renewAt } from '../../../agent/conduit/lease.ts'
import { LEASE_DRIFT_PERMILLE, LEASE_MS } from '../../../protocol/limits.ts'

/** A clock that began anywhere and runs a little too fast or too slow. */
interface Clock {
  readonly offset: number
  readonly rate: number
}

/** One question for a lease, and what became of it; real time in ms. */
interface Question {
  /** After the question before. */
  readonly pause: number
  /** Of the question and of the answer on the line; undefined: lost. */
  readonly there: number | undefined
  readonly back: number | undefined
  /** Between the grantor's yes and when it knows that it was sent: it signs, writes, or is put aside meanwhile. */
  readonly thinking: number
}

interface Story {
  readonly holder: Clock
  readonly grantor: Clock
  readonly questions: readonly Question[]
  /** When the source stops granting and begins to wait. */
  readonly decides: number
  /** When it crashes, and for how long it is away: then it knows nothing but that it may have granted. */
  readonly crash: { readonly at: number; readonly away: number } | undefined
}

const read = ({ offset, rate }: Clock, real: number) => offset + real * rate
const realOf = ({ offset, rate }: Clock, shown: number) => (shown - offset) / rate

/** From when to when the target may run at the longest, and from when the source may. */
function play({ holder, grantor, questions, decides, crash }: Story) {
  const target: { from: number; to: number }[] = []
  let known = Number.NEGATIVE_INFINITY
  let at = 0
  const isAway = (real: number) => crash && real >= crash.at && real < crash.at + crash.away
  for (const { pause, there, back, thinking } of questions) {
    at += pause
    if (there === undefined) continue
    const heard = at + there
    const sent = heard + thinking
    // A process that is gone when it should answer, or was gone in between, answers nothing.
    if (isAway(heard) || isAway(sent) || (crash && heard < crash.at && sent >= crash.at)) continue
    if (sent >= decides) continue
    if (!crash || sent > crash.at + crash.away || decides < crash.at)
      known = Math.max(known, grantedUntil(read(grantor, sent), LEASE_MS))
    if (back === undefined) continue
    const until = realOf(holder, heldUntil(read(holder, at), LEASE_MS))
    if (sent + back < until) target.push({ from: sent + back, to: until })
  }
  if (crash && decides >= crash.at)
    known = Math.max(known, grantedUntil(read(grantor, crash.at + crash.away), LEASE_MS))
  const begins = Math.max(decides, crash ? crash.at + crash.away : 0)
  return {
    target,
    source: Math.max(begins, known === Number.NEGATIVE_INFINITY ? begins : realOf(grantor, known)),
  }
}

const drift = LEASE_DRIFT_PERMILLE / 2000
const clock = fc.record({
  offset: fc.double({ min: 0, max: 1e9, noNaN: true }),
  rate: fc.double({ min: 1 - drift * 0.99, max: 1 + drift * 0.99, noNaN: true }),
})
const delay = fc.oneof(fc.nat(50), fc.nat(20_000))
const question = fc.record({
  pause: fc.oneof(fc.nat(2000), fc.nat(20_000)),
  there: fc.option(delay, { nil: undefined, freq: 4 }),
  back: fc.option(delay, { nil: undefined, freq: 4 }),
  thinking: fc.oneof(fc.nat(20), fc.nat(10_000)),
})
const story = fc.record({
  holder: clock,
  grantor: clock,
  questions: fc.array(question, { minLength: 1, maxLength: 30 }),
  decides: fc.nat(60_000),
  crash: fc.option(fc.record({ at: fc.nat(60_000), away: fc.nat(20_000) }), { nil: undefined }),
})

test('a lease ends for its holder before its grantor runs again, whatever is late, lost, drifting or crashed', (t) => {
  let ran = 0
  fc.assert(
    fc.property(story, (told) => {
      const { target, source } = play(told)
      ran += target.length
      return target.every(({ to }) => to < source)
    }),
    { numRuns: 20_000 },
  )
  // The stories are no empty ones.
  t.log(`${ran} leases`)
  t.true(ran > 5_000)
})

test('the property has teeth: without drift and margin two would run', (t) => {
  const told: Story = {
    holder: { offset: 0, rate: 1 - drift },
    grantor: { offset: 5, rate: 1 + drift },
    questions: [{ pause: 0, there: 0, back: 0, thinking: 0 }],
    decides: 1,
    crash: undefined,
  }
  const [{ to }] = play(told).target
  t.true(to > realOf(told.grantor, read(told.grantor, 0) + LEASE_MS))
  t.true(to < play(told).source)
})

test('dueOf() grows harder towards the end of a lease and never softer', (t) => {
  const steps = ['nothing', 'pause', 'power-off', 'kill']
  fc.assert(
    fc.property(fc.nat(100_000), fc.nat(100_000), (a, b) => {
      const [sooner, later] = [Math.min(a, b), Math.max(a, b)]
      return steps.indexOf(dueOf(50_000, sooner)) <= steps.indexOf(dueOf(50_000, later))
    }),
  )
  t.deepEqual(
    [2001, 2000, 1200, 500, 0, -1].map((left) => dueOf(10_000, 10_000 - left)),
    ['nothing', 'pause', 'power-off', 'kill', 'kill', 'kill'],
  )
})

test('a lease that was never given lets nothing run', (t) => {
  t.false(letsRun(Number.NEGATIVE_INFINITY, 0))
  t.is(dueOf(Number.NEGATIVE_INFINITY, 0), 'kill')
})

test('renewAt() leaves room for two more questions before a guard acts', (t) => {
  const asked = 1000
  const every = renewAt(asked, LEASE_MS) - asked
  t.true(letsRun(heldUntil(asked, LEASE_MS), asked + every))
  t.true(every * 2 <= LEASE_MS)
})
