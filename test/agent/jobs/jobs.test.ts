import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { JobReport, JobState } from '../../../agent/reports/job-reports.ts'
import { JOB_BOUNDS } from '../../../agent/jobs/job-bounds.ts'
import { JobList } from '../../../agent/jobs/job-list.ts'
import type { JobParts } from '../../../agent/job-parts.ts'
import { freshRecord, type JobRecord } from '../../../agent/jobs/job-record.ts'
import { Jobs } from '../../../agent/jobs/jobs.ts'
import { createRefusals } from '../../../agent/mesh/refusals.ts'
import type { Table } from '../../../agent/state-store.ts'
import { FluidError, type ErrorCode } from '../../../protocol/errors.ts'
import { MAX_JOBS_KEPT, MAX_JOBS_KEPT_PER_PEER, MAX_OPEN_JOBS_PER_PEER } from '../../../protocol/limits.ts'
import { createMemoryLevel } from '../../../transfer/memory-level.ts'
import { openPlacement } from '../../../transfer/placement.ts'
import { collect } from '../../helpers/collect.ts'
import { eventually } from '../../helpers/eventually.ts'
import { refusedWith } from '../../helpers/refused-with.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const options = { verifyDeep: false, replace: false, format: 'raw', compression: 'auto' } as const
const never = new AbortController().signal

function recordOf(changes: Partial<JobRecord> = {}): JobRecord {
  return freshRecord({
    job: randomBytes(16).toString('hex'),
    direction: 'out',
    peer: 'away',
    source: 'disk.raw',
    destination: 'disk.raw',
    options,
    ...changes,
  })
}

function tableOf(records: readonly JobRecord[]) {
  const rows = new Map(records.map((record) => [record.job, record]))
  const table = {
    all: async () => [...rows.values()],
    put: async (key: string, row: JobRecord) => void rows.set(key, row),
    del: async (key: string) => void rows.delete(key),
  } as unknown as Table<JobRecord>
  return { table, rows }
}

/** Jobs of an agent whose peers cannot be reached, each for a reason of its own. */
async function jobsOf(t: ExecutionContext, records: readonly JobRecord[] = [], places = 8) {
  const { table, rows } = tableOf(records)
  const reasons: Record<string, ErrorCode> = { away: 'PEER_UNREACHABLE', stranger: 'NOT_PAIRED' }
  const dialed: string[] = []
  const mesh = {
    node: {
      handle: async () => {},
      unhandle: async () => {},
      addEventListener() {},
      removeEventListener() {},
    },
    connectionPolicy: { pairedOnly: (handler: unknown) => handler },
    policy: {},
    refusals: createRefusals(),
    peers: {
      get(peer: string) {
        // The name of a peer is asked for as well.
        if (!new Error().stack?.includes('dialPeer')) return { name: `${peer}-name` }
        dialed.push(peer)
        throw new FluidError(reasons[peer], `No way to ${peer}`)
      },
    },
  }
  const log = { info() {}, warn() {}, debug() {} }
  const config = { limits: { jobs: places, lanes: 1 } }
  const pool = { warm() {} }
  const parts = {
    mesh,
    log,
    config,
    pool,
    level: createMemoryLevel(),
    bounds: JOB_BOUNDS,
  } as unknown as JobParts
  const jobs = await Jobs.open(parts, table)
  t.teardown(() => jobs[Symbol.asyncDispose]())
  const source = join(await tempDir(t), 'disk.raw')
  writeFileSync(source, randomBytes(1000))
  const move = (peer = 'away') => jobs.move({ source, peer, destination: 'disk.raw' }, peer, options)
  return { jobs, rows, move, dialed, source }
}

function reached({ jobs }: { jobs: Jobs }, id: string, state: JobState): Promise<JobReport> {
  return eventually(() => {
    const report = jobs.get(id).report()
    return report.state === state ? report : undefined
  })
}

