import { zstdCompressSync } from 'node:zlib'
import test from 'ava'
import { HOLE_BLOCK_BYTES, MAX_EXTENT_BYTES, WINDOW_BYTES } from '../../../protocol/limits.ts'
import {
  createGeneratedSource,
  generatedUrl,
  parseGeneratedUrl,
} from '../../../transfer/backends/generated.ts'
import { openSource } from '../../../transfer/open.ts'
import { collect } from '../../helpers/collect.ts'

const SIZE_BYTES = 2 * WINDOW_BYTES + 12_345

async function whole(sizeBytes = SIZE_BYTES): Promise<Buffer> {
  await using source = await openSource(generatedUrl(sizeBytes))
  const bytes = Buffer.alloc(sizeBytes)
  await source.read(bytes, 0)
  return bytes
}

test('createGeneratedSource() gives the same bytes wherever a read begins and ends', async (t) => {
  const content = await whole()
  const source = createGeneratedSource(SIZE_BYTES)
  for (const [offset, length] of [
    [1, 3],
    [4093, 6],
    [4096, 4],
    [4099, 5],
    [0, 8],
    [WINDOW_BYTES - 5, 10],
    [3, 2 * WINDOW_BYTES],
    [SIZE_BYTES - 1, 1],
    [SIZE_BYTES, 0],
  ]) {
    const part = Buffer.alloc(length)
    await source.read(part, offset)
    t.true(part.equals(content.subarray(offset, offset + length)), `${length} bytes at ${offset}`)
  }
})

test('createGeneratedSource() never gives a block twice, nor one of zeros', async (t) => {
  const content = await whole()
  const seen = new Set([Buffer.alloc(HOLE_BLOCK_BYTES).toString('latin1')])
  let blocks = 1
  for (let at = 0; at + HOLE_BLOCK_BYTES <= content.length; at += HOLE_BLOCK_BYTES, blocks++) {
    seen.add(content.toString('latin1', at, at + HOLE_BLOCK_BYTES))
  }
  t.is(seen.size, blocks)
})

test('createGeneratedSource() does not compress', async (t) => {
  const content = await whole()
  t.true(zstdCompressSync(content.subarray(0, WINDOW_BYTES)).length > WINDOW_BYTES * 0.999)
})

test('createGeneratedSource() covers everything with extents', async (t) => {
  const source = createGeneratedSource(MAX_EXTENT_BYTES + 1)
  t.deepEqual(await collect(source.extents(0)), [
    { offset: 0, length: MAX_EXTENT_BYTES },
    { offset: MAX_EXTENT_BYTES, length: 1 },
  ])
  t.deepEqual(await collect(source.extents(MAX_EXTENT_BYTES + 1)), [])
})

test('createGeneratedSource() refuses to read beyond its end', (t) => {
  t.throws(() => createGeneratedSource(10).read(Buffer.alloc(2), 9), { instanceOf: RangeError })
})

for (const url of ['bench:', 'bench:-1', 'bench:1.5', 'bench:9007199254740993', 'bench:1e3', 'file:1']) {
  test(`parseGeneratedUrl() refuses ${url}`, (t) => t.is(parseGeneratedUrl(url), undefined))
}
