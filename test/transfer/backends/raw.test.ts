import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readSync } from 'node:fs'
import { link, open, readFile, rename, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { openRawSink, openRawSource } from '../../../transfer/backends/raw.ts'
import { closesOnceSynced, testSink } from '../../conformance/sink.ts'
import { testSource } from '../../conformance/source.ts'
import { collect } from '../../helpers/collect.ts'
import { noLoopDevices, run } from '../../helpers/programs.ts'
import { writeSparse } from '../../helpers/sparse-content.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

testSource('raw', {
  async open(t, content) {
    const path = join(await tempDir(t), 'disk.raw')
    await writeSparse(path, content)
    return openRawSource(path)
  },
})

testSink('raw', {
  async create(t, sizeBytes) {
    const path = await emptyFile(t, sizeBytes)
    return { open: () => openRawSink(path) }
  },
})

test('openRawSource() finds the data in 1 TiB of hole without reading the hole', async (t) => {
  // Reading 1 TiB takes minutes on any disk.
  t.timeout(60_000)
  const path = await emptyFile(t, 2 ** 40)
  await using file = await open(path, 'r+')
  for (const offset of [5_000_000, 2 ** 33 + 12_345, 2 ** 40 - 1])
    await file.write(Buffer.from('x'), 0, 1, offset)
  await using source = await openRawSource(path)
  const extents = await collect(source.extents(0))
  t.is(extents.length, 3)
  t.true(extents[1].offset > 2 ** 33 && extents[1].offset <= 2 ** 33 + 12_345)
  t.is(extents[2].offset + extents[2].length, 2 ** 40)
  const last = Buffer.alloc(1)
  await source.read(last, 2 ** 40 - 1)
  t.is(last.toString(), 'x')
})

test('openRawSource() read() reports a source that was cut off, with the offset', async (t) => {
  const path = join(await tempDir(t), 'disk.raw')
  await writeFile(path, Buffer.alloc(1_000_000, 1))
  await using source = await openRawSource(path)
  await truncate(path, 600_000)
  const error = t.throws(() => source.read(Buffer.alloc(200_000), 500_000), { code: 'SOURCE_CHANGED' })
  t.is((error as unknown as { details: { offset: number } }).details.offset, 600_000)
})

test('openRawSource() extents() never takes what was cut off for a hole', async (t) => {
  const path = join(await tempDir(t), 'disk.raw')
  await writeFile(path, Buffer.alloc(1_000_000, 1))
  await using source = await openRawSource(path)
  await truncate(path, 600_000)
  await t.throwsAsync(collect(source.extents(0)), { code: 'SOURCE_CHANGED' })
})

test('openRawSource() fingerprint() differs after a write, a touch and a replacement', async (t) => {
  const folder = await tempDir(t)
  const path = join(folder, 'disk.raw')
  await writeFile(path, 'one')
  await using source = await openRawSource(path)
  const seen = new Set([await source.fingerprint()])
  await utimes(path, 1, 1)
  seen.add(await source.fingerprint())
  await writeFile(path, 'other')
  seen.add(await source.fingerprint())
  await writeFile(join(folder, 'new'), 'other')
  await rename(join(folder, 'new'), path)
  seen.add(await source.fingerprint())
  t.is(seen.size, 4)
})

test('openRawSource() reads nothing more once it is closed, whoever has its descriptor then', async (t) => {
  const folder = await tempDir(t)
  const [path, other] = [join(folder, 'disk'), join(folder, 'other')]
  await writeFile(path, 'disk')
  await writeFile(other, 'else')
  const source = await openRawSource(path)
  const others: number[] = []
  t.teardown(() => others.forEach((fd) => closeSync(fd)))
  const target = Buffer.alloc(4)
  const closing = source[Symbol.asyncDispose]()
  t.throws(() => source.read(target, 0), { code: 'INTERRUPTED' })
  await closing
  // One of these has the number that is free now.
  for (let i = 0; i < 64; i++) others.push(openSync(other, 'r'))
  t.throws(() => source.read(target, 0), { code: 'INTERRUPTED' })
  t.is(target.toString(), '\0\0\0\0')
})

test('openRawSink() touches nothing more once it is closed, whoever has its descriptor then', async (t) => {
  const folder = await tempDir(t)
  const [path, other] = [join(folder, 'disk'), join(folder, 'other')]
  await writeFile(path, 'disk')
  await writeFile(other, 'else')
  const sink = await openRawSink(path)
  await sink[Symbol.asyncDispose]()
  const others: number[] = []
  t.teardown(() => others.forEach((fd) => closeSync(fd)))
  for (let i = 0; i < 64; i++) others.push(openSync(other, 'r+'))
  const target = Buffer.alloc(4)
  t.throws(() => sink.read(target, 0), { code: 'INTERRUPTED' })
  t.throws(() => sink.write(Buffer.from('disk'), 0), { code: 'INTERRUPTED' })
  t.throws(() => sink.zero(0, 4), { code: 'INTERRUPTED' })
  await t.throwsAsync(sink.sync(), { code: 'INTERRUPTED' })
  t.is(target.toString(), '\0\0\0\0')
  t.is(await readFile(other, 'utf8'), 'else')
})

test('openRawSink() keeps its descriptor until what is being synced has reached the disk', async (t) => {
  await closesOnceSynced(t, await openRawSink(await emptyFile(t, 1 << 20)))
})

test('what looks for data in a file moves no descriptor once it is closed, whoever has it then', async (t) => {
  const folder = await tempDir(t)
  const [path, other] = [join(folder, 'disk'), join(folder, 'other')]
  const lengthBytes = 1 << 20
  for (const each of [path, other]) {
    await using file = await open(each, 'w')
    await file.truncate(lengthBytes)
    await file.write('else', lengthBytes / 2)
    await file.write('data', 0)
  }
  const [source, sink] = [await openRawSource(path), await openRawSink(path)]
  const looking = [source.extents(0), sink.written(0, lengthBytes)].map((found) =>
    found[Symbol.asyncIterator](),
  )
  const before = [source.extents(0), sink.written(0, lengthBytes)].map((found) =>
    found[Symbol.asyncIterator](),
  )
  for (const each of looking) await each.next()
  await Promise.all([source, sink].map((volume) => volume[Symbol.asyncDispose]()))
  const others = Array.from({ length: 64 }, () => openSync(other, 'r'))
  t.teardown(() => others.forEach((fd) => closeSync(fd)))
  for (const each of [...looking, ...before]) await t.throwsAsync(each.next(), { code: 'INTERRUPTED' })
  const first = Buffer.alloc(4)
  for (const fd of others) {
    readSync(fd, first)
    t.is(first.toString(), 'data')
  }
})

test('openRawSource() refuses what is not a regular file', async (t) => {
  const folder = await tempDir(t)
  execFileSync('mkfifo', [join(folder, 'pipe')])
  await t.throwsAsync(openRawSource(join(folder, 'pipe')), { code: 'SOURCE_MISSING' })
  await t.throwsAsync(openRawSource(folder), { code: 'SOURCE_MISSING' })
  await t.throwsAsync(openRawSource(join(folder, 'none')), { code: 'SOURCE_MISSING' })
})

test('openRawSink() never follows a symbolic link', async (t) => {
  const path = await emptyFile(t, 10)
  await symlink(path, `${path}.link`)
  await t.throwsAsync(openRawSink(`${path}.link`), { code: 'ELOOP' })
})

test('openRawSink() zero() gives the space back, and written() tells', async (t) => {
  const path = await emptyFile(t, 1 << 20)
  await using sink = await openRawSink(path)
  await sink.write(Buffer.alloc(1 << 20, 1), 0)
  await sink.zero(65_536, 917_504)
  const extents = await collect(sink.written(0, 1 << 20))
  t.deepEqual(extents, [
    { offset: 0, length: 65_536 },
    { offset: 983_040, length: 65_536 },
  ])
})

const full = noLoopDevices() === undefined ? test : test.skip
full(
  'openRawSink() write() reports a full disk with its offset, and goes on when there is room (needs root)',
  async (t) => {
    const folder = await tempDir(t)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder])
    try {
      const path = join(folder, 'disk.raw')
      await using file = await open(path, 'w')
      await file.truncate(4 << 20)
      await using sink = await openRawSink(path)
      await sink.write(Buffer.alloc(524_288, 1), 0)
      const error = await t.throwsAsync(async () => sink.write(Buffer.alloc(1 << 20, 2), 1 << 20), {
        code: 'NO_SPACE',
      })
      t.is((error as unknown as { details: { offset: number } }).details.offset, (1 << 20) + 524_288)
      await run('mount', ['-o', 'remount,size=8m', folder])
      await sink.write(Buffer.alloc(1 << 20, 2), 1 << 20)
      const back = Buffer.alloc(1 << 20)
      await sink.read(back, 1 << 20)
      t.true(back.every((byte) => byte === 2))
    } finally {
      await run('umount', [folder])
    }
  },
)

test('openRawSink() keeps one volume under two hard links', async (t) => {
  const path = await emptyFile(t, 100)
  await link(path, `${path}.other`)
  await using sink = await openRawSink(path)
  await using source = await openRawSource(`${path}.other`)
  await sink.write(Buffer.from('same'), 0)
  const back = Buffer.alloc(4)
  await source.read(back, 0)
  t.is(back.toString(), 'same')
})

async function emptyFile(t: ExecutionContext, sizeBytes: number): Promise<string> {
  const path = join(await tempDir(t), 'disk.raw')
  await using file = await open(path, 'w')
  await file.truncate(sizeBytes)
  return path
}