test('Jobs.get() takes a whole id, or the beginning of one and no other', async (t) => {
  const ids = [`abcd${'0'.repeat(28)}`, `abce${'0'.repeat(28)}`]
  const { jobs } = await jobsOf(
    t,
    ids.map((job) => recordOf({ job, state: 'complete' })),
  )
  t.is(jobs.get(ids[0]).id, ids[0])
  t.is(jobs.get('abce').id, ids[1])
  for (const id of ['abc', 'abcf', 'ab', '', 'zzzz'])
    t.is(t.throws(() => jobs.get(id), { instanceOf: FluidError }).code, 'JOB_UNKNOWN')
})

test('Jobs.list() gives the newest first', async (t) => {
  const { jobs } = await jobsOf(
    t,
    [1, 3, 2].map((createdAt) => recordOf({ createdAt, state: 'complete', job: `${createdAt}` })),
  )
  t.deepEqual(
    jobs.list().map(({ job }) => job),
    ['3', '2', '1'],
  )
})

test('Jobs.move() keeps the job, and goes on trying a peer that is away', async (t) => {
  const site = await jobsOf(t)
  const { id } = await site.move()
  t.like(await reached(site, id, 'reconnecting'), {
    peerName: 'away-name',
    error: { code: 'PEER_UNREACHABLE' },
  })
  t.is(site.rows.get(id)?.wanted, 'run')
  await eventually(() => (site.dialed.length > 2 ? true : undefined))
})

test('a job whose peer is away keeps no other from running', async (t) => {
  const site = await jobsOf(t, [], 1)
  const first = await site.move()
  await reached(site, first.id, 'reconnecting')
  const second = await site.move('stranger')
  t.is((await reached(site, second.id, 'failed')).error?.code, 'NOT_PAIRED')
})

test('Jobs.pause() and resume() hold a job back and let it go on', async (t) => {
  const site = await jobsOf(t)
  const { id } = await site.move()
  await reached(site, id, 'reconnecting')
  await site.jobs.pause(id)
  await reached(site, id, 'paused')
  const dialed = site.dialed.length
  await site.jobs.resume(id)
  await reached(site, id, 'reconnecting')
  t.true(site.dialed.length > dialed)
})

test('Jobs.resume() in the moment in which a job comes to rest has it run again', async (t) => {
  const site = await jobsOf(t)
  const { id, record } = await site.move()
  await reached(site, id, 'reconnecting')
  await site.jobs.pause(id)
  // The very change to paused, before the run that made it is over.
  const resumed = Promise.withResolvers<void>()
  let once = false
  using _watch = site.jobs.get(id).watch(() => {
    if (record.state !== 'paused' || once) return
    once = true
    site.jobs.resume(id).then(() => resumed.resolve(), resumed.reject)
  })
  await resumed.promise
  await reached(site, id, 'reconnecting')
  t.is(record.wanted, 'run')
})

test('Jobs.cancel() in the moment in which a job comes to rest has its peer told', async (t) => {
  const site = await jobsOf(t)
  const { id, record } = await site.move()
  await reached(site, id, 'reconnecting')
  // Its peer was there once.
  await site.jobs.get(id).update({ unoffered: undefined })
  await site.jobs.pause(id)
  let dialed: number | undefined
  using _watch = site.jobs.get(id).watch(() => {
    if (record.state !== 'paused' || dialed !== undefined) return
    dialed = site.dialed.length
    site.jobs.cancel(id).catch(() => {})
  })
  await eventually(() => (dialed !== undefined && site.dialed.length > dialed ? true : undefined))
  t.is(record.wanted, 'cancel')
})

test('Jobs.cancel() ends a job that its peer never heard of at once', async (t) => {
  const site = await jobsOf(t, [recordOf({ state: 'paused', wanted: 'pause' })])
  const [{ job }] = site.jobs.list()
  t.is((await site.jobs.cancel(job)).record.state, 'cancelled')
  t.is((await site.jobs.cancel(job)).record.state, 'cancelled', 'Twice is once')
  const { id } = await site.move()
  await reached(site, id, 'reconnecting')
  t.is((await site.jobs.cancel(id)).record.state, 'cancelled', 'It was dialed in vain')
})

