import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import {
  chmod,
  link,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  stat,
  statfs,
  symlink,
  truncate,
  unlink,
  writeFile,
  type FileHandle,
} from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import anyTest from 'ava'
import { dropCachedPages } from '../../transfer/linux.ts'
import { openSink } from '../../transfer/open.ts'
import type { FileDestination } from '../../transfer/destination.ts'
import { checkSpace, openPlacement } from '../../transfer/placement.ts'
import { discardStaging, isPlaced } from '../../transfer/file-placement.ts'
import {
  losingFileSystem,
  hasProgram,
  loopDevice,
  nbdkit,
  noLoopDevices,
  noSmallFileSystems,
  run,
  smallFileSystem,
} from '../helpers/programs.ts'
import { sparseContent } from '../helpers/sparse-content.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const test = anyTest
const qemu = hasProgram('qemu-nbd') ? anyTest : anyTest.skip
const nbd = hasProgram('nbdkit') ? anyTest : anyTest.skip
const block = noLoopDevices() === undefined ? anyTest : anyTest.skip
const root = noLoopDevices() === undefined && hasProgram('mkfs.ext4') ? anyTest : anyTest.skip

const shared = noSmallFileSystems('xfs') === undefined ? anyTest : anyTest.skip

function raw(folder: string, name = 'disk.raw', more: Partial<FileDestination> = {}): FileDestination {
  return { kind: 'file', folder, name, format: 'raw', replace: false, ...more }
}

test('openPlacement() stages beside the destination and commit() puts it in place', async (t) => {
  const folder = await tempDir(t)
  const content = sparseContent(1_000_001, 41)
  const placement = await openPlacement(raw(folder, 'sub/disk.raw'), {
    job: 'j1',
    sizeBytes: content.length,
    lanes: 2,
  })
  t.false(placement.resumed)
  t.is(placement.previous, undefined)
  t.deepEqual(await readdir(join(folder, 'sub')), ['.disk.raw.j1.part'])
  t.is((await stat(join(folder, 'sub/.disk.raw.j1.part'))).mode & 0o777, 0o600)
  t.is(placement.sink.sizeBytes, content.length)
  await using lane = await openSink(placement.sinkUrl)
  await lane.write(content, 0)
  t.deepEqual(await placement.commit(), { path: join(folder, 'sub/disk.raw') })
  await placement[Symbol.asyncDispose]()
  await placement[Symbol.asyncDispose]()
  t.true((await readFile(join(folder, 'sub/disk.raw'))).equals(content))
  t.deepEqual(await readdir(join(folder, 'sub')), ['disk.raw'])
})

const FILE_MODES: readonly [fileMode: number | undefined, file: number, folder: number][] = [
  [undefined, 0o600, 0o2700],
  [0o640, 0o640, 0o2750],
  [0o660, 0o660, 0o2750],
  [0o644, 0o644, 0o2755],
]

for (const [fileMode, file, made] of FILE_MODES) {
  test(`commit() gives a file ${file.toString(8)} with fileMode ${fileMode?.toString(8)}, whatever the umask`, async (t) => {
    const folder = await tempDir(t)
    await chmod(folder, 0o2770)
    const options = { job: 'j', sizeBytes: 100, lanes: 1, fileMode }
    await using placement = await openPlacement(raw(folder, 'a/b/disk.raw'), options)
    const mode = async (path: string) => (await stat(join(folder, path))).mode & 0o7777
    t.is(await mode('a/b/.disk.raw.j.part'), 0o600)
    await placement.commit()
    t.is(await mode('a/b/disk.raw'), file)
    t.deepEqual([await mode('a'), await mode('a/b')], [made, made])
  })
}

