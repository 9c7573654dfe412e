/** What every Cloud keeps to. A driver gives a stage for each test and gets a suite of ava tests. */
import { randomBytes } from 'node:crypto'
import { access, appendFile, readFile, rm, writeFile } from 'node:fs/promises'
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import type { Cloud, DiskSnapshot, Snapshot } from '../../agent/clouds/cloud.ts'
import type { Machine } from '../../protocol/machine.ts'
import { type Range, RangeSet } from '../../protocol/extent.ts'
import { openSource } from '../../transfer/open.ts'

/** An empty cloud of one test, and what the test does to it from outside. */
export interface CloudStage {
  /** Ends with the test, and so do its machines. */
  readonly cloud: Cloud
  /** Another driver of the same cloud, as after the death of the agent. */
  reopen(): Promise<Cloud>
  /** A machine to define, with two new disks of DISK_BYTES (ids vda and vdb) full of random bytes, and one read-only. */
  machine(name: string): Promise<Machine>
  /** Writes one byte value as the running machine would; only where the cloud is live. */
  write?(name: string, disk: string, range: Range, value: number): Promise<void>
  /** Names of whatever snapshots made and is still there: exports, nodes, bitmaps, jobs, files, processes. */
  leftovers(name: string): Promise<string[]>
}

export interface CloudUnderTest {
  open(t: ExecutionContext): Promise<CloudStage>
  readonly live: boolean
  /** True where a machine has one live snapshot at a time, whosever it is. */
  readonly oneAtATime?: boolean
  /** Why the suite cannot run here. */
  readonly skip?: string
}

export const DISK_BYTES = 4 << 20
const MiB = 1 << 20

