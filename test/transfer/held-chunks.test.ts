import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { digestPosition, entryCount } from '../../protocol/manifest.ts'
import { createMemorySink } from '../../transfer/backends/memory.ts'
import { openChunkIndex, type ChunkIndex } from '../../transfer/chunk-index.ts'
import { createHeldChunks } from '../../transfer/held-chunks.ts'
import { openWindow, type OpenWindow } from '../../transfer/open-window.ts'
import { createRecentTable, openRecentTable } from '../../transfer/recent-chunks.ts'
import type { Sink } from '../../transfer/sink.ts'
import { eventually } from '../helpers/eventually.ts'
import { entriesOf } from '../helpers/rogue-lane.ts'
import { stateLevel } from '../helpers/state-level.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { noise } from '../helpers/volume.ts'

const MINE = '00000000000000a1'
const THEIRS = '00000000000000a2'
const CHUNK = 32_768
const SIZE = 20 * CHUNK
const content = noise(SIZE, 1)

const chunkOf = (i: number) => content.subarray(i * CHUNK, (i + 1) * CHUNK)

/** Entries of `content` for the chunks named, each at its own place. */
function entriesFor(chunks: readonly number[]): Uint8Array {
  return entriesOf(chunks.map((i) => ({ offset: i * CHUNK, bytes: chunkOf(i) })))
}

const ALL = Array.from({ length: 20 }, (_, i) => i)

interface Watched {
  readonly sink: Sink
  readonly bytes: Buffer
  /** [offset, length] of what was written and zeroed. */
  readonly written: [number, number][]
  readonly zeroed: [number, number][]
}

function watchedSink(bytes = Buffer.alloc(SIZE)): Watched {
  const written: [number, number][] = []
  const zeroed: [number, number][] = []
  const inner = createMemorySink(bytes)
  const sink: Sink = {
    ...inner,
    write(chunk, offset) {
      written.push([offset, chunk.length])
      return inner.write(chunk, offset)
    },
    zero(offset, lengthBytes) {
      zeroed.push([offset, lengthBytes])
      return inner.zero(offset, lengthBytes)
    },
  }
  return { sink, bytes, written, zeroed }
}

const table = () => openRecentTable(createRecentTable(1024))

async function fill(
  { sink }: Watched,
  window: OpenWindow,
  chunks?: ChunkIndex,
  scopes = [MINE],
): Promise<void> {
  await using held = createHeldChunks(sink, table(), chunks && { chunks, scopes })
  await held.fill(window)
}

/** Every chunk is either missing, or there. */
function sound(t: ExecutionContext, { bytes }: Watched, window: OpenWindow, chunks: readonly number[]): void {
  t.is(
    window.missing.reduce((sum, one) => sum + one, 0),
    window.missingCount,
  )
  for (const [entry, chunk] of chunks.entries()) {
    const [from, to] = [chunk * CHUNK, (chunk + 1) * CHUNK]
    if (!window.missing[entry])
      t.true(bytes.subarray(from, to).equals(content.subarray(from, to)), `chunk ${chunk}`)
  }
}

async function indexed(t: ExecutionContext): Promise<{ chunks: ChunkIndex; path: string }> {
  const chunks = openChunkIndex((await stateLevel(t)).level)
  const path = join(await tempDir(t), 'seed')
  writeFileSync(path, content)
  await chunks.add(MINE, await chunks.numberOf(path), entriesFor(ALL))
  return { chunks, path }
}

test('fill() does not write again what lies at its place, and finds what does not', async (t) => {
  const target = watchedSink(Buffer.from(content))
  target.bytes[3 * CHUNK + 5] ^= 1
  const window = openWindow(1, 0, SIZE, entriesFor(ALL))
  await fill(target, window)
  t.deepEqual(target.written, [])
  t.deepEqual(
    [...window.missing.keys()].filter((i) => window.missing[i]),
    [3],
  )
  t.is(window.missingCount, 1)
})

test('fill() makes holes of what the window leaves out, wherever data lies there', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.subarray(ALL), fc.subarray(ALL), async (entries, lying) => {
      const target = watchedSink()
      // Where data lies it is the content, so that what an entry covers is right, and what none covers is wrong.
      for (const i of lying) content.copy(target.bytes, i * CHUNK, i * CHUNK, (i + 1) * CHUNK)
      const window = openWindow(1, 0, SIZE, entriesFor(entries))
      await fill(target, window)
      sound(t, target, window, entries)
      for (const i of ALL) {
        const there = target.bytes.subarray(i * CHUNK, (i + 1) * CHUNK)
        const stays = entries.includes(i) && lying.includes(i)
        t.true(
          stays
            ? there.equals(content.subarray(i * CHUNK, (i + 1) * CHUNK))
            : there.every((byte) => byte === 0),
          `chunk ${i}`,
        )
      }
      t.is(window.missingCount, entries.filter((i) => !lying.includes(i)).length)
      t.deepEqual(target.written, [])
    }),
    { numRuns: 60, includeErrorInReport: true },
  )
})