test('openPlacement() sinkUrl opens in a worker thread', async (t) => {
  const folder = await tempDir(t)
  await using placement = await openPlacement(raw(folder), { job: 'j', sizeBytes: 100, lanes: 1 })
  const module = new URL('../../transfer/open.ts', import.meta.url).href
  const code = `(async () => {
    const { openSink } = await import('${module}')
    const sink = await openSink('${placement.sinkUrl}')
    await sink.write(Buffer.from('worker'), 50)
    await sink[Symbol.asyncDispose]()
    require('node:worker_threads').parentPort.postMessage('done')
  })()`
  const worker = new Worker(code, { eval: true })
  await new Promise((ok, no) => worker.once('message', ok).once('error', no))
  const back = Buffer.alloc(6)
  await placement.sink.read(back, 50)
  t.is(back.toString(), 'worker')
})

test('dispose keeps the staging, and the same job goes on with it', async (t) => {
  const folder = await tempDir(t)
  const options = { job: 'j2', sizeBytes: 50_000, lanes: 1 }
  const first = await openPlacement(raw(folder), options)
  await first.sink.write(Buffer.from('kept'), 40_000)
  await first[Symbol.asyncDispose]()
  const other = await openPlacement(raw(folder), { ...options, job: 'j3' })
  t.false(other.resumed)
  await other.discard()
  await using second = await openPlacement(raw(folder), options)
  t.true(second.resumed)
  t.is(second.identity, first.identity)
  const back = Buffer.alloc(4)
  await second.sink.read(back, 40_000)
  t.is(back.toString(), 'kept')
})

for (const inPlace of [false, true]) {
  test(`what is recorded of a job is forgotten before anything is staged anew${inPlace ? ' in place' : ''}`, async (t) => {
    const folder = await tempDir(t)
    await writeFile(join(folder, 'disk.raw'), 'old')
    const destination = raw(folder, 'disk.raw', { replace: true, inPlace })
    let begun = 0
    const beginAnew = async () => {
      t.deepEqual(await readdir(folder), ['disk.raw'])
      if (begun++ === 0) throw new Error('killed')
    }
    const options = { job: 'j', sizeBytes: 3, lanes: 1, beginAnew }
    await t.throwsAsync(openPlacement(destination, options), { message: 'killed' })
    await (await openPlacement(destination, options))[Symbol.asyncDispose]()
    t.is(begun, 2)
    await using resumed = await openPlacement(destination, options)
    t.true(resumed.resumed)
    t.is(begun, 2)
  })
}

test('discard() leaves nothing, twice, and at rest too', async (t) => {
  const folder = await tempDir(t)
  const options = { job: 'j4', sizeBytes: 50_000, lanes: 1 }
  const placement = await openPlacement(raw(folder), options)
  await placement.discard()
  await placement.discard()
  t.deepEqual(await readdir(folder), [])
  const disposed = await openPlacement(raw(folder), options)
  await disposed[Symbol.asyncDispose]()
  await disposed.discard()
  t.deepEqual(await readdir(folder), [])
  await (await openPlacement(raw(folder), options))[Symbol.asyncDispose]()
  await writeFile(join(folder, '.disk.raw.j4.new'), 'half made')
  await discardStaging(raw(folder), 'j4')
  await discardStaging(raw(folder), 'j4')
  await discardStaging(raw(folder, 'none/disk.raw'), 'j4')
  t.deepEqual(await readdir(folder), [])
})

test('openPlacement() makes the staging anew when it was killed while making it', async (t) => {
  const folder = await tempDir(t)
  await writeFile(join(folder, '.disk.raw.j5.new'), 'half made')
  await using placement = await openPlacement(raw(folder), { job: 'j5', sizeBytes: 100, lanes: 1 })
  t.false(placement.resumed)
  t.deepEqual(await readdir(folder), ['.disk.raw.j5.part'])
})