test('Jobs.cancel() of a job that failed has its peer told, and leaves it failed for its reason', async (t) => {
  const { message, hint, exit } = new FluidError('SOURCE_CHANGED', 'Written to')
  const failed = recordOf({
    state: 'failed',
    snapshot: 'offered',
    finishedAt: 5,
    error: { code: 'SOURCE_CHANGED', message, hint, retryable: true, exit },
  })
  const site = await jobsOf(t, [failed])
  const { record } = await site.jobs.cancel(failed.job)
  t.like(record, { state: 'failed', finishedAt: 5, error: { code: 'SOURCE_CHANGED' }, untold: true })
  t.deepEqual(site.dialed, ['away'])
  await refusedWith(t, 'JOB_STATE', site.jobs.resume(failed.job))
})

test('Jobs.cancel() discards a job that is received here, its sender or none', async (t) => {
  const site = await jobsOf(t, [recordOf({ direction: 'in', state: 'reconnecting' })])
  const [{ job }] = site.jobs.list()
  t.is((await site.jobs.cancel(job)).record.state, 'cancelled')
})

test('Jobs.cancel() puts a version back that could not be put back before', async (t) => {
  const folder = await tempDir(t)
  const path = join(folder, 'disk.raw')
  const target = {
    kind: 'file',
    folder,
    name: 'disk.raw',
    format: 'raw',
    replace: true,
    inPlace: true,
  } as const
  const record = recordOf({
    direction: 'in',
    state: 'reconnecting',
    target,
    options: { ...options, inPlace: true },
  })
  writeFileSync(path, 'the old version')
  const placement = await openPlacement(target, { job: record.job, sizeBytes: 15, lanes: 1 })
  await placement.sink.write(Buffer.from('THE'), 0)
  await placement[Symbol.asyncDispose]()
  writeFileSync(path, 'theirs')
  const { jobs } = await jobsOf(t, [record])
  t.is((await jobs.cancel(record.job)).record.state, 'cancelled')
  await t.throwsAsync(jobs.cancel(record.job), { code: 'NAME_EXISTS' })
  renameSync(path, join(folder, 'theirs'))
  await jobs.cancel(record.job)
  t.is(readFileSync(path, 'utf8'), 'the old version')
  t.deepEqual(readdirSync(folder).toSorted(), ['disk.raw', 'theirs'])
  t.is((await jobs.cancel(record.job)).record.stranded, undefined)
})

test('Jobs.resume() tries a failed job again whose error may pass, and no other', async (t) => {
  const error = (code: ErrorCode) => {
    const { message, hint, retryable, exit } = new FluidError(code, 'Failed')
    return { code, message, hint, retryable, exit }
  }
  const [passing, lasting] = [
    recordOf({ state: 'failed', error: error('NAME_BUSY'), offences: 4 }),
    recordOf({ state: 'failed', error: error('NAME_EXISTS') }),
  ]
  const site = await jobsOf(t, [passing, lasting])
  await site.jobs.resume(passing.job)
  t.is(site.jobs.get(passing.job).record.offences, 0)
  await refusedWith(t, 'JOB_STATE', site.jobs.resume(lasting.job))
  await refusedWith(t, 'JOB_STATE', site.jobs.pause(lasting.job))
})

test('Jobs.resume() approves a job that waits for it', async (t) => {
  const waiting = recordOf({ direction: 'in', state: 'awaiting-approval' })
  const site = await jobsOf(t, [waiting])
  const { record } = await site.jobs.resume(waiting.job)
  t.true(record.approved)
  t.is(record.state, 'awaiting-approval', 'Its sender is called, and goes on')
  await eventually(() => (site.dialed.includes('away') ? true : undefined))
})

const AFTER_START: readonly [before: Partial<JobRecord>, state: JobState][] = [
  [{ direction: 'in', state: 'running' }, 'reconnecting'],
  [{ direction: 'in', state: 'verifying' }, 'reconnecting'],
  [{ direction: 'in', state: 'paused' }, 'paused'],
  [{ direction: 'in', state: 'awaiting-approval' }, 'awaiting-approval'],
  [{ direction: 'in', state: 'running', wanted: 'cancel' }, 'cancelled'],
  [{ direction: 'out', state: 'paused', wanted: 'pause' }, 'paused'],
  [{ direction: 'out', state: 'failed' }, 'failed'],
  [{ direction: 'out', state: 'complete' }, 'complete'],
]