test('fill() touches nothing outside its window', async (t) => {
  const target = watchedSink(Buffer.from(noise(SIZE, 9)))
  const before = Buffer.from(target.bytes)
  await fill(target, openWindow(1, 4 * CHUNK, 8 * CHUNK, new Uint8Array()))
  t.true(target.bytes.subarray(4 * CHUNK, 8 * CHUNK).every((byte) => byte === 0))
  t.true(target.bytes.subarray(0, 4 * CHUNK).equals(before.subarray(0, 4 * CHUNK)))
  t.true(target.bytes.subarray(8 * CHUNK).equals(before.subarray(8 * CHUNK)))
})

test('fill() copies neighbours of an indexed file in one write', async (t) => {
  const { chunks } = await indexed(t)
  const target = watchedSink()
  const window = openWindow(1, 0, SIZE, entriesFor([0, 1, 2, 3, 9, 10, 17]))
  await fill(target, window, chunks)
  t.is(window.missingCount, 0)
  t.deepEqual(target.written, [
    [0, 4 * CHUNK],
    [9 * CHUNK, 2 * CHUNK],
    [17 * CHUNK, CHUNK],
  ])
  sound(t, target, window, [0, 1, 2, 3, 9, 10, 17])
})

test('fill() reads into no memory that a write still takes from, whichever writes take their time', async (t) => {
  const { chunks } = await indexed(t)
  const apart = [0, 1, 4, 7, 8, 9, 12, 15, 19]
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }), async (late) => {
      const target = watchedSink()
      const now = target.sink.write
      let writes = 0
      target.sink.write = (chunk, offset) =>
        late[writes++]
          ? new Promise<void>((done) => setImmediate(done)).then(() => now(chunk, offset))
          : now(chunk, offset)
      const window = openWindow(1, 0, SIZE, entriesFor(apart))
      await fill(target, window, chunks)
      t.is(window.missingCount, 0)
      sound(t, target, window, apart)
    }),
    { numRuns: 64, includeErrorInReport: true },
  )
})

test('fill() writes the matching parts of a run around one that changed', async (t) => {
  const { chunks, path } = await indexed(t)
  const changed = Buffer.from(content)
  changed[2 * CHUNK] ^= 1
  writeFileSync(path, changed)
  const target = watchedSink()
  const window = openWindow(1, 0, SIZE, entriesFor([0, 1, 2, 3, 4]))
  await fill(target, window, chunks)
  t.deepEqual(target.written, [
    [0, 2 * CHUNK],
    [3 * CHUNK, 2 * CHUNK],
  ])
  t.deepEqual([...window.missing], [0, 0, 1, 0, 0])
  sound(t, target, window, [0, 1, 2, 3, 4])
})

test('fill() looks only into the scopes it was given, the first that knows first', async (t) => {
  const { chunks } = await indexed(t)
  const target = watchedSink()
  const window = openWindow(1, 0, SIZE, entriesFor(ALL))
  await fill(target, window, chunks, [THEIRS])
  t.is(window.missingCount, 20)
  await fill(target, window, chunks, [THEIRS, MINE])
  t.is(window.missingCount, 0)
})

test('fill() no longer counts on a file that is gone: what another knows as well is taken from there', async (t) => {
  const { chunks, path } = await indexed(t)
  const other = join(await tempDir(t), 'other')
  writeFileSync(other, content)
  await chunks.add(THEIRS, await chunks.numberOf(other), entriesFor(ALL))
  rmSync(path)
  const target = watchedSink()
  await using held = createHeldChunks(target.sink, table(), { chunks, scopes: [MINE, THEIRS] })
  const [before, after] = [openWindow(1, 0, SIZE, entriesFor(ALL)), openWindow(2, 0, SIZE, entriesFor(ALL))]
  await held.fill(before)
  t.is(before.missingCount, 20)
  await held.fill(after)
  t.is(after.missingCount, 0)
  t.true(target.bytes.equals(content))
})

test('fill() uses what was placed elsewhere in this stream', async (t) => {
  const target = watchedSink()
  content.copy(target.bytes, 10 * CHUNK, 0, CHUNK)
  const entries = entriesFor([0])
  const recent = table()
  recent.put(entries, 12, 10 * CHUNK)
  const window = openWindow(1, 0, CHUNK, entries)
  await using held = createHeldChunks(target.sink, recent)
  await held.fill(window)
  t.is(window.missingCount, 0)
  t.deepEqual(target.written, [[0, CHUNK]])
})

test('fill() does not believe a place beyond the volume', async (t) => {
  const target = watchedSink()
  const entries = entriesFor([0])
  const recent = table()
  recent.put(entries, 12, SIZE - CHUNK + 1)
  const window = openWindow(1, 0, CHUNK, entries)
  await using held = createHeldChunks(target.sink, recent)
  await held.fill(window)
  t.is(window.missingCount, 1)
})

