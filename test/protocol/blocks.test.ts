import test from 'ava'
import fc from 'fast-check'
import { blockCount, blockRanges, blockStart } from '../../protocol/blocks.ts'
import { BLOCK_BYTES, CHUNK_MAX_BYTES } from '../../protocol/limits.ts'
import { ENTRY_BYTES, writeEntry } from '../../protocol/manifest.ts'

function entry(offset: number, length: number): Uint8Array {
  const entries = new Uint8Array(ENTRY_BYTES)
  writeEntry(entries, 0, offset, length, new Uint8Array(32))
  return entries
}

const places = fc.tuple(
  fc.integer({ min: 0, max: 2 ** 52 - CHUNK_MAX_BYTES }),
  fc.integer({ min: 1, max: CHUNK_MAX_BYTES }),
)

test('blocks cover a chunk once, each within one block of the volume', (t) => {
  fc.assert(
    fc.property(places, ([offset, length]) => {
      const entries = entry(offset, length)
      const count = blockCount(entries, 0)
      t.is(blockStart(entries, 0, 0), 0)
      t.is(blockStart(entries, 0, count), length)
      for (let block = 0; block < count; block++) {
        const [from, to] = [blockStart(entries, 0, block), blockStart(entries, 0, block + 1)]
        t.true(from < to)
        t.is(Math.floor((offset + from) / BLOCK_BYTES), Math.floor((offset + to - 1) / BLOCK_BYTES))
        if (block > 0) t.is((offset + from) % BLOCK_BYTES, 0)
      }
    }),
  )
})

test('blockRanges() joins neighbours, and holds what is wanted and nothing else', (t) => {
  fc.assert(
    fc.property(
      places,
      fc.array(fc.boolean(), { minLength: 65, maxLength: 65 }),
      ([offset, length], wants) => {
        const entries = entry(offset, length)
        const ranges = blockRanges(entries, 0, (block) => wants[block])
        for (const [i, { start, end }] of ranges.entries()) {
          t.true(start < end)
          if (i > 0) t.true(ranges[i - 1].end < start)
        }
        for (let block = 0; block < blockCount(entries, 0); block++) {
          const [from, to] = [blockStart(entries, 0, block), blockStart(entries, 0, block + 1)]
          t.is(
            ranges.some(({ start, end }) => start <= from && to <= end),
            wants[block],
          )
        }
      },
    ),
  )
})

test('a chunk at the grid has whole blocks', (t) => {
  const entries = entry(7 * BLOCK_BYTES, 3 * BLOCK_BYTES)
  t.is(blockCount(entries, 0), 3)
  t.deepEqual(
    blockRanges(entries, 0, (block) => block !== 1),
    [
      { start: 0, end: BLOCK_BYTES },
      { start: 2 * BLOCK_BYTES, end: 3 * BLOCK_BYTES },
    ],
  )
})
