import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { FluidError } from '../../protocol/errors.ts'
import { RangeSet, type Range } from '../../protocol/extent.ts'
import {
  NEAR_WINDOWS,
  UNASKED_BYTES,
  WINDOW_BYTES,
  WINDOWS_PER_LANE,
  WRITES_UNDER_WAY,
} from '../../protocol/limits.ts'
import { createMemorySink } from '../../transfer/backends/memory.ts'
import { openChunkIndex, SEED_SCOPE } from '../../transfer/chunk-index.ts'
import type { JournalRecord } from '../../transfer/journal-record.ts'
import { openSink, fileUrl } from '../../transfer/open.ts'
import type { Sink } from '../../transfer/sink.ts'
import { rootOfRecords, transfer } from '../helpers/memory-transfer.ts'
import { referenceManifest } from '../helpers/reference-manifest.ts'
import { stateLevel } from '../helpers/state-level.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { LAYOUTS, sourceOf, volumeContent } from '../helpers/volume-content.ts'
import { hideFromCrc32, noise, prose } from '../helpers/volume.ts'

const MiB = 2 ** 20

/** What lies at the target before: nothing, something else, the old version, or that on a device that tells no holes. */
const before = fc.constantFrom('empty', 'other', 'old version', 'device')

function sinkOver(previous: string, content: Buffer): { bytes: Buffer; sink: Sink } {
  const bytes = Buffer.alloc(content.length)
  if (previous === 'other') noise(content.length, 77).copy(bytes)
  if (previous === 'old version' || previous === 'device') {
    content.copy(bytes)
    // Changed, cut out, and put where a hole will be.
    for (let at = 0; at < bytes.length; at += 700_001)
      bytes.fill(at % 256, at, Math.min(at + 9000, bytes.length))
  }
  const sink = createMemorySink(bytes)
  if (previous !== 'device') return { bytes, sink }
  const written: Sink['written'] = async function* (from, to) {
    yield { offset: from, length: to - from }
  }
  return { bytes, sink: { ...sink, supports: { zeroed: false, sparse: false, shared: true }, written } }
}

function sameRecords(one: readonly JournalRecord[], other: readonly JournalRecord[]): boolean {
  return (
    one.length === other.length &&
    one.every(
      ({ start, end, entries }, i) =>
        start === other[i].start && end === other[i].end && Buffer.compare(entries, other[i].entries) === 0,
    )
  )
}

test('send() and receive() make the sink equal the source, whatever either held, with the root the bytes define', async (t) => {
  const { level } = await stateLevel(t)
  const folder = await tempDir(t)
  const chunks = openChunkIndex(level)
  await fc.assert(
    fc.asyncProperty(
      volumeContent,
      fc.constantFrom(...LAYOUTS),
      before,
      fc.constantFrom(1, 3),
      fc.constantFrom('auto', 'on', 'off'),
      fc.boolean(),
      fc.constantFrom('none', 'in place', 'replaced'),
      fc.constantFrom(0, UNASKED_BYTES),
      fc.constantFrom(NEAR_WINDOWS, WINDOWS_PER_LANE),
      async (content, layout, previous, lanes, compression, indexed, compared, unaskedBytes, windows) => {
        const { bytes, sink } = sinkOver(previous, content)
        const expected = referenceManifest(content)
        await chunks.clear(SEED_SCOPE)
        if (indexed) {
          // A file that changed since it was indexed: half of what the index says is stale.
          const path = join(folder, 'seed')
          writeFileSync(
            path,
            Buffer.concat([content.subarray(0, content.length / 2), noise(content.length / 4, 5)]),
          )
          await chunks.add(SEED_SCOPE, await chunks.numberOf(path), expected.entries)
        }
        const index = indexed ? { chunks, scopes: [SEED_SCOPE] } : undefined
        const old = join(folder, 'old')
        if (compared === 'replaced') writeFileSync(old, sinkOver('old version', content).bytes)
        const older =
          compared === 'none' ? undefined : { previous: compared === 'replaced' ? old : undefined }
        const source = sourceOf(content, layout)
        const moved = await transfer({
          source,
          sink,
          lanes,
          compression,
          index,
          older,
          unaskedBytes,
          windows,
        })
        t.true(bytes.equals(content), 'The bytes differ')
        t.true(sameRecords(moved.scanned, moved.placed), 'The sides recorded different windows')
        t.deepEqual(rootOfRecords(content.length, moved.placed), expected.root)
        t.is(moved.sentBytes, moved.receivedBytes)
        t.true(new RangeSet(moved.placed).contains(0, content.length))
      },
    ),
    { numRuns: 24, includeErrorInReport: true },
  )
})

