import test from 'ava'
import fc from 'fast-check'
import { DIRECT_BYTES, DirectMemory, liesLike } from '../../transfer/direct-memory.ts'

const MAX_OFFSET = 2 ** 52

test('take() gives long pieces that lie as their offset does, and no byte twice', (t) => {
  const piece = fc.record({
    lengthBytes: fc.integer({ min: 0, max: 2 * DIRECT_BYTES }),
    offset: fc.integer({ min: 0, max: MAX_OFFSET }),
  })
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const memory = new DirectMemory(pieces.reduce((total, { lengthBytes }) => total + lengthBytes, 0))
      // The second time as the first: what was taken before is free again.
      for (let time = 0; time < 2; time++) {
        memory.reset()
        const taken = pieces.map(({ lengthBytes, offset }) => memory.take(lengthBytes, offset))
        for (const [i, { lengthBytes, offset }] of pieces.entries()) {
          t.is(taken[i].length, lengthBytes)
          if (lengthBytes >= DIRECT_BYTES) t.true(liesLike(taken[i], offset))
          if (i > 0) t.true(taken[i].byteOffset >= taken[i - 1].byteOffset + taken[i - 1].length)
        }
      }
    }),
    { numRuns: 50 },
  )
})

test('liesLike() tells whether an address and an offset are equally far from the start of a block', (t) => {
  const bytes = new DirectMemory(DIRECT_BYTES).take(DIRECT_BYTES, 5000)
  t.true(liesLike(bytes, 5000))
  t.true(liesLike(bytes, 5000 + 4096))
  t.true(liesLike(bytes.subarray(100), 5100))
  t.false(liesLike(bytes, 5001))
  t.false(liesLike(bytes.subarray(1), 5000))
})
