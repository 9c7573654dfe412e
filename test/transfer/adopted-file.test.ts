import { constants } from 'node:fs'
import {
  appendFile,
  chmod,
  link,
  open,
  readFile,
  readdir,
  rename,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import type { FileDestination } from '../../transfer/destination.ts'
import { discardStaging, inPlaceBytes, isPlaced } from '../../transfer/file-placement.ts'
import { openSink } from '../../transfer/open.ts'
import { openPlacement } from '../../transfer/placement.ts'
import { createUndoLog, openUndoLog } from '../../transfer/undo-log.ts'
import { openUndoWriter } from '../../transfer/undo-writer.ts'
import { noSmallFileSystems, smallFileSystem } from '../helpers/programs.ts'
import { sparseContent } from '../helpers/sparse-content.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { noise } from '../helpers/volume.ts'

const JOB = 'j'
const OLD_MODE = 0o640
const PART = `.disk.raw.${JOB}.part`
const UNDO = `.disk.raw.${JOB}.undo`

function inPlace(folder: string): FileDestination {
  return { kind: 'file', folder, name: 'disk.raw', format: 'raw', replace: true, inPlace: true }
}

/** A version that lies there, the one that replaces it, and what is done with both. */
interface Trial {
  readonly folder: string
  readonly old: Buffer
  readonly new: Buffer
  readonly part: string
  readonly undo: string
  readonly final: string
  place(): ReturnType<typeof openPlacement>
  /** Writes the new version up to `end`, by way of a lane's sink. */
  write(sinkUrl: string, end?: number): Promise<void>
  readonly version: { sizeBytes: number; mode: number; inode: bigint }
}

async function trial(t: ExecutionContext, oldBytes = 3_000_001, newBytes = oldBytes): Promise<Trial> {
  const folder = await tempDir(t)
  const final = join(folder, 'disk.raw')
  const old = sparseContent(oldBytes, 7)
  const fresh = sparseContent(newBytes, 8)
  // The same in the middle: that is never written.
  old.copy(fresh, 500_000, 500_000, 900_000)
  await writeFile(final, old)
  await chmod(final, OLD_MODE)
  const { ino } = await stat(final, { bigint: true })
  return {
    folder,
    old,
    new: fresh,
    part: join(folder, PART),
    undo: join(folder, UNDO),
    final,
    version: { sizeBytes: oldBytes, mode: OLD_MODE, inode: ino },
    place: () => openPlacement(inPlace(folder), { job: JOB, sizeBytes: newBytes, lanes: 1 }),
    async write(sinkUrl, end = newBytes) {
      await using sink = await openSink(sinkUrl)
      for (const [from, to] of [
        [0, 500_000],
        [900_000, newBytes],
      ]) {
        if (from < end) await sink.write(fresh.subarray(from, Math.min(to, end)), from)
      }
    },
  }
}

const staged = (it: Trial, identity: string) => ({ identity, sizeBytes: it.new.length })

async function holds(t: ExecutionContext, { folder, final }: Trial, bytes: Buffer): Promise<void> {
  t.deepEqual(await readdir(folder), ['disk.raw'])
  t.true((await readFile(final)).equals(bytes))
  t.is((await stat(final)).mode & 0o7777, OLD_MODE)
}

test('commit() puts the version itself back, as the new one', async (t) => {
  const it = await trial(t)
  const { inode } = it.version
  await using placement = await it.place()
  t.false(placement.resumed)
  t.is(placement.previous, it.final)
  t.deepEqual((await readdir(it.folder)).sort(), [PART, UNDO])
  t.is((await stat(it.part)).mode & 0o777, 0o600)
  t.true((await readFile(placement.previousAt!)).equals(it.old))
  t.is(await inPlaceBytes(inPlace(it.folder), JOB), 0)
  await it.write(placement.sinkUrl)
  t.false(await isPlaced(inPlace(it.folder), JOB, staged(it, placement.identity)))
  t.deepEqual(await placement.commit(), { path: it.final })
  await holds(t, it, it.new)
  t.is((await stat(it.final, { bigint: true })).ino, inode)
  t.true(await isPlaced(inPlace(it.folder), JOB, staged(it, placement.identity)))
})

for (const [what, oldBytes, newBytes] of [
  ['grows', 1_000_000, 2_500_000],
  ['shrinks', 2_500_000, 1_000_000],
] as const) {
  test(`a version that ${what} is committed, and rolled back from every state`, async (t) => {
    const it = await trial(t, oldBytes, newBytes)
    const first = await it.place()
    await it.write(first.sinkUrl)
    await first.discard()
    await holds(t, it, it.old)
    const second = await it.place()
    await it.write(second.sinkUrl)
    await second.commit()
    await second[Symbol.asyncDispose]()
    await holds(t, it, it.new)
  })
}

/** What a crash leaves behind, in the order in which things are done. `ends`: what is there once the job is discarded. */
const CRASHES: readonly {
  readonly at: string
  readonly ends: 'old' | 'new'
  leave(it: Trial): Promise<void>
}[] = [
  {
    at: 'while the undo log is made',
    ends: 'old',
    leave: (it) => writeFile(join(it.folder, `.disk.raw.${JOB}.new`), 'half made'),
  },
  {
    at: 'before the version is renamed',
    ends: 'old',
    leave: (it) => createUndoLog(it.undo, it.version),
  },
  {
    at: 'in the midst of renaming the version, where that is a link and an unlink',
    ends: 'old',
    async leave(it) {
      await createUndoLog(it.undo, it.version)
      await link(it.final, it.part)
    },
  },
  {
    at: 'before the version is grown',
    ends: 'old',
    async leave(it) {
      await createUndoLog(it.undo, it.version)
      await rename(it.final, it.part)
    },
  },
  {
    at: 'before anything is saved',
    ends: 'old',
    leave: async (it) => await (await it.place())[Symbol.asyncDispose](),
  },
  {
    at: 'while old bytes are saved',
    ends: 'old',
    async leave(it) {
      await (await it.place())[Symbol.asyncDispose]()
      using log = openUndoWriter(it.undo)
      log.append(8192, 4096, (room) => void room.fill(1))
      const { size } = await stat(it.undo)
      await truncate(it.undo, size - 100)
    },
  },
  {
    at: 'while another lane goes on after old bytes were cut off',
    ends: 'old',
    async leave(it) {
      const placement = await it.place()
      await appendFile(it.undo, (await readFile(it.undo)).subarray(16, 32))
      await appendFile(it.undo, Buffer.alloc(5000, 1))
      await it.write(placement.sinkUrl, 1_000_000)
      await placement[Symbol.asyncDispose]()
    },
  },
  {
    at: 'while the version is overwritten',
    ends: 'old',
    async leave(it) {
      const placement = await it.place()
      await it.write(placement.sinkUrl, 1_200_000)
      await placement[Symbol.asyncDispose]()
    },
  },
  {
    at: 'when all is written',
    ends: 'old',
    leave: written,
  },
  {
    at: 'when the commit is decided',
    ends: 'new',
    async leave(it) {
      await written(it)
      await using log = await openUndoLog(it.undo)
      await log.decide('commit', it.new.length)
    },
  },
  {
    at: 'when the new version has its size',
    ends: 'new',
    async leave(it) {
      await written(it)
      await using log = await openUndoLog(it.undo)
      await log.decide('commit', it.new.length)
      await truncate(it.part, it.new.length)
    },
  },
  {
    at: 'when the new version has its name',
    ends: 'new',
    async leave(it) {
      await written(it)
      await using log = await openUndoLog(it.undo)
      await log.decide('commit', it.new.length)
      await truncate(it.part, it.new.length)
      await chmod(it.part, OLD_MODE)
      await rename(it.part, it.final)
    },
  },
  {
    at: 'in the midst of giving the new version its name',
    ends: 'new',
    async leave(it) {
      await written(it)
      await using log = await openUndoLog(it.undo)
      await log.decide('commit', it.new.length)
      await link(it.part, it.final)
    },
  },
  {
    at: 'in the midst of giving the old version its name back',
    ends: 'old',
    async leave(it) {
      await decidedBack(it)
      await link(it.part, it.final)
    },
  },
  {
    at: 'when the roll-back is decided',
    ends: 'old',
    leave: decidedBack,
  },
  {
    at: 'in the middle of the roll-back',
    ends: 'old',
    async leave(it) {
      await decidedBack(it)
      const file = await open(it.part, constants.O_RDWR)
      await file.write(it.old, 0, 300_000, 0)
      await file.close()
    },
  },
  {
    at: 'when the old version is whole again',
    ends: 'old',
    async leave(it) {
      await decidedBack(it)
      const file = await open(it.part, constants.O_RDWR)
      await file.write(it.old, 0, it.old.length, 0)
      await file.truncate(it.old.length)
      await file.close()
    },
  },
  {
    at: 'when the old version has its name',
    ends: 'old',
    async leave(it) {
      await decidedBack(it)
      await writeFile(it.part, it.old)
      await chmod(it.part, OLD_MODE)
      await rename(it.part, it.final)
    },
  },
]

async function written(it: Trial): Promise<void> {
  const placement = await it.place()
  await it.write(placement.sinkUrl)
  await placement[Symbol.asyncDispose]()
}

async function decidedBack(it: Trial): Promise<void> {
  await written(it)
  await using log = await openUndoLog(it.undo)
  await log.decide('roll-back')
}

for (const { at, ends, leave } of CRASHES) {
  for (const newBytes of [3_000_001, 2_000_000, 4_000_000]) {
    test(`killed ${at}, the job goes on to the new version of ${newBytes} bytes`, async (t) => {
      const it = await trial(t, 3_000_001, newBytes)
      await leave(it)
      await using placement = await it.place()
      await it.write(placement.sinkUrl)
      await placement.commit()
      await holds(t, it, it.new)
    })

    test(`killed ${at}, discarding leaves the ${ends} version; new: ${newBytes} bytes`, async (t) => {
      const it = await trial(t, 3_000_001, newBytes)
      await leave(it)
      await discardStaging(inPlace(it.folder), JOB)
      await discardStaging(inPlace(it.folder), JOB)
      await holds(t, it, it[ends])
    })
  }
}

test('isPlaced() finishes a commit that was decided, and takes no roll-back for one', async (t) => {
  const done = await trial(t)
  const placement = await done.place()
  await done.write(placement.sinkUrl)
  await placement[Symbol.asyncDispose]()
  t.false(await isPlaced(inPlace(done.folder), JOB, staged(done, placement.identity)))
  await using log = await openUndoLog(done.undo)
  await log.decide('commit', done.new.length)
  t.true(await isPlaced(inPlace(done.folder), JOB, staged(done, placement.identity)))
  await holds(t, done, done.new)
  const back = await trial(t)
  await decidedBack(back)
  const { ino, dev } = await stat(back.part)
  t.false(await isPlaced(inPlace(back.folder), JOB, staged(back, `${dev}:${ino}`)))
  await holds(t, back, back.old)
})

test('whatever several lanes write over and zero, discard() brings the old version back', async (t) => {
  const size = 9_000_000
  const range = fc.record({
    lane: fc.nat(2),
    zero: fc.boolean(),
    from: fc.nat(size - 1),
    length: fc.integer({ min: 1, max: 700_000 }),
    ahead: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(range, { maxLength: 25 }), async (writes) => {
      const it = await trial(t, 7_000_000, size)
      const placement = await it.place()
      const lanes = await Promise.all([0, 1, 2].map(() => openSink(placement.sinkUrl)))
      const expected = Buffer.concat([it.old], size)
      for (const [i, { lane, zero, from, length, ahead }] of writes.entries()) {
        const end = Math.min(size, from + length)
        if (ahead) lanes[lane].prepare!([{ start: from, end }])
        if (zero) {
          expected.fill(0, from, end)
          await lanes[lane].zero(from, end - from)
        } else {
          expected.fill(i + 1, from, end)
          await lanes[lane].write(expected.subarray(from, end), from)
        }
      }
      for (const lane of lanes) await lane[Symbol.asyncDispose]()
      t.true((await readFile(it.part)).equals(expected))
      await placement.discard()
      await holds(t, it, it.old)
    }),
    { numRuns: 15 },
  )
})

test('the undo log holds what was overwritten, and once', async (t) => {
  const it = await trial(t)
  const first = await it.place()
  const empty = (await stat(it.undo)).size
  await using lane = await openSink(first.sinkUrl)
  await lane.write(Buffer.alloc(8192, 1), 500_000)
  const once = (await stat(it.undo)).size
  t.true(once - empty <= 3 * 4096 + 3 * 48, `${once - empty}`)
  await lane.write(Buffer.alloc(8192, 2), 500_000)
  t.is((await stat(it.undo)).size, once)
  await first[Symbol.asyncDispose]()
  // Nor by a later attempt, also after a crash.
  await using second = await it.place()
  await using late = await openSink(second.sinkUrl)
  await late.write(Buffer.alloc(8192, 3), 500_000)
  t.is((await stat(it.undo)).size, once)
})

test('an adopted file and its undo log are touched no more once they are closed, whoever has their descriptors', async (t) => {
  const it = await trial(t)
  await using placed = await it.place()
  const lane = await openSink(placed.sinkUrl)
  const other = join(it.folder, 'other')
  await writeFile(other, it.old)
  const closing = lane[Symbol.asyncDispose]()
  const touch = () => {
    t.throws(() => lane.prepare!([{ start: 0, end: 8192 }]), { code: 'INTERRUPTED' })
    t.throws(() => lane.write(Buffer.alloc(8192), 0), { code: 'INTERRUPTED' })
    t.throws(() => lane.zero(0, 8192), { code: 'INTERRUPTED' })
  }
  touch()
  await closing
  // One of these has the number that the log had.
  const others = await Promise.all(Array.from({ length: 64 }, () => open(other, 'r+')))
  try {
    touch()
    t.true((await readFile(other)).equals(it.old))
  } finally {
    await Promise.all(others.map((file) => file.close()))
  }
})

test('old bytes that reached the disk in part are saved again before they are overwritten', async (t) => {
  const it = await trial(t)
  const first = await it.place()
  const empty = (await stat(it.undo)).size
  const lane = await openSink(first.sinkUrl)
  lane.prepare!([{ start: 0, end: 500_000 }])
  await lane[Symbol.asyncDispose]()
  await first[Symbol.asyncDispose]()
  // The page with the header did, and not the one with the rest: the write that waits for it is never made.
  await using log = await open(it.undo, 'r+')
  await log.write(Buffer.alloc(4096, 1), 0, 4096, empty + 4096)
  const second = await it.place()
  await it.write(second.sinkUrl)
  await second[Symbol.asyncDispose]()
  await discardStaging(inPlace(it.folder), JOB)
  await holds(t, it, it.old)
})

test('what cannot be adopted is staged beside it, and it is told why', async (t) => {
  const it = await trial(t)
  t.true(((await inPlaceBytes(inPlace(it.folder))) as number) >= it.old.length)
  await using reader = await open(it.final, 'r')
  t.regex(String(await inPlaceBytes(inPlace(it.folder))), /has it open/)
  const busy = await it.place()
  t.regex(busy.obstacle!, /has it open/)
  t.deepEqual((await readdir(it.folder)).sort(), [PART, 'disk.raw'])
  await reader.close()
  await busy.discard()
  await link(it.final, join(it.folder, 'other'))
  t.regex(String(await inPlaceBytes(inPlace(it.folder))), /other names/)
  const linked = await it.place()
  t.regex(linked.obstacle!, /other names/)
  t.is(linked.previous, it.final)
  await linked.discard()
  t.true((await readFile(it.final)).equals(it.old))
  t.regex(String(await inPlaceBytes({ ...inPlace(it.folder), name: 'sub/none.raw' })), /no version/)
  t.regex(String(await inPlaceBytes({ ...inPlace(it.folder), format: 'qcow2' })), /only raw/)
})

test('a name that was taken meanwhile is left alone, and the old version kept', async (t) => {
  const it = await trial(t)
  await using placement = await it.place()
  await it.write(placement.sinkUrl)
  await writeFile(it.final, 'theirs')
  await t.throwsAsync(placement.commit(), { code: 'NAME_EXISTS' })
  await t.throwsAsync(placement.discard(), { code: 'NAME_EXISTS' })
  t.is(await readFile(it.final, 'utf8'), 'theirs')
  t.true((await readFile(it.part)).equals(it.old))
  await rename(it.final, join(it.folder, 'theirs'))
  await discardStaging(inPlace(it.folder), JOB)
  t.true((await readFile(it.final)).equals(it.old))
  t.deepEqual((await readdir(it.folder)).sort(), ['disk.raw', 'theirs'])
})

test('a file that is not the one the undo log belongs to is never touched', async (t) => {
  const it = await trial(t)
  await (await it.place())[Symbol.asyncDispose]()
  await rename(it.part, join(it.folder, 'aside'))
  await writeFile(it.part, it.new)
  await t.throwsAsync(it.place(), { code: 'TARGET_WRITE', message: /another file/ })
  await t.throwsAsync(discardStaging(inPlace(it.folder), JOB), { code: 'TARGET_WRITE' })
  t.true((await readFile(it.part)).equals(it.new))
  t.deepEqual((await readdir(it.folder)).sort(), [PART, UNDO, 'aside'])
})

const full = noSmallFileSystems() === undefined ? test : test.skip

full('a disk too full for what is overwritten gives the old version back (needs root)', async (t) => {
  const folder = await smallFileSystem(t, await tempDir(t), 24 << 20)
  const path = join(folder, 'disk.raw')
  const old = noise(14 << 20, 1)
  await writeFile(path, old)
  const placement = await openPlacement(inPlace(folder), { job: JOB, sizeBytes: old.length, lanes: 1 })
  await using lane = await openSink(placement.sinkUrl)
  const fresh = noise(old.length, 2)
  const error = await t.throwsAsync(async () => {
    for (let at = 0; at < fresh.length; at += 1 << 20)
      await lane.write(fresh.subarray(at, at + (1 << 20)), at)
  })
  t.like(error, { code: 'NO_SPACE' })
  await placement.discard()
  t.true((await readFile(path)).equals(old))
  t.false((await readdir(folder)).some((name) => name.startsWith('.')))
})

test('a damaged undo log stops everything, and removes nothing', async (t) => {
  const it = await trial(t)
  await (await it.place())[Symbol.asyncDispose]()
  const log = await open(it.undo, 'r+')
  await log.write(Buffer.from('?'), 0, 1, 33)
  await log.close()
  await t.throwsAsync(it.place(), { code: 'TARGET_WRITE', message: /undo log/ })
  await t.throwsAsync(discardStaging(inPlace(it.folder), JOB), { code: 'TARGET_WRITE' })
  t.deepEqual((await readdir(it.folder)).sort(), [PART, UNDO])
})