test('send() scans to the same root however finely the source tells its holes', async (t) => {
  await fc.assert(
    fc.asyncProperty(volumeContent, async (content) => {
      const roots = new Set<string>()
      for (const layout of LAYOUTS) {
        const { scanned } = await transfer({
          source: sourceOf(content, layout),
          sink: createMemorySink(Buffer.alloc(content.length)),
        })
        roots.add(Buffer.from(rootOfRecords(content.length, scanned)).toString('hex'))
      }
      t.is(roots.size, 1)
    }),
    { numRuns: 6, includeErrorInReport: true },
  )
})

test('receive() asks for nothing that the sink holds at the same place', async (t) => {
  const content = Buffer.concat([noise(5 * MiB, 1), Buffer.alloc(MiB), prose(3 * MiB, 2)])
  const bytes = Buffer.from(content)
  const moved = await transfer({
    source: sourceOf(content, 'whole'),
    sink: createMemorySink(bytes),
    lanes: 2,
  })
  t.is(moved.sentBytes, 0)
  t.is(moved.placed.length, moved.scanned.length)
  t.true(bytes.equals(content))
})

test('receive() asks for the blocks that differ from what lies at the place', async (t) => {
  const content = noise(6 * MiB, 31)
  const bytes = Buffer.from(content)
  const written: number[] = []
  for (const at of [5000, MiB, MiB + 4096, 5 * MiB - 1]) bytes[at] ^= 1
  const sink = createMemorySink(bytes)
  const watched: Sink = {
    ...sink,
    write(chunk, offset) {
      written.push(chunk.length)
      return sink.write(chunk, offset)
    },
  }
  const moved = await transfer({ source: sourceOf(content, 'whole'), sink: watched, older: {} })
  t.true(bytes.equals(content))
  t.is(moved.receivedBytes, moved.sentBytes)
  t.true(moved.sentBytes <= 4 * 4096, `${moved.sentBytes}`)
  t.is(
    written.reduce((sum, length) => sum + length, 0),
    moved.sentBytes,
    'what is the same is not written',
  )
  t.is(written.length, 3, 'neighbours are written together')
})

test('receive() asks for the blocks that differ from the version that is replaced', async (t) => {
  const content = noise(6 * MiB, 32)
  const old = Buffer.from(content.subarray(0, 5 * MiB))
  for (let at = 100; at < old.length; at += 300_000) old[at] ^= 1
  const previous = join(await tempDir(t), 'old')
  writeFileSync(previous, old)
  const bytes = Buffer.alloc(content.length)
  const { sentBytes } = await transfer({
    source: sourceOf(content, 'whole'),
    sink: createMemorySink(bytes),
    older: { previous },
  })
  t.true(bytes.equals(content))
  // The last mebibyte is new; of the rest no index tells what is the same, but the version itself.
  t.true(sentBytes < MiB + 300_000, `${sentBytes}`)
})

test('receive() asks for all of a chunk when every block looks the same', async (t) => {
  const content = noise(MiB, 33)
  const bytes = Buffer.from(content)
  hideFromCrc32(bytes, 500_000)
  const { sentBytes } = await transfer({
    source: sourceOf(content, 'whole'),
    sink: createMemorySink(bytes),
    older: {},
  })
  t.true(bytes.equals(content))
  t.true(sentBytes >= 32_768, `${sentBytes}`)
})

test('receive() refuses what does not become the chunk it was to be', async (t) => {
  const content = noise(MiB, 34)
  const bytes = Buffer.from(content)
  hideFromCrc32(bytes, 500_000)
  bytes[500_000 + 4096] ^= 1
  const target = Buffer.from(bytes)
  const moving = transfer({ source: sourceOf(content, 'whole'), sink: createMemorySink(bytes), older: {} })
  await t.throwsAsync(moving, { code: 'CHUNK_DIGEST' })
  t.true(bytes.equals(target), 'nothing was written')
})

