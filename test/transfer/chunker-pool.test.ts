import test from 'ava'
import { CHUNKING_FASTCDC_64K, CHUNKING_FIXED_64K } from '../../transfer/chunker.ts'
import { createChunkerPool } from '../../transfer/chunker-pool.ts'

test('borrow() lends a chunker that was given back again, to one borrower at a time', (t) => {
  const pool = createChunkerPool()
  const first = pool.borrow(1, CHUNKING_FASTCDC_64K)
  const second = pool.borrow(1, CHUNKING_FASTCDC_64K)
  t.not(first.chunker, second.chunker)
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  t.is(pool.borrow(1, CHUNKING_FASTCDC_64K).chunker, first.chunker)
  t.not(pool.borrow(1, CHUNKING_FASTCDC_64K).chunker, first.chunker)
})

test('borrow() never lends one of another chunking or size', (t) => {
  const pool = createChunkerPool()
  using given = pool.borrow(1, CHUNKING_FASTCDC_64K)
  given[Symbol.dispose]()
  t.is(pool.borrow(1, CHUNKING_FIXED_64K).chunker.chunking, CHUNKING_FIXED_64K)
  t.not(pool.borrow(2, CHUNKING_FASTCDC_64K).chunker, given.chunker)
})
