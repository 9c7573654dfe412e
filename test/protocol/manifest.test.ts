import { blake3 } from '@napi-rs/blake-hash'
import test from 'ava'
import fc from 'fast-check'
import {
  CHUNK_MAX_BYTES,
  CHUNK_MIN_BYTES,
  MAX_VOLUME_BYTES,
  MAX_WINDOW_CHUNKS,
  WINDOW_BYTES,
} from '../../protocol/limits.ts'
import {
  ENTRY_BYTES,
  createRoot,
  entryCount,
  entryDigest,
  formatRoot,
  manifestHeader,
  parseRoot,
  readEntry,
  validateWindowEntries,
  writeEntry,
} from '../../protocol/manifest.ts'
import { plain, violates } from './assertions.ts'

const digest = Uint8Array.from({ length: 32 }, (_, i) => i)

function entries(...chunks: [offset: number, length: number][]): Uint8Array {
  const bytes = new Uint8Array(chunks.length * ENTRY_BYTES)
  for (const [i, [offset, length]] of chunks.entries()) writeEntry(bytes, i, offset, length, digest)
  return bytes
}

test('writeEntry() round-trips through readEntry()', (t) => {
  const arbitrary = fc.record({
    offset: fc.nat(MAX_VOLUME_BYTES),
    length: fc.nat(2 ** 32 - 1),
    digest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  })
  fc.assert(
    fc.property(fc.array(arbitrary, { maxLength: 5 }), (list) => {
      const bytes = new Uint8Array(list.length * ENTRY_BYTES)
      for (const [i, entry] of list.entries()) writeEntry(bytes, i, entry.offset, entry.length, entry.digest)
      t.is(entryCount(bytes), list.length)
      t.deepEqual(
        list.map((_, i) => plain(readEntry(bytes, i))),
        list.map(plain),
      )
    }),
  )
})

test('writeEntry() lays fields out as the specification says', (t) => {
  const bytes = entries([0x01_02_03_04_05_06, 0x0a_0b_0c])
  t.is(
    Buffer.from(bytes).toString('hex'),
    `0605040302010000${'0c0b0a00'}${Buffer.from(digest).toString('hex')}`,
  )
})

test('writeEntry() takes the digest from an offset', (t) => {
  const bytes = new Uint8Array(ENTRY_BYTES)
  writeEntry(bytes, 0, 0, 1, Buffer.concat([Buffer.alloc(32), digest]), 32)
  t.deepEqual(Uint8Array.from(entryDigest(bytes, 0)), digest)
})

test('validateWindowEntries() returns the bytes of data', (t) => {
  t.is(validateWindowEntries(entries([0, 33_000], [33_000, 3864], [40_960, 1]), 0, 40_961), 36_865)
  t.is(validateWindowEntries(new Uint8Array(), 0, 2 ** 40), 0)
})

test('validateWindowEntries() accepts data beside a multiple of WINDOW_BYTES', (t) => {
  const list = entries([WINDOW_BYTES - 4096, 4096], [WINDOW_BYTES, CHUNK_MAX_BYTES])
  t.is(validateWindowEntries(list, 0, 2 * WINDOW_BYTES), 4096 + CHUNK_MAX_BYTES)
})

const refused = test.macro((t, bytes: Uint8Array, start: number, end: number) => {
  violates(t, () => validateWindowEntries(bytes, start, end))
})

const full = Array.from({ length: 16 }, (_, i): [number, number] => [i * CHUNK_MAX_BYTES, CHUNK_MAX_BYTES])
test('validateWindowEntries() refuses broken entries', refused, new Uint8Array(45), 0, 100)
test('validateWindowEntries() refuses a chunk of no bytes', refused, entries([0, 0]), 0, 100)
test(
  'validateWindowEntries() refuses a chunk over the limit',
  refused,
  entries([0, CHUNK_MAX_BYTES + 1]),
  0,
  2 ** 30,
)
test('validateWindowEntries() refuses a chunk before the window', refused, entries([0, 4096]), 4096, 8192)
test('validateWindowEntries() refuses a chunk past the window', refused, entries([4096, 8192]), 4096, 8192)
test(
  'validateWindowEntries() refuses chunks that overlap',
  refused,
  entries([0, 8192], [4096, 4096]),
  0,
  8192,
)
test('validateWindowEntries() refuses chunks in disorder', refused, entries([4096, 4096], [0, 4096]), 0, 8192)
test(
  'validateWindowEntries() refuses a run of data that begins within a block',
  refused,
  entries([4095, 4097]),
  0,
  WINDOW_BYTES,
)
test(
  'validateWindowEntries() refuses a short chunk that ends within a block',
  refused,
  entries([0, CHUNK_MIN_BYTES - 1]),
  0,
  WINDOW_BYTES,
)
test(
  'validateWindowEntries() refuses a chunk across a boundary',
  refused,
  entries([WINDOW_BYTES - 4096, 8192]),
  0,
  2 ** 30,
)
test(
  'validateWindowEntries() refuses an offset no number holds',
  refused,
  entries([2 ** 63, 4096]),
  0,
  2 ** 30,
)
test(
  'validateWindowEntries() refuses more data than a window',
  refused,
  entries(...full, [WINDOW_BYTES, 4096]),
  0,
  2 * WINDOW_BYTES,
)
test(
  'validateWindowEntries() refuses too many chunks',
  refused,
  entries(...Array.from({ length: MAX_WINDOW_CHUNKS + 1 }, (_, i): [number, number] => [i * 4096, 4096])),
  0,
  2 * WINDOW_BYTES,
)

test('createRoot() digests header and entries as the specification says', (t) => {
  const list = entries([0, 5], [10, 5])
  const root = createRoot(4096, 'fixed-v1/65536')
  root.update(list.subarray(0, ENTRY_BYTES))
  root.update(list.subarray(ENTRY_BYTES))
  const text = Buffer.from(
    'fluidcloud manifest v1\n\x00\x10\x00\x00\x00\x00\x00\x00fixed-v1/65536\n',
    'latin1',
  )
  t.deepEqual(plain(root.digest()), plain(blake3(Buffer.concat([text, list]))))
})

test('createRoot() differs by size, by chunking and by every entry', (t) => {
  const rootOf = (size: number, chunking: string, list: Uint8Array) => {
    const root = createRoot(size, chunking)
    root.update(list)
    return formatRoot(root.digest())
  }
  const list = entries([0, 5])
  const roots = [
    rootOf(9, 'a', list),
    rootOf(8, 'a', list),
    rootOf(9, 'b', list),
    rootOf(9, 'a', entries([1, 5])),
  ]
  t.is(new Set(roots).size, 4)
})

test('manifestHeader() refuses a size that is no volume', (t) => {
  t.throws(() => manifestHeader(-1, 'a'), { instanceOf: RangeError })
  t.throws(() => manifestHeader(MAX_VOLUME_BYTES + 1, 'a'), { instanceOf: RangeError })
})

test('parseRoot() inverts formatRoot()', (t) => {
  t.deepEqual(plain(parseRoot(formatRoot(digest))), digest)
  violates(t, () => parseRoot('b3:00'), 'USAGE')
  violates(t, () => parseRoot(formatRoot(digest).toUpperCase()), 'USAGE')
})