test('receive() looks for no older versions any more where there are none', async (t) => {
  const content = noise(24 * MiB, 35)
  const bytes = noise(24 * MiB, 36)
  let asked = 0
  await transfer({
    source: sourceOf(content, 'whole'),
    sink: createMemorySink(bytes),
    older: {},
    onLanes: ({ sender }) => {
      const write = sender.write.bind(sender)
      sender.write = (message, payload) => {
        if (message.kind === 'blocks') asked += payload!.length / 4
        return write(message, payload)
      }
    },
  })
  t.true(bytes.equals(content))
  t.true(asked >= 4096 && asked < (6 * MiB) / 1024, `${asked} blocks`)
})

test('receive() asks once for what repeats inside a window', async (t) => {
  const once = noise(MiB, 3)
  const content = Buffer.concat([once, Buffer.alloc(4096), once, Buffer.alloc(4096), once])
  const bytes = Buffer.alloc(content.length)
  const moved = await transfer({ source: sourceOf(content, 'blocks'), sink: createMemorySink(bytes) })
  t.true(bytes.equals(content))
  t.is(moved.placed.length, 1)
  t.is(moved.sentBytes, MiB)
})

test('receive() asks once for what repeats many windows later', async (t) => {
  const once = noise(WINDOW_BYTES, 3)
  // More windows than are asked for ahead lie between.
  const content = Buffer.concat([once, noise(4 * WINDOW_BYTES, 4), once])
  const bytes = Buffer.alloc(content.length)
  const moved = await transfer({ source: sourceOf(content, 'whole'), sink: createMemorySink(bytes) })
  t.true(bytes.equals(content))
  t.is(moved.sentBytes, 5 * WINDOW_BYTES)
})

test('send() and receive() leave what is done alone', async (t) => {
  const content = noise(3 * WINDOW_BYTES, 4)
  const bytes = Buffer.alloc(content.length)
  const done = new RangeSet([{ start: WINDOW_BYTES, end: 2 * WINDOW_BYTES }])
  const moved = await transfer({ source: sourceOf(content, 'whole'), sink: createMemorySink(bytes), done })
  t.deepEqual(
    moved.placed.map(({ start }) => start / WINDOW_BYTES),
    [0, 2],
  )
  t.true(bytes.subarray(WINDOW_BYTES, 2 * WINDOW_BYTES).every((byte) => byte === 0))
})

test('send() and receive() keep the holes of a file, and make new ones where old data lay', async (t) => {
  const folder = await tempDir(t)
  const content = Buffer.alloc(6 * MiB)
  noise(MiB, 5).copy(content, 2 * MiB)
  const path = join(folder, 'disk')
  writeFileSync(path, noise(content.length, 6))
  truncateSync(path, content.length)
  {
    await using sink = await openSink(fileUrl(path))
    await transfer({ source: sourceOf(content, 'whole'), sink })
    const back = Buffer.alloc(content.length)
    await sink.read(back, 0)
    t.true(back.equals(content))
    const extents = []
    for await (const extent of sink.written(0, content.length)) extents.push(extent)
    t.deepEqual(extents, [{ offset: 2 * MiB, length: MiB }])
  }
})

test('send() fails with the error of the source and its offset', async (t) => {
  const content = noise(6 * MiB, 7)
  const source = sourceOf(content, 'whole')
  const broken = {
    ...source,
    read: (target: Uint8Array, offset: number) => {
      if (offset >= 5 * MiB) throw new FluidError('SOURCE_READ', 'The disk is broken', { offset })
      return source.read(target, offset)
    },
  }
  const bytes = Buffer.alloc(content.length)
  const error = await t.throwsAsync<FluidError>(transfer({ source: broken, sink: createMemorySink(bytes) }))
  t.is(error?.code, 'SOURCE_READ')
  t.is(error.details.offset, 5 * MiB)
})

test('receive() fails with the error of the sink', async (t) => {
  const content = noise(9 * MiB, 8)
  const error = await t.throwsAsync<FluidError>(
    transfer({
      source: sourceOf(content, 'whole'),
      sink: createMemorySink(Buffer.alloc(content.length), { capacityBytes: 5 * MiB }),
    }),
  )
  t.is(error?.code, 'NO_SPACE')
})

