import test from 'ava'
import { createPlaces } from '../../../agent/jobs/places.ts'

const never = new AbortController().signal

/** Whether `promise` has settled by now. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false
  void promise.then(() => (done = true))
  await new Promise(setImmediate)
  return done
}

test('take() gives so many places, and the next to whoever waits longest', async (t) => {
  const places = createPlaces(2)
  const [one] = [await places.take(never), await places.take(never)]
  const [third, fourth] = [places.take(never), places.take(never)]
  t.false(await settled(third))
  one[Symbol.dispose]()
  one[Symbol.dispose]()
  t.true(await settled(third))
  t.false(await settled(fourth))
  const got = await third
  got[Symbol.dispose]()
  t.true(await settled(fourth))
})

test('take() lets go who will not wait, and that one holds nothing', async (t) => {
  const places = createPlaces(1)
  const held = await places.take(never)
  const leave = new AbortController()
  const [leaving, waiting] = [places.take(leave.signal), places.take(never)]
  leave.abort()
  const nothing = await leaving
  nothing[Symbol.dispose]()
  t.false(await settled(waiting))
  held[Symbol.dispose]()
  t.true(await settled(waiting))
})

test('take() gives nothing, and at once, to who has left already', async (t) => {
  const places = createPlaces(1)
  const none = await places.take(AbortSignal.abort())
  const held = places.take(never)
  t.true(await settled(held))
  none[Symbol.dispose]()
  t.false(await settled(places.take(never)))
})
