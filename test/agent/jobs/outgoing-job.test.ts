import { randomBytes } from 'node:crypto'
import { appendFileSync, closeSync, openSync, utimesSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { JobParts } from '../../../agent/job-parts.ts'
import type { JobState } from '../../../agent/reports/job-reports.ts'
import { Job } from '../../../agent/jobs/job.ts'
import { freshRecord } from '../../../agent/jobs/job-record.ts'
import { runOutgoingJob } from '../../../agent/jobs/outgoing-job.ts'
import { ERRORS, FluidError, type ErrorCode } from '../../../protocol/errors.ts'
import {
  MAX_LANE_OFFENCES,
  MAX_RESCANS,
  RETRY_CAP_MS,
  RETRY_EAGER_CAP_MS,
  RETRY_EAGER_FOR_MS,
  RETRY_FIRST_MS,
} from '../../../protocol/limits.ts'
import { Journal } from '../../../transfer/journal.ts'
import { createMemoryLevel } from '../../../transfer/memory-level.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

/** A job over a real source, whose every attempt ends in `fail` when it would dial its peer. */
async function jobThat(t: ExecutionContext, fail: () => never) {
  const source = join(await tempDir(t), 'disk')
  writeFileSync(source, randomBytes(10_000))
  const record = freshRecord({
    job: randomBytes(16).toString('hex'),
    direction: 'out',
    peer: 'peer',
    source,
    destination: 'disk',
    options: { lanes: 1, verifyDeep: false, replace: false, format: 'raw', compression: 'auto' },
  })
  const job = new Job(record, { put: async () => {} }, () => 'boreal')
  const level = createMemoryLevel()
  const log = { info() {}, warn() {} }
  const pool = { warm() {} }
  const parts = { level, log, pool, mesh: { node: {}, peers: { get: fail } } } as unknown as JobParts
  return { job, parts, record, journal: () => Journal.open(level, Buffer.from(record.job, 'hex')) }
}

/** Runs it until it rests, or waited so often; gives the waits, ms. */
async function run(
  { parts, job }: Awaited<ReturnType<typeof jobThat>>,
  mostWaits = 12,
  onWait = (_ms: number) => {},
  place = async (): Promise<Disposable> => ({ [Symbol.dispose]() {} }),
): Promise<number[]> {
  const stop = new AbortController()
  const waits: number[] = []
  await runOutgoingJob(parts, job, {
    signal: stop.signal,
    onWish: () => ({ [Symbol.dispose]() {} }),
    moving: () => 1,
    place,
    async wait(ms) {
      waits.push(ms)
      onWait(ms)
      if (waits.length === mostWaits) stop.abort(new FluidError('INTERRUPTED', 'The agent is stopping'))
    },
  })
  return waits
}

function failing(code: ErrorCode): () => never {
  return () => {
    throw new FluidError(code, `It failed of ${code}`)
  }
}

/** What becomes of a job after an error, and how many retries come first; every other code fails it at once. */
const OUTCOMES: Partial<Record<ErrorCode, [state: JobState, waits: number]>> = {
  PEER_UNREACHABLE: ['reconnecting', 12],
  TIMEOUT: ['reconnecting', 12],
  LANE_FAILED: ['reconnecting', 12],
  INTERRUPTED: ['reconnecting', 12],
  NO_PATH: ['reconnecting', 12],
  NO_SPACE: ['paused', 0],
  TARGET_WRITE: ['paused', 0],
  SOURCE_READ: ['paused', 0],
  CHUNK_DIGEST: ['failed', MAX_LANE_OFFENCES],
  PROTOCOL_VIOLATION: ['failed', MAX_LANE_OFFENCES],
  LIMIT_EXCEEDED: ['failed', MAX_LANE_OFFENCES],
  SOURCE_CHANGED: ['failed', MAX_RESCANS],
  CANCELLED: ['cancelled', 0],
}

for (const code of Object.keys(ERRORS) as ErrorCode[]) {
  const [state, retries] = OUTCOMES[code] ?? (['failed', 0] as const)
  test(`runOutgoingJob() after ${code}: ${state}, ${retries} retries`, async (t) => {
    const made = await jobThat(t, failing(code))
    const waits = await run(made)
    t.is(made.record.state, state)
    t.is(waits.length, retries)
    if (state === 'cancelled') t.is(made.record.error, undefined)
    else t.is(made.record.error?.code, code)
    t.is(made.record.wanted, state === 'paused' ? 'pause' : 'run')
    t.is(made.record.finishedAt !== undefined, state === 'failed' || state === 'cancelled')
  })
}

test('runOutgoingJob() holds its place while it attempts, and not while it waits', async (t) => {
  let held = 0
  const made = await jobThat(t, () => {
    t.is(held, 1)
    throw new FluidError('TIMEOUT', 'Late')
  })
  const place = async () => {
    held++
    return { [Symbol.dispose]: () => void held-- }
  }
  t.is((await run(made, 3, () => t.is(held, 0), place)).length, 3)
})

for (const [code, refused, outcome] of [
  ['LIMIT_EXCEEDED', true, 'reconnecting'],
  ['LIMIT_EXCEEDED', false, 'failed'],
  ['POLICY_DENIED', true, 'failed'],
] as const) {
  const how = refused ? 'a refusal' : 'a status'
  test(`runOutgoingJob() ends ${outcome} when ${how} keeps saying ${code}`, async (t) => {
    const made = await jobThat(t, () => {
      throw new FluidError(code, 'No', { refused })
    })
    await run(made)
    t.is(made.record.state, outcome)
    t.is(made.record.offences, outcome === 'failed' && !refused ? MAX_LANE_OFFENCES + 1 : 0)
  })
}

test('runOutgoingJob() makes no attempt while its owner wants a pause', async (t) => {
  const made = await jobThat(t, () => t.fail())
  made.record.wanted = 'pause'
  t.deepEqual(await run(made), [])
  t.is(made.record.state, 'paused')
})

test('runOutgoingJob() clears the journal of a job that is cancelled, and keeps trying to tell a peer that is away', async (t) => {
  const codes: ErrorCode[] = ['PEER_UNREACHABLE', 'POLICY_DENIED']
  const made = await jobThat(t, () => failing(codes.shift()!)())
  Object.assign(made.record, { wanted: 'cancel', snapshot: 'offered before', sizeBytes: 10_000 })
  await (await made.journal()).append([{ start: 0, end: 4096, entries: new Uint8Array() }], { durable: true })
  t.is((await run(made)).length, 1)
  t.is(made.record.state, 'cancelled')
  t.is((await made.journal()).done.totalBytes, 0)
})

test('runOutgoingJob() cancels a job that was never offered without its peer or its source', async (t) => {
  const made = await jobThat(t, () => t.fail())
  Object.assign(made.record, { wanted: 'cancel', source: '/none' })
  t.deepEqual(await run(made), [])
  t.is(made.record.state, 'cancelled')
})

test('runOutgoingJob() fails when its source is gone or has another size', async (t) => {
  const gone = await jobThat(t, failing('TIMEOUT'))
  Object.assign(gone.record, { source: `${gone.record.source}.none` })
  t.deepEqual(await run(gone), [])
  t.is(gone.record.error?.code, 'SOURCE_MISSING')
  t.is(gone.record.untold, undefined, 'It was never offered')

  const grown = await jobThat(t, failing('TIMEOUT'))
  t.deepEqual((await run(grown, 3, () => appendFileSync(grown.record.source, 'x'))).length, 1)
  t.is(grown.record.state, 'failed')
  t.true(grown.record.untold)
  t.regex(String(grown.record.error?.message), /has 10001 bytes now, 10000 when the job began/)
})

test('runOutgoingJob() forgets what it had sent of a source that changed', async (t) => {
  const made = await jobThat(t, failing('TIMEOUT'))
  await run(made, 1)
  await (await made.journal()).append([{ start: 0, end: 4096, entries: new Uint8Array() }], { durable: true })
  await run(made, 1)
  t.is((await made.journal()).done.totalBytes, 4096)
  utimesSync(made.record.source, 1, 1)
  await run(made, 1)
  t.is((await made.journal()).done.totalBytes, 0)
})

test('runOutgoingJob() goes on to read a source as what it was at first, whatever is written into it', async (t) => {
  const made = await jobThat(t, failing('TIMEOUT'))
  await run(made, 1)
  t.is(made.record.sourceFormat, 'raw')
  const file = openSync(made.record.source, 'r+')
  writeSync(file, 'QFI\xfb', 0, 'latin1')
  closeSync(file)
  await run(made, 1)
  t.like(made.record, { state: 'reconnecting', sizeBytes: 10_000 })
})

test('runOutgoingJob() takes the snapshot of a round for what a machine sees, whatever a guest wrote there', async (t) => {
  const made = await jobThat(t, failing('TIMEOUT'))
  const { source: url } = made.record
  writeFileSync(url, 'QFI\xfb', 'latin1')
  const rounds = { owner: 'me', number: 1, url, epoch: 'one', last: false, renewed: [] }
  Object.assign(made.record, { rounds, source: 'machine web, disk vda' })
  await run(made, 1)
  t.like(made.record, { state: 'reconnecting', sizeBytes: 4 })
})

test.serial('runOutgoingJob() waits twice as long each time up to its caps, with jitter', async (t) => {
  const made = await jobThat(t, failing('PEER_UNREACHABLE'))
  const clock = Date.now
  let now = clock()
  const at: number[] = []
  let waits: number[]
  Date.now = () => now
  try {
    const begun = now
    waits = await run(made, 900, (ms) => {
      at.push(now - begun)
      now += ms
    })
  } finally {
    Date.now = clock
  }
  for (const [i, ms] of waits.entries()) {
    const cap = at[i] < RETRY_EAGER_FOR_MS ? RETRY_EAGER_CAP_MS : RETRY_CAP_MS
    const most = Math.min(cap, RETRY_FIRST_MS * 2 ** i)
    t.true(ms >= most / 2 && ms <= most, `Wait ${i} is ${ms} ms, not ${most / 2} to ${most}`)
  }
  t.true(at.at(-1)! > RETRY_EAGER_FOR_MS)
  t.true(new Set(waits.map(Math.round)).size > 100)
})

test('runOutgoingJob() begins with short waits again after progress', async (t) => {
  const made = await jobThat(t, failing('LANE_FAILED'))
  let count = 0
  const waits = await run(made, 12, () => {
    if (++count !== 10) return
    // Synchronous in memory: there when the next attempt looks.
    void made
      .journal()
      .then((journal) =>
        journal.append([{ start: 0, end: 4096, entries: new Uint8Array() }], { durable: false }),
      )
  })
  t.true(waits[9] >= RETRY_EAGER_CAP_MS / 2)
  t.true(
    waits.slice(10).some((ms) => ms <= RETRY_FIRST_MS),
    waits.slice(9).join(),
  )
})
