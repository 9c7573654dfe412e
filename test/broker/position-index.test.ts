import test from 'ava'
import fc from 'fast-check'
import { createPositionIndex, type PositionIndex } from '../../broker/position-index.ts'

/** Few enough first bytes that positions share prefixes. */
const position = fc
  .tuple(
    fc.constantFrom('00', '7f', 'ff'),
    fc.constantFrom('00', 'ab', 'ff'),
    fc.integer({ min: 0, max: 40 }),
  )
  .map(([first, second, rest]) => `${first}${second}${rest.toString(16).padStart(28, '0')}`)
const holdings = fc.dictionary(position, fc.integer({ min: 1, max: 2 ** 53 - 1 }))

function indexOf(held: Record<string, number>): PositionIndex {
  const index = createPositionIndex()
  for (const [at, sequence] of Object.entries(held)) index.set(at, sequence)
  return index
}

/** What a broker that holds `ours` finds that it lacks, of one that holds `theirs`, by descending where digests differ. */
function missing(ours: PositionIndex, theirs: PositionIndex, prefix = ''): string[] {
  const known = new Map(ours.children(prefix).map((node) => [node.prefix, node]))
  return theirs.children(prefix).flatMap((node) => {
    const same = known.get(node.prefix)
    if (same && Buffer.compare(same.digest, node.digest) === 0) return []
    if (node.prefix.length < 6) return missing(ours, theirs, node.prefix)
    return theirs.below(node.prefix).filter((at) => ours.sequenceOf(at) !== theirs.sequenceOf(at))
  })
}

test('children() leads to every difference, and nowhere else', (t) => {
  fc.assert(
    fc.property(holdings, holdings, (ours, theirs) => {
      const expected = Object.keys(theirs).filter((at) => ours[at] !== theirs[at])
      t.deepEqual(missing(indexOf(ours), indexOf(theirs)), expected.toSorted())
    }),
  )
  t.pass()
})

test('digests depend on what is held, not on how it came', (t) => {
  fc.assert(
    fc.property(holdings, fc.array(position), (held, passing) => {
      const straight = indexOf(held)
      const winding = createPositionIndex()
      for (const at of passing) winding.set(at, 7)
      winding.children('')
      for (const [at, sequence] of Object.entries(held).toReversed()) winding.set(at, sequence)
      for (const at of passing) if (held[at] === undefined) winding.delete(at)
      t.deepEqual(winding.children(''), straight.children(''))
      t.is(winding.size, Object.keys(held).length)
    }),
  )
})

test('after() walks all positions in order, whatever the page', (t) => {
  fc.assert(
    fc.property(holdings, fc.integer({ min: 1, max: 5 }), (held, limit) => {
      const index = indexOf(held)
      const walked: string[] = []
      for (;;) {
        const page = index.after(walked.at(-1) ?? '', limit)
        walked.push(...page)
        if (page.length < limit) break
      }
      t.deepEqual(walked, Object.keys(held).toSorted())
      t.deepEqual(index.below(''), walked)
    }),
  )
})

test('children() of a position that is gone are gone', (t) => {
  const index = indexOf({ [`aa${'0'.repeat(30)}`]: 1 })
  index.delete(`aa${'0'.repeat(30)}`)
  t.deepEqual(index.children(''), [])
  t.deepEqual(index.children('aa'), [])
  t.throws(() => index.children('00000000'), { instanceOf: RangeError })
})