test('openPlacement() refuses an existing name unless it is to be replaced', async (t) => {
  const folder = await tempDir(t)
  const path = join(folder, 'disk.raw')
  await writeFile(path, 'old version')
  const options = { job: 'j6', sizeBytes: 3, lanes: 1 }
  await t.throwsAsync(openPlacement(raw(folder), options), { code: 'NAME_EXISTS' })
  t.deepEqual(await readdir(folder), ['disk.raw'])
  await using placement = await openPlacement(raw(folder, 'disk.raw', { replace: true }), options)
  t.is(placement.previous, path)
  await placement.sink.write(Buffer.from('new'), 0)
  t.is(await readFile(path, 'utf8'), 'old version', 'until commit')
  const placed = { identity: placement.identity, sizeBytes: 3 }
  t.false(await isPlaced(raw(folder), 'j6', placed))
  await placement.commit()
  t.is(await readFile(path, 'utf8'), 'new')
  t.true(await isPlaced(raw(folder), 'j6', placed))
})

test('isPlaced() takes no file of another size for the one that was staged', async (t) => {
  const folder = await tempDir(t)
  await writeFile(join(folder, 'disk.raw'), 'theirs')
  // As if the file system had given it the number of the one that was removed.
  const { dev, ino } = await stat(join(folder, 'disk.raw'))
  const identity = `${dev}:${ino}`
  t.false(await isPlaced(raw(folder), 'j', { identity, sizeBytes: 3 }))
  t.true(await isPlaced(raw(folder), 'j', { identity, sizeBytes: 6 }))
})

test('a rename that is a link and an unlink is finished when it was killed in its midst', async (t) => {
  const folder = await tempDir(t)
  const options = { job: 'j', sizeBytes: 3, lanes: 1 }
  const first = await openPlacement(raw(folder), options)
  await first[Symbol.asyncDispose]()
  const part = join(folder, '.disk.raw.j.part')
  await link(part, join(folder, '.disk.raw.j.new'))
  await using placement = await openPlacement(raw(folder), options)
  t.true(placement.resumed)
  t.deepEqual(await readdir(folder), ['.disk.raw.j.part'])
  await link(part, join(folder, 'disk.raw'))
  t.true(await isPlaced(raw(folder), 'j', { identity: placement.identity, sizeBytes: 3 }))
  t.deepEqual(await readdir(folder), ['disk.raw'])
})

test('isPlaced() has the name reach the disk before it tells of it', async (t) => {
  const folder = await tempDir(t)
  await writeFile(join(folder, 'disk.raw'), 'new')
  const { dev, ino } = await stat(join(folder, 'disk.raw'))
  const { ino: ofFolder } = await stat(folder)
  await using any = await open(folder)
  const handles = Object.getPrototypeOf(any) as FileHandle
  const { sync } = handles
  t.teardown(() => Object.assign(handles, { sync }))
  let synced = 0
  Object.assign(handles, {
    async sync(this: FileHandle) {
      await sync.call(this)
      if ((await this.stat()).ino === ofFolder) synced++
    },
  })
  t.true(await isPlaced(raw(folder), 'j', { identity: `${dev}:${ino}`, sizeBytes: 3 }))
  t.is(synced, 1)
})

test('commit() never replaces a file made meanwhile, and can be tried again', async (t) => {
  const folder = await tempDir(t)
  await using placement = await openPlacement(raw(folder), { job: 'j7', sizeBytes: 3, lanes: 1 })
  await placement.sink.write(Buffer.from('new'), 0)
  await writeFile(join(folder, 'disk.raw'), 'theirs')
  await t.throwsAsync(placement.commit(), { code: 'NAME_EXISTS' })
  t.is(await readFile(join(folder, 'disk.raw'), 'utf8'), 'theirs')
  await unlink(join(folder, 'disk.raw'))
  await placement.commit()
  t.is(await readFile(join(folder, 'disk.raw'), 'utf8'), 'new')
})