test('receive() begins the next writes while the ones before are under way, and tells a window when all of it is there', async (t) => {
  const content = noise(3 * WINDOW_BYTES, 12)
  const bytes = new Uint8Array(content.length)
  const inner = createMemorySink(bytes)
  let begun = 0
  let ended = 0
  let most = 0
  const sink: Sink = {
    ...inner,
    async write(chunk, offset) {
      most = Math.max(most, ++begun - ended)
      // Long enough for more to be begun than may.
      for (let turn = 0; begun - ended <= WRITES_UNDER_WAY && turn < 300; turn++)
        await new Promise((resolve) => setImmediate(resolve))
      await inner.write(chunk, offset)
      ended++
    },
  }
  const source = sourceOf(content, 'whole')
  const onPlaced = ({ start, end }: Range) =>
    t.is(Buffer.compare(bytes.subarray(start, end), content.subarray(start, end)), 0)
  await transfer({ source, sink, onPlaced })
  t.is(Buffer.compare(bytes, content), 0)
  t.is(most, WRITES_UNDER_WAY)
})

test('receive() fails with the error of a write that comes while nothing else does', async (t) => {
  const content = noise(MiB / 2, 13)
  const sink = createMemorySink(new Uint8Array(content.length))
  const write = async () => {
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
    throw new FluidError('TARGET_WRITE', 'The disk is gone')
  }
  const source = sourceOf(content, 'whole')
  await t.throwsAsync(transfer({ source, sink: { ...sink, write } }), { code: 'TARGET_WRITE' })
})

test('receive() that fails leaves no write under way, also of a frame of which another write fails at once', async (t) => {
  const content = Buffer.concat([noise(MiB / 4, 14), Buffer.alloc(MiB / 4), noise(MiB / 4, 15)])
  let underWay = 0
  const sink: Sink = {
    ...createMemorySink(new Uint8Array(content.length)),
    write(_chunk, offset) {
      if (offset > 0) throw new FluidError('NO_SPACE', 'The target is full')
      underWay++
      return (async () => {
        for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
        underWay--
      })()
    },
  }
  await t.throwsAsync(transfer({ source: sourceOf(content, 'blocks'), sink }), { code: 'NO_SPACE' })
  t.is(underWay, 0)
})

test('send() and receive() both fail when the line is cut, at any byte, and never tell a window that is not there', async (t) => {
  const content = Buffer.concat([noise(6 * MiB, 9), prose(3 * MiB, 10)])
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 6 * MiB }), async (cutAfterBytes) => {
      const bytes = Buffer.alloc(content.length)
      const sink = createMemorySink(bytes)
      const error = await t.throwsAsync<FluidError>(
        transfer({
          source: sourceOf(content, 'whole'),
          sink,
          onLanes: (lanes) => (lanes.cutAfterBytes = cutAfterBytes),
        }),
      )
      t.is(error?.code, 'LANE_FAILED')
      // What lies there after the cut is found again in place: only the rest travels.
      const moved = await transfer({ source: sourceOf(content, 'whole'), sink })
      t.true(bytes.equals(content))
      t.true(
        moved.sentBytes <= content.length - Math.max(0, cutAfterBytes - 5.5 * MiB),
        `${moved.sentBytes} bytes were sent again`,
      )
    }),
    { numRuns: 6, includeErrorInReport: true },
  )
})

test('receive() writes what it verified, while another lane of the thread decodes', async (t) => {
  const content = prose(6 * WINDOW_BYTES, 11)
  const bytes = new Uint8Array(content.length)
  const inner = createMemorySink(bytes)
  // Between digest and write every lane gets its turn.
  const sink: Sink = {
    ...inner,
    async write(chunk, offset) {
      await new Promise((resolve) => setImmediate(resolve))
      await inner.write(chunk, offset)
    },
  }
  await transfer({ source: sourceOf(content, 'whole'), sink, lanes: 3, compression: 'on' })
  t.is(Buffer.compare(bytes, content), 0)
})

test('send() sends the first chunks of a lane before they are wanted, and not again; receive() takes no more than it said', async (t) => {
  const content = noise(6 * MiB, 41)
  const bytes = Buffer.from(content)
  const source = sourceOf(content, 'whole')
  // All of it is there already: what travels was not asked for.
  const moved = await transfer({ source, sink: createMemorySink(bytes), unaskedBytes: UNASKED_BYTES })
  t.true(bytes.equals(content))
  t.true(moved.sentBytes > 0 && moved.sentBytes <= UNASKED_BYTES, `${moved.sentBytes} bytes`)
  t.is(moved.receivedBytes, moved.sentBytes)
  const greedy = { source, sink: createMemorySink(bytes), unaskedBytes: UNASKED_BYTES }
  const error = await t.throwsAsync<FluidError>(transfer({ ...greedy, takenUnaskedBytes: 1000 }))
  t.is(error?.code, 'PROTOCOL_VIOLATION')
})