/** Registers the suite under the name of the driver. */
export function testCloud(driver: string, { open, live, oneAtATime, skip }: CloudUnderTest): void {
  const declare = (
    test: TestFn,
    criterion: string,
    run: (t: ExecutionContext, stage: CloudStage) => Promise<void>,
  ) => {
    const title = `${driver} ${criterion}${skip === undefined ? '' : ` (${skip})`}`
    const runs = skip === undefined ? test : (test.skip as unknown as TestFn)
    runs(title, async (t) => run(t, await open(t)))
  }
  const test = (criterion: string, run: (t: ExecutionContext, stage: CloudStage) => Promise<void>) =>
    declare(anyTest, criterion, run)
  const liveTest = (criterion: string, run: (t: ExecutionContext, stage: LiveStage) => Promise<void>) => {
    if (live) test(criterion, async (t, stage) => run(t, liveStage(stage)))
  }

  test('define() keeps the machine as it was given, stopped', async (t, { cloud, machine }) => {
    t.deepEqual(await cloud.machines(), [])
    const two = await machine('two')
    const one = await machine('one')
    await cloud.define(two)
    await cloud.define(one)
    t.deepEqual(await cloud.machines(), ['one', 'two'])
    t.deepEqual(await cloud.machine('two'), two)
    t.deepEqual(await cloud.machine('one'), one)
    t.is(await cloud.state('two'), 'stopped')
  })

  test('define() refuses a name that is taken, and changes nothing', async (t, { cloud, machine }) => {
    const first = await machine('one')
    await cloud.define(first)
    await t.throwsAsync(cloud.define({ ...first, vcpus: 2 }), { code: 'CLOUD_FAILED' })
    t.deepEqual(await cloud.machine('one'), first)
  })

  test('define() refuses a disk that is not there', async (t, { cloud, machine }) => {
    const { disks, ...rest } = await machine('one')
    const gone = disks.map((disk) => ({ ...disk, path: `${disk.path}.gone` }))
    await t.throwsAsync(cloud.define({ ...rest, disks: gone }), { code: 'CLOUD_FAILED' })
    t.deepEqual(await cloud.machines(), [])
  })

  test('refuses machines that it does not know', async (t, { cloud }) => {
    const unknown = { code: 'MACHINE_UNKNOWN' }
    for (const name of ['none', '../none', '', 'x'.repeat(300)]) {
      await t.throwsAsync(cloud.machine(name), unknown)
      await t.throwsAsync(cloud.state(name), unknown)
      await t.throwsAsync(cloud.identity(name), unknown)
      await t.throwsAsync(cloud.snapshot(name, ownerId()), unknown)
      await t.throwsAsync(cloud.dirtyBytes(name, ownerId()), unknown)
      await t.throwsAsync(cloud.pause(name), unknown)
      await t.throwsAsync(cloud.resume(name), unknown)
      await t.throwsAsync(cloud.start(name), unknown)
      await t.throwsAsync(cloud.stop(name, { graceMs: 0 }), unknown)
      await t.notThrowsAsync(cloud.undefine(name, { disks: true }))
    }
    await t.notThrowsAsync(cloud.release(ownerId()))
  })

  test('start() and stop() are idempotent, and machines outlive the driver', async (t, stage) => {
    const { cloud, machine, reopen } = stage
    await cloud.define(await machine('one'))
    await cloud.stop('one', { graceMs: 0 })
    await cloud.start('one')
    await cloud.start('one')
    t.is(await cloud.state('one'), 'running')
    await cloud[Symbol.asyncDispose]()
    const next = await reopen()
    t.is(await next.state('one'), 'running')
    await next.start('one')
    await next.stop('one', { graceMs: 0 })
    await next.stop('one', { graceMs: 0 })
    t.is(await next.state('one'), 'stopped')
    await next.start('one')
    t.is(await next.state('one'), 'running')
  })

  test('pause() and resume() are idempotent where the cloud has them', async (t, {
    cloud,
    machine,
    reopen,
  }) => {
    await cloud.define(await machine('one'))
    if (!cloud.supports.pause) return void t.pass()
    await t.throwsAsync(cloud.pause('one'), { code: 'CLOUD_FAILED' })
    await cloud.start('one')
    await cloud.resume('one')
    await cloud.pause('one')
    await cloud.pause('one')
    t.is(await cloud.state('one'), 'paused')
    const next = await reopen()
    t.is(await next.state('one'), 'paused')
    await next.resume('one')
    await next.resume('one')
    t.is(await cloud.state('one'), 'running')
    await cloud.pause('one')
    await cloud.stop('one', { graceMs: 60_000 })
    t.is(await cloud.state('one'), 'stopped')
  })

  test('identity() tells a machine from another of its name, and its disks from others', async (t, stage) => {
    const { cloud, machine, reopen } = stage
    const one = await machine('one')
    await cloud.define(one)
    const before = await cloud.identity('one')
    t.true(before.length >= 2, 'one for each disk that may be written to')
    await cloud.start('one')
    await cloud.stop('one', { graceMs: 0 })
    const [vda] = one.disks
    await appendFile(vda.path, Buffer.alloc(512))
    t.deepEqual(await (await reopen()).identity('one'), before)
    const bytes = await readFile(vda.path)
    await cloud.undefine('one', { disks: false })
    await rm(vda.path)
    await writeFile(vda.path, bytes)
    await cloud.define(one)
    const after = await cloud.identity('one')
    t.is(after.length, before.length)
    t.false(after.every((mark) => before.includes(mark)))
    await rm(vda.path)
    const left = await cloud.identity('one')
    t.is(left.length, before.length - 1)
  })

  test('undefine() refuses a machine that runs', async (t, { cloud, machine }) => {
    const one = await machine('one')
    await cloud.define(one)
    await cloud.start('one')
    await t.throwsAsync(cloud.undefine('one', { disks: true }), { code: 'CLOUD_FAILED' })
    t.is(await cloud.state('one'), 'running')
    t.deepEqual(await cloud.machine('one'), one)
  })

  test('undefine() leaves the disks unless told to remove them', async (t, { cloud, machine }) => {
    const one = await machine('one')
    await cloud.define(one)
    await cloud.undefine('one', { disks: false })
    t.deepEqual(await cloud.machines(), [])
    for (const disk of one.disks) await t.notThrowsAsync(access(disk.path))
    await cloud.define(one)
    await cloud.undefine('one', { disks: true })
    await cloud.undefine('one', { disks: true })
    for (const { path, readOnly } of one.disks)
      if (!readOnly) await t.throwsAsync(access(path), { code: 'ENOENT' })
    await t.throwsAsync(cloud.machine('one'), { code: 'MACHINE_UNKNOWN' })
  })

  test('snapshot() of a stopped machine shows its disks, to several at once', async (t, stage) => {
    const { cloud, machine, leftovers } = stage
    const one = await machine('one')
    await cloud.define(one)
    {
      await using shown = await cloud.snapshot('one', ownerId())
      t.deepEqual(ids(shown), ['vda', 'vdb'])
      const twice = await Promise.all([...shown.disks, ...shown.disks].map(contentOf))
      t.true(twice[0].equals(twice[2]) && twice[1].equals(twice[3]))
      t.false(twice[0].equals(twice[1]))
      t.true(shown.disks.every((disk) => disk.sizeBytes === DISK_BYTES && disk.epoch !== ''))
    }
    t.deepEqual(await leftovers('one'), [])
    await cloud.start('one')
    t.is(await cloud.state('one'), 'running')
  })

  test('snapshot() of a paused machine shows its disks', async (t, { cloud, machine }) => {
    await cloud.define(await machine('one'))
    if (!cloud.supports.pause) return void t.pass()
    const owner = ownerId()
    const before = await imagesOf(await cloud.snapshot('one', owner))
    await cloud.start('one')
    await cloud.pause('one')
    const paused = await imagesOf(await cloud.snapshot('one', owner))
    t.true(before.every((image, index) => image.equals(paused[index])))
    t.is(await cloud.state('one'), 'paused')
    await cloud.release(owner)
  })

  test('calls reject at once with the reason of a signal that was aborted', async (t, { cloud, machine }) => {
    await cloud.define(await machine('one'))
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    await t.throwsAsync(cloud.snapshot('one', ownerId(), { signal }), { is: reason })
    await t.throwsAsync(cloud.start('one', { signal }), { is: reason })
    t.is(await cloud.state('one'), 'stopped')
  })

  if (!live) {
    test('snapshot() of a running machine is refused', async (t, { cloud, machine }) => {
      await cloud.define(await machine('one'))
      await cloud.start('one')
      await t.throwsAsync(cloud.snapshot('one', ownerId()), { code: 'CLOUD_FAILED' })
      t.is(await cloud.dirtyBytes('one', ownerId()), 0)
    })
  }

  liveTest('snapshot() shows all disks at one instant, whatever is written after', async (t, stage) => {
    const { cloud, write } = stage
    await stage.startOne()
    await write('one', 'vda', { start: 0, end: MiB }, 0xa1)
    await write('one', 'vdb', { start: MiB, end: 2 * MiB }, 0xa2)
    await using shown = await cloud.snapshot('one', ownerId())
    await write('one', 'vda', { start: 0, end: 2 * MiB }, 0xb1)
    await write('one', 'vdb', { start: 0, end: 2 * MiB }, 0xb2)
    const [vda, vdb] = await Promise.all(shown.disks.map(contentOf))
    t.true(isFilled(vda, { start: 0, end: MiB }, 0xa1))
    t.true(isFilled(vdb, { start: MiB, end: 2 * MiB }, 0xa2))
    t.false(isFilled(vda, { start: MiB, end: MiB + 4096 }, 0xb1))
    t.true((await Promise.all(shown.disks.map(contentOf))).every((image, i) => image.equals([vda, vdb][i])))
  })

  liveTest('snapshot() names everything written since the one before', async (t, stage) => {
    const { cloud } = stage
    await stage.startOne()
    const owner = ownerId()
    const replica = createReplica()
    await replica.take(await cloud.snapshot('one', owner))
    for (let round = 0; round < 4; round++) {
      await stage.scribble()
      const shown = await cloud.snapshot('one', owner)
      t.true(shown.disks.every((disk) => disk.dirty !== undefined && disk.epoch === replica.epoch(disk.disk)))
      // Written while it is read: the next one's.
      await stage.scribble()
      await replica.take(shown)
      t.true(replica.lastBytes < DISK_BYTES, `${replica.lastBytes} bytes are not all of it`)
    }
    await cloud.pause('one')
    await replica.take(await cloud.snapshot('one', owner))
    t.is(replica.whole, 1, 'all but the first told what is dirty')
    t.true(await replica.equals(await cloud.snapshot('one', ownerId())))
    await replica.take(await cloud.snapshot('one', owner))
    t.is(replica.lastBytes, 0)
    await cloud.release(owner)
  })

  liveTest('dirtyBytes() counts what was written since the last snapshot', async (t, stage) => {
    const { cloud, write } = stage
    await stage.startOne()
    const owner = ownerId()
    t.is(await cloud.dirtyBytes('one', owner), 0)
    await (await cloud.snapshot('one', owner))[Symbol.asyncDispose]()
    t.is(await cloud.dirtyBytes('one', owner), 0)
    await write('one', 'vda', { start: MiB, end: 2 * MiB }, 1)
    await write('one', 'vdb', { start: 0, end: MiB }, 2)
    const dirty = await cloud.dirtyBytes('one', owner)
    t.true(dirty >= 2 * MiB && dirty <= 3 * MiB, `${dirty} bytes`)
    await (await cloud.snapshot('one', owner))[Symbol.asyncDispose]()
    t.is(await cloud.dirtyBytes('one', owner), 0)
  })

  liveTest('snapshot() tracks for each owner alone', async (t, stage) => {
    const { cloud, write } = stage
    await stage.startOne()
    const [one, two] = [ownerId(), ownerId()]
    const [first, second] = [createReplica(), createReplica()]
    await first.take(await cloud.snapshot('one', one))
    await write('one', 'vda', { start: 0, end: MiB }, 3)
    await second.take(await cloud.snapshot('one', two))
    await write('one', 'vda', { start: 2 * MiB, end: 3 * MiB }, 4)
    await second.take(await cloud.snapshot('one', two))
    await cloud.release(two)
    await first.take(await cloud.snapshot('one', one))
    t.true(first.lastBytes >= 2 * MiB && second.lastBytes < 2 * MiB)
    t.is(first.whole, 1)
    t.true(await first.equals(await cloud.snapshot('one', ownerId())))
  })

  liveTest('snapshot() has another epoch after a restart of the machine', async (t, stage) => {
    const { cloud } = stage
    await stage.startOne()
    const owner = ownerId()
    const replica = createReplica()
    await replica.take(await cloud.snapshot('one', owner))
    await stage.scribble()
    await cloud.stop('one', { graceMs: 0 })
    await replica.take(await cloud.snapshot('one', owner))
    t.is(replica.whole, 2)
    await cloud.start('one')
    await stage.scribble()
    await replica.take(await cloud.snapshot('one', owner))
    t.is(replica.whole, 3)
    await stage.scribble()
    await replica.take(await cloud.snapshot('one', owner))
    t.is(replica.whole, 3)
    await cloud.pause('one')
    await replica.take(await cloud.snapshot('one', owner))
    t.true(await replica.equals(await cloud.snapshot('one', ownerId())))
  })

  liveTest('snapshot() loses no write when the agent dies while one is open', async (t, stage) => {
    await stage.startOne()
    const owner = ownerId()
    const replica = createReplica()
    await replica.take(await stage.cloud.snapshot('one', owner))
    await stage.scribble()
    // Opened and never disposed: nobody knows whether any of it was read.
    await stage.cloud.snapshot('one', owner)
    await stage.scribble()
    let next = await stage.reopen()
    await next.snapshot('one', owner)
    await stage.scribble()
    next = await stage.reopen()
    await next.pause('one')
    await replica.take(await next.snapshot('one', owner))
    t.true(await replica.equals(await next.snapshot('one', ownerId())))
  })

  liveTest('release() leaves nothing, and the machine as it is', async (t, stage) => {
    const { cloud, leftovers, reopen } = stage
    await stage.startOne()
    const owner = ownerId()
    await (await cloud.snapshot('one', owner))[Symbol.asyncDispose]()
    await stage.scribble()
    await cloud.snapshot('one', owner)
    t.not((await leftovers('one')).length, 0)
    const next = await reopen()
    await next.release(owner)
    await next.release(owner)
    t.deepEqual(await leftovers('one'), [])
    t.is(await next.state('one'), 'running')
    t.is(await next.dirtyBytes('one', owner), 0)
    await using again = await next.snapshot('one', owner)
    t.true(again.disks.every((disk) => disk.dirty === undefined))
    await next.release(owner)
    t.deepEqual(await leftovers('one'), [])
  })

  liveTest('release() of one owner leaves another its snapshot', async (t, stage) => {
    const { cloud } = stage
    await stage.startOne()
    const [one, two] = [ownerId(), ownerId()]
    await using kept = await cloud.snapshot('one', one)
    if (oneAtATime) await t.throwsAsync(cloud.snapshot('one', two), { code: 'CLOUD_FAILED' })
    else await cloud.snapshot('one', two)
    const before = await Promise.all(kept.disks.map(contentOf))
    await cloud.release(two)
    const after = await Promise.all(kept.disks.map(contentOf))
    t.true(before.every((image, index) => image.equals(after[index])))
  })
}