test('openPlacement() refuses what is not a file under the final name', async (t) => {
  const folder = await tempDir(t)
  await mkdir(join(folder, 'sub'))
  await symlink('/etc/passwd', join(folder, 'link'))
  const options = { job: 'j8', sizeBytes: 3, lanes: 1 }
  const replace = { replace: true }
  await t.throwsAsync(openPlacement(raw(folder, 'sub', replace), options), { code: 'NAME_EXISTS' })
  await t.throwsAsync(openPlacement(raw(folder, 'link', replace), options), { code: 'NAME_INVALID' })
  await t.throwsAsync(openPlacement(raw(folder, '../x'), options), { code: 'NAME_INVALID' })
  await t.throwsAsync(openPlacement(raw(folder), { ...options, job: '../x' }), { instanceOf: TypeError })
})

test('openPlacement() trusts no staging that someone tampered with', async (t) => {
  const [folder, outside] = [await tempDir(t), await tempDir(t)]
  const options = { job: 'j9', sizeBytes: 100, lanes: 1 }
  const part = join(folder, '.disk.raw.j9.part')
  const refused = { code: 'TARGET_WRITE', message: /Cannot resume/ }
  await writeFile(join(outside, 'victim'), Buffer.alloc(100, 7))
  await symlink(join(outside, 'victim'), part)
  await t.throwsAsync(openPlacement(raw(folder), options), refused)
  await unlink(part)
  await link(join(outside, 'victim'), part)
  await t.throwsAsync(openPlacement(raw(folder), options), refused)
  await unlink(part)
  await mkdir(part)
  await t.throwsAsync(openPlacement(raw(folder), options), refused)
  await rename(part, join(outside, 'folder'))
  await writeFile(part, Buffer.alloc(100))
  await truncate(part, 99)
  await t.throwsAsync(openPlacement(raw(folder), options), refused)
  t.true((await readFile(join(outside, 'victim'))).equals(Buffer.alloc(100, 7)))
})

test('openPlacement() takes names as long as the file system allows', async (t) => {
  const folder = await tempDir(t)
  const name = `${'ä'.repeat(125)}.raw`
  await using placement = await openPlacement(raw(folder, name), { job: 'j10', sizeBytes: 3, lanes: 1 })
  await placement.commit()
  t.deepEqual(await readdir(folder), [name])
})

test('openPlacement() leaves no descriptor open', async (t) => {
  const folder = await tempDir(t)
  const options = { job: 'j11', sizeBytes: 3, lanes: 1 }
  const held = () => readdirSync('/proc/self/fd').filter((fd) => pathOf(fd).startsWith(folder)).length
  await (await openPlacement(raw(folder), options))[Symbol.asyncDispose]()
  await (await openPlacement(raw(folder), options)).discard()
  await writeFile(join(folder, 'disk.raw'), '')
  await t.throwsAsync(openPlacement(raw(folder), options))
  t.is(held(), 0)
})

test('commit() lets go of the version it replaced', async (t) => {
  const folder = await tempDir(t)
  await writeFile(join(folder, 'disk.raw'), 'old')
  const placement = await openPlacement(raw(folder, 'disk.raw', { replace: true }), {
    job: 'j13',
    sizeBytes: 3,
    lanes: 1,
  })
  await placement.sink.write(Buffer.from('new'), 0)
  await placement.commit()
  await placement[Symbol.asyncDispose]()
  t.is(await readFile(join(folder, 'disk.raw'), 'utf8'), 'new')
  // In its own time: the space of a large one takes the kernel a while.
  while (readdirSync('/proc/self/fd').some((fd) => pathOf(fd).startsWith(folder))) await nextTurn()
  t.pass()
})

