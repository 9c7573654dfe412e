import test from 'ava'
import fc from 'fast-check'
import { firstOf } from '../../broker/first-of.ts'

const ascending = (a: number, b: number) => a - b

test('firstOf() gives what a whole sort begins with', (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(1000), { maxLength: 100 }), fc.nat(30), (items, count) => {
      t.deepEqual(firstOf(items, count, ascending), items.toSorted(ascending).slice(0, count))
    }),
    { numRuns: 500 },
  )
})

test('firstOf() gives all of them, sorted, without a bound', (t) => {
  t.deepEqual(firstOf([3, 1, 2], Infinity, ascending), [1, 2, 3])
})

test('firstOf() compares most items once', (t) => {
  let compared = 0
  const items = Array.from({ length: 10_000 }, (_, i) => (i * 7919) % 10_007)
  firstOf(items, 16, (a, b) => {
    compared++
    return a - b
  })
  t.true(compared < 2 * items.length, `${compared}`)
})
