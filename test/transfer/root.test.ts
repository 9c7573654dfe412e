import { randomBytes } from 'node:crypto'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { WINDOW_BYTES } from '../../protocol/limits.ts'
import { createGeneratedSource, generatedUrl } from '../../transfer/backends/generated.ts'
import { CHUNKING_FASTCDC_64K } from '../../transfer/chunker.ts'
import { Journal } from '../../transfer/journal.ts'
import type { JournalRecord } from '../../transfer/journal-record.ts'
import { LanePool } from '../../transfer/lane-pool.ts'
import { createMemoryLevel } from '../../transfer/memory-level.ts'
import { fileUrl } from '../../transfer/open.ts'
import { prepareSource } from '../../transfer/prepared-source.ts'
import { journaledDigest, readDigest, readRecords } from '../../transfer/root.ts'
import { eventually } from '../helpers/eventually.ts'
import { referenceManifest } from '../helpers/reference-manifest.ts'
import { writeSparse } from '../helpers/sparse-content.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { noise } from '../helpers/volume.ts'

/** Windows readRecords() may have read ahead of its consumer. */
const AHEAD = 64

const pool = new LanePool(2)
test.after.always(() => pool[Symbol.asyncDispose]())

test('readDigest() comes to the root that the bytes define, over any number of lanes', async (t) => {
  const content = Buffer.alloc(17 * 2 ** 20 + 123)
  noise(5 * 2 ** 20, 1).copy(content, 3 * 2 ** 20 + 512)
  noise(2 ** 20, 2).copy(content, content.length - 2 ** 20)
  const path = join(await tempDir(t), 'disk')
  await writeSparse(path, content)
  await using source = await prepareSource(path, { lanes: 4 })
  const expected = referenceManifest(content)
  for (const lanes of [1, 3]) {
    let read = 0
    const digest = await readDigest(pool, source, CHUNKING_FASTCDC_64K, {
      lanes,
      signal: new AbortController().signal,
      onRead: (bytes) => (t.true(bytes > read), (read = bytes)),
    })
    t.deepEqual(Buffer.from(digest.root), Buffer.from(expected.root))
    t.is(digest.chunks, expected.entries.length / 44)
    t.is(read, content.length)
  }
})

test('readDigest() gives an empty volume a root', async (t) => {
  const path = join(await tempDir(t), 'empty')
  writeFileSync(path, '')
  await using source = await prepareSource(path, { lanes: 1 })
  const { root, chunks } = await readDigest(pool, source, CHUNKING_FASTCDC_64K, {
    lanes: 2,
    signal: new AbortController().signal,
  })
  t.is(chunks, 0)
  t.deepEqual(Buffer.from(root), Buffer.from(referenceManifest(new Uint8Array()).root))
})

/** A pool that tells how many windows its lanes have read. */
function counting(): { pool: LanePool; scanned(): number; open(): number } {
  let scanned = 0
  let open = 0
  const counted: Pick<LanePool, 'open'> = {
    open: (job, onReport) => {
      open++
      return pool.open(job, (message) => {
        if (message.type === 'scanned') scanned++
        if (message.type === 'closed') open--
        onReport(message)
      })
    },
  }
  return { pool: counted as LanePool, scanned: () => scanned, open: () => open }
}

test('readRecords() reads no further ahead of a slow consumer than its bound, and stops when it is left', async (t) => {
  const sizeBytes = 100 * WINDOW_BYTES
  const volume = { url: generatedUrl(sizeBytes), source: createGeneratedSource(sizeBytes) }
  const counted = counting()
  const { signal } = new AbortController()
  const records = readRecords(counted.pool, volume, CHUNKING_FASTCDC_64K, { lanes: 2, signal })
  const first = await records.next()
  t.is((first.value as JournalRecord).start, 0)
  // The one that was taken made room for one more.
  await eventually(() => counted.scanned() >= AHEAD + 1 || undefined)
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.is(counted.scanned(), AHEAD + 1)
  await records.return(undefined)
  t.is(counted.open(), 0)
})

test('readRecords() throws the reason of its signal, before it begins and while it waits', async (t) => {
  const sizeBytes = 100 * WINDOW_BYTES
  const volume = { url: generatedUrl(sizeBytes), source: createGeneratedSource(sizeBytes) }
  const reason = new Error('enough')
  const counted = counting()
  // Of a hole nothing is read that could notice the signal.
  const path = join(await tempDir(t), 'hole')
  writeFileSync(path, '')
  truncateSync(path, sizeBytes)
  await using hole = await prepareSource(path, { lanes: 1 })
  const before = readRecords(counted.pool, hole, CHUNKING_FASTCDC_64K, {
    lanes: 1,
    signal: AbortSignal.abort(reason),
  })
  await t.throwsAsync(before.next(), { is: reason })
  t.is(counted.open(), 0)
  const abort = new AbortController()
  const records = readRecords(counted.pool, volume, CHUNKING_FASTCDC_64K, { lanes: 1, signal: abort.signal })
  await records.next()
  abort.abort(reason)
  await t.throwsAsync(records.next(), { is: reason })
  t.is(counted.open(), 0)
})

test('readRecords() throws what a lane met, and closes all lanes', async (t) => {
  const counted = counting()
  const sizeBytes = 8 * WINDOW_BYTES
  const volume = { url: fileUrl(join(await tempDir(t), 'gone')), source: createGeneratedSource(sizeBytes) }
  const records = readRecords(counted.pool, volume, CHUNKING_FASTCDC_64K, {
    lanes: 2,
    signal: new AbortController().signal,
  })
  await t.throwsAsync(records.next(), { code: 'SOURCE_MISSING' })
  t.is(counted.open(), 0)
})

test('readRecords() notices a file that became shorter', async (t) => {
  const path = join(await tempDir(t), 'disk')
  writeFileSync(path, noise(9 * 2 ** 20, 3))
  await using source = await prepareSource(path, { lanes: 2 })
  truncateSync(path, 5 * 2 ** 20)
  const error = await t.throwsAsync(
    readDigest(pool, source, CHUNKING_FASTCDC_64K, { lanes: 1, signal: new AbortController().signal }),
  )
  t.like(error, { code: 'SOURCE_CHANGED' })
})

test('journaledDigest() gives no root to a volume that is not all there', async (t) => {
  const journal = await Journal.open(createMemoryLevel(), randomBytes(16))
  await journal.append([{ start: 0, end: WINDOW_BYTES, entries: new Uint8Array() }], { durable: true })
  await t.throwsAsync(journaledDigest(journal, WINDOW_BYTES + 1, 'x'), {
    code: 'VERIFY_MISMATCH',
    message: /lacks 1 of/,
  })
  const { chunks, dataBytes } = await journaledDigest(journal, WINDOW_BYTES, 'x')
  t.deepEqual([chunks, dataBytes], [0, 0])
})
