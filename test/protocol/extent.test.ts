import test from 'ava'
import fc from 'fast-check'
import { closeGaps, RangeSet, type Range } from '../../protocol/extent.ts'

const SIZE = 40
const steps = fc.array(
  fc.record({ add: fc.boolean(), start: fc.nat(SIZE), length: fc.nat(12) }).map(({ add, start, length }) => ({
    add,
    start,
    end: Math.min(start + length, SIZE),
  })),
  { maxLength: 30 },
)

/** The set and, as the plain reference, one flag for each byte. */
function replay(list: { add: boolean; start: number; end: number }[]): { set: RangeSet; bytes: boolean[] } {
  const set = new RangeSet()
  const bytes = Array<boolean>(SIZE).fill(false)
  for (const { add, start, end } of list) {
    if (add) set.add(start, end)
    else set.remove(start, end)
    bytes.fill(add, start, end)
  }
  return { set, bytes }
}

function rangesOf(bytes: boolean[]): Range[] {
  const ranges: Range[] = []
  for (let start = 0; start < bytes.length; start++) {
    if (!bytes[start]) continue
    let end = start
    while (bytes[end]) end++
    ranges.push({ start, end })
    start = end
  }
  return ranges
}

test('RangeSet holds the bytes that were added and not removed, as the fewest ranges', (t) => {
  fc.assert(
    fc.property(steps, (list) => {
      const { set, bytes } = replay(list)
      t.deepEqual([...set], rangesOf(bytes))
      t.is(set.totalBytes, bytes.filter(Boolean).length)
      t.is(set.count, rangesOf(bytes).length)
    }),
    { numRuns: 500 },
  )
})

test('complement() holds the other bytes', (t) => {
  fc.assert(
    fc.property(steps, (list) => {
      const { set, bytes } = replay(list)
      t.deepEqual([...set.complement(SIZE)], rangesOf(bytes.map((held) => !held)))
    }),
  )
})

test('contains() is true when every byte is held', (t) => {
  fc.assert(
    fc.property(steps, fc.nat(SIZE), fc.nat(SIZE), (list, a, b) => {
      const { set, bytes } = replay(list)
      const [start, end] = [Math.min(a, b), Math.max(a, b)]
      t.is(set.contains(start, end), bytes.slice(start, end).every(Boolean))
    }),
    { numRuns: 500 },
  )
})

test('addAll() and removeAll() take sets of ranges', (t) => {
  fc.assert(
    fc.property(steps, steps, (left, right) => {
      const [a, b] = [replay(left), replay(right)]
      t.deepEqual([...a.set.clone().addAll(b.set)], rangesOf(a.bytes.map((held, i) => held || b.bytes[i])))
      t.deepEqual(
        [...a.set.clone().removeAll(b.set)],
        rangesOf(a.bytes.map((held, i) => held && !b.bytes[i])),
      )
      t.deepEqual([...a.set], rangesOf(a.bytes))
    }),
  )
})

test('fromBounds() inverts toBounds()', (t) => {
  fc.assert(
    fc.property(steps, (list) => {
      const { set } = replay(list)
      t.deepEqual([...RangeSet.fromBounds(set.toBounds())], [...set])
    }),
  )
})

test('fromBounds() refuses half a range', (t) => {
  t.throws(() => RangeSet.fromBounds([1]), { instanceOf: RangeError })
})

test('add() refuses a range that runs backwards', (t) => {
  t.throws(() => new RangeSet().add(2, 1), { instanceOf: RangeError })
})

test('add() refuses what is not a safe integer', (t) => {
  t.throws(() => new RangeSet().add(0, 2 ** 53), { instanceOf: RangeError })
  t.throws(() => new RangeSet().add(-1, 2), { instanceOf: RangeError })
  t.throws(() => new RangeSet().add(0.5, 2), { instanceOf: RangeError })
})

const MiB = 2 ** 20

test('closeGaps() keeps every byte, in as many ranges as it may', (t) => {
  const ranges = Array.from({ length: 1000 }, (_, i) => ({ start: i * 2 * MiB, end: i * 2 * MiB + 65_536 }))
  ranges.push({ start: 1e12, end: 1e12 + 1 })
  const closed = closeGaps(ranges, 10, 128 * 1024)
  t.true(closed.length <= 10)
  const set = new RangeSet(closed)
  t.true(ranges.every(({ start, end }) => set.contains(start, end)))
  t.false(set.contains(5e11, 5e11 + 1))
  t.deepEqual(closeGaps(ranges, 2000, 128 * 1024), ranges)
})