const stale: [string, (path: string) => void][] = [
  ['changed', (path) => writeFileSync(path, noise(SIZE, 2))],
  ['shifted by a byte', (path) => writeFileSync(path, Buffer.concat([Buffer.alloc(1), content]))],
  ['is gone', (path) => rmSync(path)],
  ['is empty', (path) => truncateSync(path, 0)],
  ['lost its end', (path) => truncateSync(path, 7 * CHUNK + 1)],
  [
    'grew and changed its beginning',
    (path) => (appendFileSync(path, content), writeFileSync(path, Buffer.alloc(99), { flag: 'r+' })),
  ],
  [
    'became a symbolic link to the same bytes',
    (path) => {
      renameSync(path, `${path}.away`)
      symlinkSync(`${path}.away`, path)
    },
  ],
  [
    'became a FIFO',
    (path) => {
      rmSync(path)
      execFileSync('mkfifo', [path])
    },
  ],
  [
    'became a folder',
    (path) => {
      rmSync(path)
      execFileSync('mkdir', [path])
    },
  ],
]

for (const [what, change] of stale) {
  test(`fill() never takes a wrong byte from an indexed file that ${what}`, async (t) => {
    const { chunks, path } = await indexed(t)
    change(path)
    const target = watchedSink()
    const window = openWindow(1, 0, SIZE, entriesFor(ALL))
    await fill(target, window, chunks)
    sound(t, target, window, ALL)
    t.true(window.missingCount > 0)
    if (what.includes('link')) t.is(window.missingCount, 20)
  })
}

test('fill() forgets what the index knows of the file that is updated in place, without reading it once more', async (t) => {
  const { chunks, path } = await indexed(t)
  const target = watchedSink(Buffer.from(content))
  for (const i of [3, 7]) target.bytes[i * CHUNK] ^= 1
  // Chunk 9 lies where chunk 10 was, as far as the index knows.
  await chunks.add(MINE, await chunks.numberOf(path), entriesOf([{ offset: 10 * CHUNK, bytes: chunkOf(9) }]))
  target.bytes[9 * CHUNK] ^= 1
  let read = 0
  const sink: Sink = {
    ...target.sink,
    former: path,
    read(into, offset) {
      read += into.length
      return target.sink.read(into, offset)
    },
  }
  const window = openWindow(1, 0, SIZE, entriesFor(ALL))
  await fill({ ...target, sink }, window, chunks)
  t.is(window.missingCount, 3)
  // Chunk 9 is looked for at two places.
  t.is(read, SIZE + CHUNK)
  const known = (i: number) => chunks.find(MINE, window.entries, digestPosition(i)) !== undefined
  await eventually(() => !known(3) || undefined)
  t.deepEqual([3, 7, 9, 2, 10].map(known), [false, false, false, true, true])
})

test('fill() never takes a wrong byte where the index names a file it has forgotten', async (t) => {
  const { chunks } = await indexed(t)
  await chunks.add(MINE, 4_000_000, entriesFor(ALL))
  const target = watchedSink()
  const window = openWindow(1, 0, SIZE, entriesFor(ALL))
  await fill(target, window, chunks)
  t.is(window.missingCount, 20)
})

test('fill() asks for what the sink cannot read back', async (t) => {
  const target = watchedSink(Buffer.from(content))
  const sink: Sink = { ...target.sink, read: () => Promise.reject(new Error('EIO')) }
  const window = openWindow(1, 0, SIZE, entriesFor(ALL))
  await fill({ ...target, sink }, window)
  t.is(window.missingCount, entryCount(window.entries))
})

test('fill() that goes on once all is closed opens nothing, and reads from nothing that was open', async (t) => {
  const { chunks, path } = await indexed(t)
  const target = watchedSink()
  const [reading, read] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  target.bytes.set(chunkOf(0))
  target.sink.read = () => {
    reading.resolve()
    return read.promise
  }
  const held = createHeldChunks(target.sink, table(), { chunks, scopes: [MINE] })
  await held.fill(openWindow(1, 10 * CHUNK, SIZE, entriesFor(ALL.slice(10))))
  const filling = held.fill(openWindow(2, 0, 10 * CHUNK, entriesFor(ALL.slice(0, 10))))
  await reading.promise
  await held[Symbol.asyncDispose]()
  read.resolve()
  await filling
  t.deepEqual(
    target.written.filter(([offset]) => offset < 10 * CHUNK),
    [],
  )
  const links = readdirSync('/proc/self/fd').map(linkOf)
  t.false(links.includes(path))
})

test('createHeldChunks() keeps few files open, and none once it is disposed', async (t) => {
  const chunks = openChunkIndex((await stateLevel(t)).level)
  const folder = await tempDir(t)
  for (const i of ALL) {
    const path = join(folder, `seed ${i}`)
    writeFileSync(path, content)
    await chunks.add(MINE, await chunks.numberOf(path), entriesFor([i]))
  }
  const open = () => readdirSync('/proc/self/fd').filter((fd) => linkOf(fd).startsWith(folder)).length
  const target = watchedSink()
  {
    await using held = createHeldChunks(target.sink, table(), { chunks, scopes: [MINE] })
    const window = openWindow(1, 0, SIZE, entriesFor(ALL))
    await held.fill(window)
    t.is(window.missingCount, 0)
    t.is(open(), 16)
  }
  t.is(open(), 0)
  t.true(target.bytes.equals(content))
})

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}