root('openPlacement() says that a file system cannot hold the size (needs root)', async (t) => {
  const folder = await tempDir(t)
  await using image = await open(join(folder, 'fs'), 'w')
  await image.truncate(16 << 20)
  await run('mkfs.ext4', ['-q', '-b', '1024', join(folder, 'fs')])
  await mkdir(join(folder, 'mnt'))
  await run('mount', ['-o', 'loop', join(folder, 'fs'), join(folder, 'mnt')])
  try {
    const options = { job: 'j12', sizeBytes: 2 ** 45, lanes: 1 }
    await t.throwsAsync(openPlacement(raw(join(folder, 'mnt')), options), { code: 'TOO_LARGE' })
    t.deepEqual(await readdir(join(folder, 'mnt')), ['lost+found'])
    await using placement = await openPlacement(raw(join(folder, 'mnt')), { ...options, sizeBytes: 64 << 20 })
    const fill = async () => {
      for (let offset = 0; offset < 64 << 20; offset += 1 << 20)
        await placement.sink.write(Buffer.alloc(1 << 20, 1), offset)
      await placement.sink.sync()
    }
    await t.throwsAsync(fill(), { code: 'NO_SPACE' })
    t.true(existsSync(join(folder, 'mnt/.disk.raw.j12.part')))
    await placement.discard()
  } finally {
    await run('umount', [join(folder, 'mnt')])
  }
})

test('checkSpace() compares with what is free', async (t) => {
  const folder = await tempDir(t)
  await t.notThrowsAsync(checkSpace(folder, 1))
  await t.throwsAsync(checkSpace(folder, 2 ** 52), {
    code: 'NO_SPACE',
    message: /needs 4503599627370496 bytes and .* has \d+ bytes free/,
  })
  await t.throwsAsync(checkSpace(join(folder, 'none'), 1), { code: 'TARGET_WRITE' })
})

qemu(
  'openPlacement() fills a qcow2 over many lanes, resumes it and puts it in place (needs qemu-utils)',
  async (t) => {
    const folder = await tempDir(t)
    const content = sparseContent(1_000_001, 42)
    const destination = raw(folder, 'disk.qcow2', { format: 'qcow2' })
    const options = { job: 'q1', sizeBytes: content.length, lanes: 3 }
    const first = await openPlacement(destination, options)
    t.false(first.resumed)
    t.true(first.sink.supports.zeroed && first.sink.supports.shared)
    t.is(first.sink.sizeBytes, 1_000_448)
    const half = 500_000
    const lanes = await Promise.all([1, 2, 3].map(() => openSink(first.sinkUrl)))
    await Promise.all(
      lanes.map(async (lane, i) =>
        lane.write(content.subarray((i * half) / 5, ((i + 1) * half) / 5), (i * half) / 5),
      ),
    )
    await first.sink.sync()
    await first[Symbol.asyncDispose]()
    for (const lane of lanes) await lane[Symbol.asyncDispose]()

    await using second = await openPlacement(destination, options)
    t.true(second.resumed)
    await second.sink.write(content.subarray((3 * half) / 5), (3 * half) / 5)
    t.deepEqual(await second.commit(), { path: join(folder, 'disk.qcow2') })
    t.deepEqual(await readdir(folder), ['disk.qcow2'])
    await run('qemu-img', ['check', '-f', 'qcow2', join(folder, 'disk.qcow2')])
    await run('qemu-img', ['convert', '-O', 'raw', join(folder, 'disk.qcow2'), join(folder, 'back')])
    t.true((await readFile(join(folder, 'back'))).subarray(0, content.length).equals(content))
  },
)

qemu('discard() of a qcow2 leaves nothing while lanes still hold it (needs qemu-utils)', async (t) => {
  const folder = await tempDir(t)
  const destination = raw(folder, 'disk.qcow2', { format: 'qcow2' })
  const placement = await openPlacement(destination, { job: 'q2', sizeBytes: 1 << 20, lanes: 1 })
  const lane = await openSink(placement.sinkUrl)
  await placement.discard()
  await t.throwsAsync(async () => lane.write(Buffer.from('late'), 0), { code: 'TARGET_WRITE' })
  await lane[Symbol.asyncDispose]()
  t.deepEqual(await readdir(folder), [])
})

