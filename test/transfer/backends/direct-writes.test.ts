import { closeSync, constants, openSync } from 'node:fs'
import { open, readFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { openDirectWrites, writesDirectly } from '../../../transfer/backends/direct-writes.ts'
import { openRawSink } from '../../../transfer/backends/raw.ts'
import { DIRECT_BYTES, DirectMemory } from '../../../transfer/direct-memory.ts'
import { cachedBytes, hasProgram, noSmallFileSystems, smallFileSystem } from '../../helpers/programs.ts'
import { slowDisk } from '../../helpers/slow-disk.ts'
import { randomNumbers } from '../../helpers/sparse-content.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const missing = noSmallFileSystems() ?? (hasProgram('fincore') ? undefined : 'needs fincore')
const test = missing === undefined ? anyTest.serial : anyTest.skip
const why = missing === undefined ? '' : ` (${missing})`

const KiB = 1024
const MiB = 1024 * KiB
const PAGE_BYTES = 4096

test(`a long piece goes past the page cache, but for the blocks that it does not fill${why}`, async (t) => {
  await using file = await fileOf(t, await smallFileSystem(t, await tempDir(t), 32 * MiB), 8 * MiB)
  const writes = openDirectWrites(file.fd)
  const [first, second] = [piece(MiB, 1000, 1), piece(MiB, 2 * MiB, 2)]
  await Promise.all([writes.write(first, 1000), writes.write(second, 2 * MiB)])
  t.true((await cachedBytes(file.path)) <= 2 * PAGE_BYTES)
  const expected = Buffer.alloc(8 * MiB)
  expected.set(first, 1000)
  expected.set(second, 2 * MiB)
  t.true((await readFile(file.path)).equals(expected))
  writes.close()
})

test(`what is short, or lies otherwise in memory, is left to the cache${why}`, async (t) => {
  await using file = await fileOf(t, await smallFileSystem(t, await tempDir(t), 32 * MiB), 8 * MiB)
  const writes = openDirectWrites(file.fd)
  t.is(writes.write(piece(DIRECT_BYTES - 1, 0, 1), 0), undefined)
  t.is(writes.write(piece(MiB, 1, 1), 0), undefined)
  writes.close()
  t.is(writes.write(piece(MiB, 0, 1), 0), undefined, 'closed')
})

test(`forgetCached() leaves nothing of what is synced in the cache${why}`, async (t) => {
  const folder = await smallFileSystem(t, await tempDir(t), 32 * MiB)
  await using file = await fileOf(t, folder, 8 * MiB)
  await using sink = await openRawSink(file.path)
  const bytes = piece(MiB, 0, 3)
  await sink.write(bytes, 0)
  await sink.write(Buffer.alloc(100_000, 4), 2 * MiB)
  await sink.sync()
  t.true((await cachedBytes(file.path)) >= 96 * KiB)
  sink.forgetCached!()
  t.is(await cachedBytes(file.path), 0)
  const back = Buffer.alloc(MiB)
  await sink.read(back, 0)
  t.true(back.equals(bytes))
})

test(`pieces of all kinds, and zeros and reads between them, leave what was written last${why}`, async (t) => {
  const sizeBytes = 16 * MiB
  await using file = await fileOf(t, await smallFileSystem(t, await tempDir(t), 64 * MiB), sizeBytes)
  await using sink = await openRawSink(file.path)
  const expected = Buffer.alloc(sizeBytes)
  const random = randomNumbers(7)
  const below = (limit: number) => Math.floor(random() * limit)
  for (let round = 0; round < 60; round++) {
    // Those of a round do not touch each other, as those of windows do not.
    await Promise.all(
      Array.from({ length: 4 }, async (_, part) => {
        const start = part * 4 * MiB + below(3 * MiB)
        const lengthBytes = 1 + below(MiB)
        const bytes = piece(lengthBytes, below(4) === 0 ? start + 1 : start, round * 4 + part)
        if (below(8) === 0) {
          await sink.zero(start, lengthBytes)
          expected.fill(0, start, start + lengthBytes)
          return
        }
        await sink.write(bytes, start)
        expected.set(bytes, start)
        const back = Buffer.alloc(lengthBytes)
        await sink.read(back, start)
        t.true(back.equals(bytes))
      }),
    )
  }
  await sink.sync()
  sink.forgetCached!()
  t.true((await readFile(file.path)).equals(expected))
})

test(`a piece is whole where the disk is not prompt, too${why}`, async (t) => {
  await using file = await fileOf(t, await smallFileSystem(t, await tempDir(t), 32 * MiB), 8 * MiB)
  const writes = openDirectWrites(file.fd, undefined, slowDisk())
  const bytes = piece(MiB, 1000, 7)
  const writing = writes.write(bytes, 1000)
  await writing
  t.true((await readFile(file.path)).subarray(1000, 1000 + MiB).equals(bytes))
  await writes.idle()
  writes.close()
})

test(`a full disk is told with its offset${why}`, async (t) => {
  await using file = await fileOf(t, await smallFileSystem(t, await tempDir(t), 16 * MiB), 64 * MiB)
  const writes = openDirectWrites(file.fd)
  const fill = async () => {
    for (let at = 0; at < 64 * MiB; at += MiB) await writes.write(piece(MiB, at, 5), at)
  }
  const error = await t.throwsAsync(fill, { code: 'NO_SPACE' })
  t.true((error as unknown as { details: { offset: number } }).details.offset > 4 * MiB)
  await writes.idle()
  writes.close()
})

test(`where the system refuses a direct write, it and all that follow go through the cache${why}`, async (t) => {
  await using file = await fileOf(t, await smallFileSystem(t, await tempDir(t), 32 * MiB), 8 * MiB)
  // A file of the kernel that answers EINVAL, as devices with rules of their own do.
  const refusing = () => openSync('/proc/self/coredump_filter', constants.O_WRONLY)
  const writes = openDirectWrites(file.fd, refusing)
  const bytes = piece(MiB, 5000, 6)
  await writes.write(bytes, 5000)
  t.true((await readFile(file.path)).subarray(5000, 5000 + MiB).equals(bytes))
  t.is(writes.write(bytes, 5000), undefined)
  writes.close()
})

anyTest('tmpfs and other file systems without a disk have none', async (t) => {
  const memory = openSync('/dev/shm', constants.O_RDONLY)
  t.false(writesDirectly(memory))
  closeSync(memory)
})

interface TestFile extends AsyncDisposable {
  readonly path: string
  readonly fd: number
}

async function fileOf(t: ExecutionContext, folder: string, sizeBytes: number): Promise<TestFile> {
  const path = join(folder, 'disk.raw')
  const file: FileHandle = await open(path, 'w+')
  await file.truncate(sizeBytes)
  t.true(writesDirectly(file.fd))
  return { path, fd: file.fd, [Symbol.asyncDispose]: () => file.close() }
}

/** Of `lengthBytes`, in memory that lies as `offset` does. */
function piece(lengthBytes: number, offset: number, seed: number): Uint8Array {
  const bytes = new DirectMemory(lengthBytes + DIRECT_BYTES).take(lengthBytes, offset)
  return bytes.fill(1 + (seed % 255))
}