interface LiveStage extends CloudStage {
  write(name: string, disk: string, range: Range, value: number): Promise<void>
  /** Defines and starts machine `one`. */
  startOne(): Promise<void>
  /** A few writes at random places of both disks of `one`. */
  scribble(): Promise<void>
}

function liveStage(stage: CloudStage): LiveStage {
  const write = stage.write!
  return {
    ...stage,
    write,
    async startOne() {
      await stage.cloud.define(await stage.machine('one'))
      await stage.cloud.start('one')
    },
    async scribble() {
      for (const disk of ['vda', 'vdb', 'vda']) {
        const [at, length, value] = randomBytes(3)
        const start = Math.floor((at / 256) * (DISK_BYTES / 512)) * 512
        await write(
          'one',
          disk,
          { start, end: Math.min(DISK_BYTES, start + 512 * (1 + (length >> 2))) },
          value,
        )
      }
    },
  }
}

/** A copy that is kept by snapshots alone, as a relocation keeps it. */
function createReplica() {
  const copies = new Map<string, { epoch: string; image: Buffer }>()
  const replica = {
    /** Snapshots that had to be looked at from end to end. */
    whole: 0,
    /** Bytes that the last one named. */
    lastBytes: 0,
    epoch: (disk: string) => copies.get(disk)?.epoch,
    /** Reads what it has to of a snapshot, and disposes it. */
    async take(snapshot: Snapshot): Promise<void> {
      await using shown = snapshot
      replica.lastBytes = 0
      let whole = false
      for (const disk of shown.disks) {
        const image = await contentOf(disk)
        const known = copies.get(disk.disk)
        if (!known || known.epoch !== disk.epoch || !disk.dirty) {
          whole = true
          copies.set(disk.disk, { epoch: disk.epoch, image })
          continue
        }
        const dirty = new RangeSet(disk.dirty)
        replica.lastBytes += dirty.totalBytes
        for (const { start, end } of dirty) image.copy(known.image, start, start, end)
      }
      if (whole) replica.whole++
    },
    /** True when it is what a snapshot, which it disposes, shows. */
    async equals(snapshot: Snapshot): Promise<boolean> {
      await using shown = snapshot
      const images = await Promise.all(shown.disks.map(contentOf))
      return shown.disks.every(({ disk }, index) => copies.get(disk)?.image.equals(images[index]))
    },
  }
  return replica
}

function ownerId(): string {
  return randomBytes(16).toString('hex')
}

function ids(snapshot: Snapshot): string[] {
  return snapshot.disks.map(({ disk }) => disk)
}

async function imagesOf(snapshot: Snapshot): Promise<Buffer[]> {
  await using shown = snapshot
  return await Promise.all(shown.disks.map(contentOf))
}

/** All of a disk as its snapshot shows it. */
export async function contentOf({ url, sizeBytes }: DiskSnapshot): Promise<Buffer> {
  await using source = await openSource(url)
  if (source.sizeBytes !== sizeBytes)
    throw new Error(`${url} has ${source.sizeBytes} bytes, not ${sizeBytes}`)
  const image = Buffer.alloc(sizeBytes)
  await source.read(image, 0)
  return image
}

function isFilled(image: Buffer, { start, end }: Range, value: number): boolean {
  return image.subarray(start, end).every((byte) => byte === value)
}
