/** A volume that is written to while it moves: rounds of one job between two agents, cut and started again. */
import { copyFile, readdir, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import ava, { type ExecutionContext } from 'ava'
import { createAgent, type Agent } from '../../agent/agent.ts'
import { initHome } from '../../agent/home.ts'
import type { Jobs } from '../../agent/jobs/jobs.ts'
import { readDigest } from '../../transfer/root.ts'
import { LanePool } from '../../transfer/lane-pool.ts'
import { fileUrl, openSource } from '../../transfer/open.ts'
import { formatRoot } from '../../protocol/manifest.ts'
import { eventually } from '../helpers/eventually.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { MiB, noise, overwrite, prose, sameBytes, writeVolume, type Stretch } from '../helpers/volume.ts'

const test = ava.serial
const OWNER = 'ab'.repeat(16)
const options = { verifyDeep: false, replace: false, format: 'raw', compression: 'auto' } as const
const SIZE = 96 * MiB + 5000

interface Side {
  readonly agent: Agent
  readonly jobs: Jobs
  restart(): Promise<Side>
}

async function start(t: ExecutionContext, home: string): Promise<Side> {
  let jobs: Jobs | undefined
  const agent = await createAgent({
    home,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    dataPort: 0,
    mdns: false,
    logLevel: 'silent',
    services: [
      async (_, opened) => {
        jobs = opened
        return { status: () => ({}), async [Symbol.asyncDispose]() {} }
      },
    ],
  })
  let over = false
  const end = async () => {
    if (over) return
    over = true
    await agent[Symbol.asyncDispose]()
  }
  t.teardown(end)
  return {
    agent,
    jobs: jobs!,
    async restart() {
      await end()
      return await start(t, home)
    },
  }
}

/** A disk that a machine writes to, two agents, and the job that follows it. */
async function setUp(t: ExecutionContext) {
  const folder = await tempDir(t)
  const granted = join(folder, 'granted')
  const [from, to] = await Promise.all(
    ['from', 'to'].map(async (name) => start(t, (await initHome(join(folder, name), { name })).path)),
  )
  const { ticket } = await to.agent.api.pairTicket({
    expiresMs: 60_000,
    uses: 1,
    folder: granted,
    approve: 'auto',
  })
  await from.agent.api.pairRedeem({ ticket })
  const disk = join(folder, 'disk.raw')
  await writeVolume(disk, SIZE, [
    { offset: 0, bytes: noise(20 * MiB, 1) },
    { offset: 40 * MiB, bytes: prose(20 * MiB, 2) },
    { offset: SIZE - 3000, bytes: noise(3000, 3) },
  ])
  const job = await from.jobs.openRounds(
    { source: 'machine web, disk vda', destination: 'vda.raw', sizeBytes: SIZE },
    { peer: to.agent.ready.peerId, owner: OWNER, options },
  )
  let copies = 0
  /** The disk as it is now, where nobody writes to it. */
  const snapshot = async () => {
    const copy = join(folder, `snapshot-${++copies}.raw`)
    await copyFile(disk, copy)
    return copy
  }
  /** Writes, and says where. */
  const write = async (...stretches: Stretch[]) => {
    await overwrite(disk, stretches)
    return stretches.map(({ offset, bytes }) => ({ start: offset, end: offset + bytes.length }))
  }
  return { from, to, disk, job: job.id, snapshot, write, granted, placed: join(granted, 'vda.raw') }
}

async function rootOf(path: string): Promise<string> {
  await using pool = new LanePool()
  await using source = await openSource(fileUrl(path))
  const { root } = await readDigest(pool, { url: fileUrl(path), source }, 'fastcdc-v1/32768-65536-262144', {
    lanes: 1,
    signal: AbortSignal.timeout(60_000),
  })
  return formatRoot(root)
}

const { signal } = new AbortController()

test('round() sends only what was written since, and the root is that of the last snapshot', async (t) => {
  const { from, disk, job, snapshot, write, placed } = await setUp(t)
  const first = await from.jobs.round(job, { url: await snapshot(), epoch: 'e' }, { last: false, signal })
  t.is(first.renewedBytes, SIZE)
  t.true(first.sentBytes >= 40 * MiB)
  t.like(from.jobs.get(job).report(), { state: 'paused', doneBytes: SIZE, error: undefined })

  const dirty = await write(
    { offset: 21 * MiB + 17, bytes: noise(MiB, 9) },
    { offset: 50 * MiB, bytes: new Uint8Array(2 * MiB) },
    { offset: 90 * MiB, bytes: prose(70_000, 5) },
  )
  const second = await from.jobs.round(
    job,
    { url: await snapshot(), epoch: 'e', dirty },
    { last: false, signal },
  )
  t.true(second.sentBytes < 2 * MiB, `${second.sentBytes} bytes went for 1.1 MiB that were written`)
  t.true(second.renewedBytes <= 16 * MiB)

  const last = await write({ offset: 0, bytes: noise(4096, 77) })
  const third = await from.jobs.round(
    job,
    { url: await snapshot(), epoch: 'e', dirty: last },
    { last: true, signal },
  )
  t.true(third.sentBytes < MiB / 2, `${third.sentBytes} bytes went for 4 KiB that were written`)
  t.is(third.root, await rootOf(disk))
  t.true(await sameBytes(disk, placed))
  t.is(from.jobs.get(job).record.state, 'complete')
})

test('A last round without a write completes with what is there', async (t) => {
  const { from, disk, job, snapshot, placed } = await setUp(t)
  const url = await snapshot()
  await from.jobs.round(job, { url, epoch: 'e' }, { last: false, signal })
  const idle = await from.jobs.round(job, { url, epoch: 'e', dirty: [] }, { last: false, signal })
  t.like(idle, { renewedBytes: 0, sentBytes: 0, wireBytes: 0 })
  const { root, sentBytes } = await from.jobs.round(
    job,
    { url, epoch: 'e', dirty: [] },
    { last: true, signal },
  )
  t.is(sentBytes, 0)
  t.is(root, await rootOf(disk))
  t.true(await sameBytes(disk, placed))
})

test('a file that has the number of the staged one is not taken for it before it was put in its place', async (t) => {
  const { from, job, snapshot, granted, placed } = await setUp(t)
  const url = await snapshot()
  await from.jobs.round(job, { url, epoch: 'e' }, { last: false, signal })
  // As if that had been removed, and another file, of whoever, had come by its number.
  const [staged] = await readdir(granted)
  await rename(join(granted, staged), placed)
  await overwrite(placed, [{ offset: 0, bytes: noise(MiB, 99) }])
  await t.throwsAsync(from.jobs.round(job, { url, epoch: 'e', dirty: [] }, { last: true, signal }), {
    code: 'NAME_EXISTS',
  })
})

test('a receiver that was killed between the rename and its record of it signs for what it put there', async (t) => {
  const { from, to, disk, job, snapshot, granted, placed } = await setUp(t)
  const url = await snapshot()
  await from.jobs.round(job, { url, epoch: 'e' }, { last: false, signal })
  const [staged] = await readdir(granted)
  const { dev, ino } = await stat(join(granted, staged))
  await to.jobs.get(job).update({ placed: `${dev}:${ino}` })
  await rename(join(granted, staged), placed)
  const { root } = await from.jobs.round(job, { url, epoch: 'e', dirty: [] }, { last: true, signal })
  t.is(root, await rootOf(disk))
  t.true(await sameBytes(disk, placed))
  t.deepEqual(await readdir(granted), ['vda.raw'])
})

test('What was written is not forgotten when both agents end before it went', async (t) => {
  const { disk, job, snapshot, write, placed, ...sides } = await setUp(t)
  let { from, to } = sides
  await from.jobs.round(job, { url: await snapshot(), epoch: 'e' }, { last: false, signal })
  const dirty = await write({ offset: 8 * MiB, bytes: noise(3 * MiB, 31) })
  const gone = AbortSignal.abort(new Error('gone'))
  await t.throwsAsync(from.jobs.round(job, { url: disk, epoch: 'e', dirty }, { last: false, signal: gone }))
  // Noted, though nothing of it went: the target is away.
  await to.agent[Symbol.asyncDispose]()
  const cut = new AbortController()
  const round = from.jobs.round(
    job,
    { url: await snapshot(), epoch: 'e', dirty },
    { last: false, signal: cut.signal },
  )
  using watching = from.jobs.get(job).watch(() => {
    if (from.jobs.get(job).record.state === 'reconnecting') cut.abort(new Error('cut'))
  })
  t.truthy(watching)
  await t.throwsAsync(round, { message: 'cut' })
  // It calls the sender, which so learns where it is now.
  to = await to.restart()
  const [addr] = to.agent.ready.addrs
  await eventually(async () => (await from.agent.api.pairList())[0].addrs.includes(addr) || undefined)
  from = await from.restart()
  t.like(from.jobs.get(job).record, { state: 'paused' })
  // The next round says nothing of it any more.
  const later = await write({ offset: 60 * MiB, bytes: noise(100, 5) })
  const last = await from.jobs.round(
    job,
    { url: await snapshot(), epoch: 'e', dirty: later },
    { last: true, signal: AbortSignal.timeout(60_000) },
  )
  t.is(last.root, await rootOf(disk))
  t.true(await sameBytes(disk, placed))
})

test('In another epoch everything is looked at again, and little of it goes again', async (t) => {
  const { from, disk, job, snapshot, write, placed } = await setUp(t)
  await from.jobs.round(job, { url: await snapshot(), epoch: 'e1' }, { last: false, signal })
  await write({ offset: 44 * MiB, bytes: noise(MiB, 8) })
  const last = await from.jobs.round(
    job,
    { url: await snapshot(), epoch: 'e2', dirty: [] },
    { last: true, signal },
  )
  t.is(last.renewedBytes, SIZE)
  t.true(last.sentBytes < 3 * MiB, `sent ${last.sentBytes}`)
  t.is(last.root, await rootOf(disk))
  t.true(await sameBytes(disk, placed))
})

test('cancel() between rounds, by its owner, leaves nothing at the target', async (t) => {
  const { from, job, snapshot, granted } = await setUp(t)
  await from.jobs.round(job, { url: await snapshot(), epoch: 'e' }, { last: false, signal })
  t.is((await readdir(granted)).length, 1)
  await t.throwsAsync(from.jobs.cancel(job), { message: /part of relocation/ })
  await t.throwsAsync(from.jobs.pause(job), { message: /part of relocation/ })
  await from.jobs.cancel(job, OWNER)
  t.is(from.jobs.get(job).record.state, 'cancelled')
  // The target knows by now, and removes what it staged.
  await eventually(async () => (await readdir(granted)).length === 0 || undefined)
})
