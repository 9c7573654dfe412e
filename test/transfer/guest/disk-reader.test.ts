import test from 'ava'
import { GUEST_PAGE_BYTES, MAX_GUEST_PAGES } from '../../../protocol/limits.ts'
import { createDiskReader, joined, partOf } from '../../../transfer/guest/disk-reader.ts'
import { bufferSource } from '../../helpers/buffer-source.ts'
import { pattern } from '../../helpers/folder-tree.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

test('createDiskReader() reads any range, over pages and at the end', async (t) => {
  const bytes = pattern(3 * GUEST_PAGE_BYTES + 1000)
  const disk = createDiskReader(bufferSource(bytes))
  for (const [offset, length] of [
    [0, 1],
    [GUEST_PAGE_BYTES - 1, 2],
    [5, 3 * GUEST_PAGE_BYTES],
    [bytes.length - 7, 7],
    [bytes.length, 0],
  ])
    t.true((await disk.read(offset, length)).equals(bytes.subarray(offset, offset + length)))
})

test('createDiskReader() refuses what lies outside', async (t) => {
  const disk = createDiskReader(bufferSource(Buffer.alloc(1000)))
  for (const [offset, length] of [
    [-1, 2],
    [999, 2],
    [1001, 0],
    [2 ** 60, 1],
    [Number.NaN, 1],
    [0.5, 1],
  ])
    await refusedWith(t, 'GUEST_UNSUPPORTED', disk.read(offset, length))
  await refusedWith(t, 'GUEST_UNSUPPORTED', partOf(disk, 100, 50).read(40, 11))
  t.is(partOf(disk, 900, 500).sizeBytes, 100)
  t.is(partOf(disk, 2000, 500).sizeBytes, 0)
})

test('createDiskReader() reads a page once, and keeps no more than so many', async (t) => {
  const source = bufferSource(Buffer.alloc((MAX_GUEST_PAGES + 8) * GUEST_PAGE_BYTES))
  const disk = createDiskReader(source)
  for (let round = 0; round < 3; round++)
    for (let page = 0; page < 8; page++) await disk.read(page * GUEST_PAGE_BYTES, 10)
  t.is(source.readBytes, 8 * GUEST_PAGE_BYTES)
  for (let page = 0; page < MAX_GUEST_PAGES + 8; page++) await disk.read(page * GUEST_PAGE_BYTES, 10)
  const before = source.readBytes
  await disk.read(0, 10)
  t.is(source.readBytes, before + GUEST_PAGE_BYTES)
})

test('createDiskReader() stops when aborted, while a walk goes on', async (t) => {
  const controller = new AbortController()
  const disk = createDiskReader(bufferSource(Buffer.alloc(1000)), { signal: controller.signal })
  const reason = new Error('enough')
  setImmediate(() => controller.abort(reason))
  const walk = async () => {
    for (;;) await disk.read(0, 10)
  }
  await t.throwsAsync(walk(), { is: reason })
})

test('joined() reads over the seams of its parts', async (t) => {
  const bytes = pattern(1000)
  const disk = createDiskReader(bufferSource(bytes))
  const both = joined([partOf(disk, 500, 100), partOf(disk, 0, 50), partOf(disk, 900, 100)])
  const expected = Buffer.concat([bytes.subarray(500, 600), bytes.subarray(0, 50), bytes.subarray(900)])
  t.is(both.sizeBytes, 250)
  t.true((await both.read(0, 250)).equals(expected))
  t.true((await both.read(90, 70)).equals(expected.subarray(90, 160)))
  await refusedWith(t, 'GUEST_UNSUPPORTED', both.read(249, 2))
})