for (const [before, state] of AFTER_START) {
  test(`Jobs.open() makes of ${JSON.stringify(before)}: ${state}`, async (t) => {
    const record = recordOf(before)
    const site = await jobsOf(t, [record])
    t.is(site.jobs.get(record.job).record.state, state)
  })
}

test('Jobs.open() goes on with what was being sent, and calls the senders of what was being received', async (t) => {
  const site = await jobsOf(t, [recordOf({ direction: 'in', peer: 'stranger', state: 'running' })])
  await eventually(() => (site.dialed.includes('stranger') ? true : undefined))
  const { id } = await site.move()
  await site.jobs[Symbol.asyncDispose]()
  const again = await jobsOf(t, [...site.rows.values()])
  t.is((await reached(again, id, 'reconnecting')).error?.code, 'PEER_UNREACHABLE')
})

test('Jobs.open() tries to tell the receiver of a job that failed for good, and keeps in mind that it could not', async (t) => {
  const gone = recordOf({
    state: 'failed',
    snapshot: 'offered',
    untold: true,
    error: { code: 'SOURCE_MISSING', message: 'Gone', hint: '', retryable: false, exit: 7 },
  })
  const site = await jobsOf(t, [gone, recordOf({ state: 'failed', peer: 'stranger' })])
  await eventually(() => (site.dialed.length > 0 ? true : undefined))
  t.deepEqual(site.dialed, ['away'])
  t.true(site.rows.get(gone.job)?.untold)
})

test('Jobs.watch() reports on a job until it is over', async (t) => {
  const site = await jobsOf(t)
  const { id } = await site.move('stranger')
  const states = (await collect(site.jobs.watch(id, never))).map(({ state }) => state)
  t.is(states.at(-1), 'failed')
  t.is(states.filter((state) => state === 'failed').length, 1)
  await refusedWith(t, 'JOB_UNKNOWN', collect(site.jobs.watch('none', never)))
})

test('Jobs.watch() without an id leaves out what was over before', async (t) => {
  const site = await jobsOf(t, [recordOf({ state: 'complete' })])
  t.deepEqual(await collect(site.jobs.watch(undefined, never)), [])
  const { id } = await site.move('stranger')
  t.deepEqual([...new Set((await collect(site.jobs.watch(undefined, never))).map(({ job }) => job))], [id])
})

test('JobList.add() forgets the oldest job that is over when it is full', async (t) => {
  const old = Array.from({ length: MAX_JOBS_KEPT }, (_, i) =>
    recordOf({ createdAt: i, state: i === 0 ? 'paused' : 'complete' }),
  )
  const { table, rows } = tableOf(old)
  const list = await JobList.open(table, (peer) => peer)
  const { id } = await list.add(recordOf())
  t.is(rows.size, MAX_JOBS_KEPT)
  t.true(rows.has(id) && rows.has(old[0].job))
  t.false(rows.has(old[1].job))
})

test('JobList.add() refuses when it is full of jobs that are not over', async (t) => {
  const list = await JobList.open(
    tableOf(Array.from({ length: MAX_JOBS_KEPT }, () => recordOf())).table,
    (peer) => peer,
  )
  await refusedWith(t, 'LIMIT_EXCEEDED', list.add(recordOf()))
})

test('JobList.add() lets a peer begin so many jobs, and push out only its own', async (t) => {
  const incoming = (peer: string, state: JobState, createdAt = 0) =>
    recordOf({ direction: 'in', peer, state, createdAt })
  const mine = incoming('other', 'complete')
  const kept = Array.from({ length: MAX_JOBS_KEPT_PER_PEER }, (_, i) => incoming('peer', 'complete', i + 1))
  const { table, rows } = tableOf([mine, ...kept])
  const list = await JobList.open(table, (peer) => peer)
  for (let i = 0; i < MAX_OPEN_JOBS_PER_PEER; i++) await list.add(incoming('peer', 'running', 1000))
  t.is(rows.size, MAX_JOBS_KEPT_PER_PEER + 1)
  t.true(rows.has(mine.job))
  await refusedWith(t, 'LIMIT_EXCEEDED', list.add(incoming('peer', 'running')))
  await t.notThrowsAsync(list.add(incoming('other', 'running')))
})