root(
  'openPlacement() takes nothing for staged that the disk refused, whatever the page cache holds (needs root)',
  async (t) => {
    const mount = await losingFileSystem(t, await tempDir(t), 64 << 20)
    const options = { job: 'j1', sizeBytes: 8 << 20, lanes: 1 }
    await (await openPlacement(raw(mount), options))[Symbol.asyncDispose]()
    const part = join(mount, '.disk.raw.j1.part')
    {
      // An agent that is killed when it is told.
      await using file = await open(part, 'r+')
      await file.write(Buffer.alloc(options.sizeBytes, 7), 0, options.sizeBytes, 0)
      await t.throwsAsync(file.datasync())
    }
    await using placement = await openPlacement(raw(mount), options)
    t.true(placement.resumed)
    const staged = Buffer.alloc(options.sizeBytes)
    await placement.sink.read(staged, 0)
    dropCachedPages(part)
    t.true(staged.equals(await readFile(part)))
  },
)

block(
  'openPlacement() holds a block device alone, with room for lanes (needs root and loop devices)',
  async (t) => {
    const path = join(await tempDir(t), 'disk')
    await writeFile(path, Buffer.alloc(1 << 20, 0xff))
    const device = await loopDevice(t, path)
    const options = { job: 'b1', sizeBytes: 1_000_001, lanes: 1 }
    const placement = await openPlacement({ kind: 'block', path: device }, options)
    t.false(placement.sink.supports.zeroed)
    await t.throwsAsync(openPlacement({ kind: 'block', path: device }, options), { code: 'NAME_BUSY' })
    await using lane = await openSink(placement.sinkUrl)
    await lane.write(Buffer.from('lane'), 999_997)
    t.deepEqual(await placement.commit(), { path: device })
    await placement[Symbol.asyncDispose]()
    t.is((await readFile(path)).toString('latin1', 999_997, 1_000_001), 'lane')
    const large = { ...options, sizeBytes: (1 << 20) + 1 }
    await t.throwsAsync(openPlacement({ kind: 'block', path: device }, large), { code: 'NO_SPACE' })
    await t.throwsAsync(openPlacement({ kind: 'block', path }, options), { code: 'TARGET_WRITE' })
  },
)

nbd('openPlacement() writes to an NBD export (needs nbdkit)', async (t) => {
  const url = await nbdkit(t, ['memory', '1M'])
  await using placement = await openPlacement(
    { kind: 'nbd', url },
    { job: 'n1', sizeBytes: 1_000_001, lanes: 1 },
  )
  await using lane = await openSink(placement.sinkUrl)
  await lane.write(Buffer.from('lane'), 5)
  t.deepEqual(await placement.commit(), { path: url })
  await t.throwsAsync(openPlacement({ kind: 'nbd', url }, { job: 'n1', sizeBytes: 2 ** 30, lanes: 1 }), {
    code: 'NO_SPACE',
  })
})

function pathOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}

shared(
  'openPlacement() begins with the blocks of the version it replaces where files can share them (needs root)',
  async (t) => {
    const folder = await smallFileSystem(t, await tempDir(t), 400 << 20, 'xfs')
    const old = Buffer.alloc(8 << 20, 7)
    await writeFile(join(folder, 'disk.raw'), old)
    const options = { job: 'j1', sizeBytes: 6_000_000, lanes: 1 }
    const before = await statfs(folder)
    await using placement = await openPlacement(raw(folder, 'disk.raw', { replace: true }), options)
    t.true((before.bfree - (await statfs(folder)).bfree) * before.bsize < 1 << 20)
    const back = Buffer.alloc(options.sizeBytes)
    await placement.sink.read(back, 0)
    t.true(back.every((byte) => byte === 7))
    await placement.sink.write(Buffer.alloc(100_000, 8), 1_000_001)
    await placement.sink.zero(3_000_001, 100_000)
    await placement.sink.sync()
    t.true((await readFile(join(folder, 'disk.raw'))).equals(old))
    await placement.commit()
    const now = Buffer.alloc(options.sizeBytes, 7).fill(8, 1_000_001, 1_100_001).fill(0, 3_000_001, 3_100_001)
    t.true((await readFile(join(folder, 'disk.raw'))).equals(now))
  },
)
