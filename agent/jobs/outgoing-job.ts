/**
 * A job on the sending side, from its start to its end: attempt after attempt, with capped and jittered waits, until it
 * is complete, cancelled, or meets something only a person can mend.
 */
import { asFluidError, FluidError, type ErrorCode } from '../../protocol/errors.ts'
import {
  MAX_LANE_OFFENCES,
  MAX_LANES,
  MAX_RESCANS,
  RETRY_CAP_MS,
  RETRY_EAGER_CAP_MS,
  RETRY_EAGER_FOR_MS,
  RETRY_FIRST_MS,
} from '../../protocol/limits.ts'
import { Journal } from '../../transfer/journal.ts'
import { prepareSource } from '../../transfer/prepared-source.ts'
import { cancelAtPeer } from './end-at-peer.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'
import { restsWith } from './job-record.ts'
import type { JobSignals } from './job-runs.ts'
import { runOutgoing } from './outgoing-attempt.ts'
import { forgetRenewed, roundsSnapshot } from './rounds.ts'
import { formatOf, sourceFormatOf } from './source-format.ts'

/** A line or a peer that may come back. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'PEER_UNREACHABLE',
  'TIMEOUT',
  'LANE_FAILED',
  'INTERRUPTED',
  'NO_PATH',
])
/** Broken or lying frames. */
const OFFENCES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CHUNK_DIGEST',
  'PROTOCOL_VIOLATION',
  'LIMIT_EXCEEDED',
])

/**
 * Runs the job until it is over or rests; the record says which. Never rejects. It holds a place during an attempt, not
 * while it waits for the next: a peer that is away keeps nobody from running.
 */
export async function runOutgoingJob(parts: JobParts, job: Job, signals: JobSignals): Promise<void> {
  const trouble = { since: 0, attempts: 0 }
  for (;;) {
    const waitMs = await inItsPlace(parts, job, signals, trouble)
    if (waitMs === undefined) return
    await signals.wait(waitMs)
  }
}

/** One attempt, if the owner still wants one: the wait before the next, or undefined when there is none. */
async function inItsPlace(
  parts: JobParts,
  job: Job,
  signals: JobSignals,
  trouble: { since: number; attempts: number },
): Promise<number | undefined> {
  if (signals.signal.aborted) return undefined
  using _place = await signals.place()
  if (signals.signal.aborted) return undefined
  if (job.record.wanted === 'pause') {
    await job.update({ state: 'paused' })
    return undefined
  }
  const doneBefore = job.report().doneBytes
  try {
    await attempt(parts, job, signals)
    return undefined
  } catch (error) {
    if (signals.signal.aborted) return undefined
    if (job.report().doneBytes > doneBefore) trouble.attempts = 0
    if (trouble.attempts === 0) trouble.since = Date.now()
    return await settle(parts, job, asFluidError(error), trouble)
  } finally {
    job.rest()
  }
}

/** Moves the job on after a failed attempt: the wait before the next, or undefined when there is none. */
async function settle(
  parts: JobParts,
  job: Job,
  error: FluidError,
  trouble: { since: number; attempts: number },
): Promise<number | undefined> {
  const { record } = job
  parts.log.info({ job: job.id, code: error.code, cause: error.details.cause }, error.message)
  // Both have signed for it.
  if (record.state === 'complete') return undefined
  if (record.receipt !== undefined && !PASSING.has(error.code)) {
    // The volume is in its place, and the receiver signed for it; that it has our signature cannot be had any more.
    await job.become('complete')
    return undefined
  }
  if (error.code === 'CANCELLED' || (record.wanted === 'cancel' && !PASSING.has(error.code))) {
    await (await Journal.open(parts.level, Buffer.from(job.id, 'hex'))).clear()
    await job.become('cancelled')
    return undefined
  }
  // Too much is under way there, which passes; a peer that floods us with LIMIT_EXCEEDED is another matter.
  if (error.code === 'LIMIT_EXCEEDED' && error.details.refused) return await retry(job, error, trouble)
  if (OFFENCES.has(error.code)) {
    record.offences++
    if (record.offences <= MAX_LANE_OFFENCES) return await retry(job, error, trouble)
  } else if (error.code === 'SOURCE_CHANGED') {
    record.rescans++
    if (record.rescans <= MAX_RESCANS) return await retry(job, error, trouble)
  } else if (PASSING.has(error.code)) return await retry(job, error, trouble)
  else if (restsWith(record, error.code)) {
    await job.update({ wanted: 'pause' }, { durable: false })
    await job.become('paused', error.code === 'NAME_EXISTS' ? takenMeanwhile(error) : error)
    return undefined
  }
  // Nobody here can mend what has no source: the receiver is told, now or when it can be reached.
  if (error.code === 'SOURCE_MISSING' && record.snapshot !== undefined) record.untold = true
  await job.become('failed', error)
  return undefined
}

function takenMeanwhile(error: FluidError): FluidError {
  const hint = 'Have what has that name at the target moved out of the way; what came is kept there'
  return new FluidError(error.code, error.message, { hint, cause: error })
}

async function retry(
  job: Job,
  error: FluidError,
  trouble: { since: number; attempts: number },
): Promise<number> {
  if (job.record.state !== 'paused' || job.record.wanted === 'run') await job.become('reconnecting', error)
  const cap = Date.now() - trouble.since < RETRY_EAGER_FOR_MS ? RETRY_EAGER_CAP_MS : RETRY_CAP_MS
  const most = Math.min(cap, RETRY_FIRST_MS * 2 ** trouble.attempts)
  trouble.attempts = Math.min(trouble.attempts + 1, 30)
  // Jitter keeps two agents, or many jobs, from trying in step.
  return most * (0.5 + Math.random() / 2)
}

async function attempt(parts: JobParts, job: Job, signals: JobSignals): Promise<void> {
  const { record } = job
  if (record.wanted === 'cancel') {
    await cancelAtPeer(parts, job, signals.signal)
    throw new FluidError('CANCELLED', 'The job was cancelled')
  }
  const { rounds } = record
  await using source = await prepareSource(rounds?.url ?? record.source, {
    lanes: (record.options.lanes ?? MAX_LANES) + 1,
    signal: signals.signal,
    format: sourceFormatOf(record),
  })
  const fingerprint = await source.fingerprint()
  const snapshot = rounds ? roundsSnapshot(rounds) : fingerprint
  const journal = await Journal.open(parts.level, Buffer.from(record.job, 'hex'))
  if (record.snapshot !== snapshot || record.sizeBytes !== source.sizeBytes) {
    if (record.snapshot !== undefined) {
      parts.log.warn({ job: job.id }, 'The source changed: everything is read again')
      if (source.sizeBytes !== record.sizeBytes) {
        throw new FluidError(
          'SOURCE_MISSING',
          `${record.source} has ${source.sizeBytes} bytes now, ${record.sizeBytes} when the job began`,
          {
            hint: 'Cancel this job and start another',
          },
        )
      }
    }
    await journal.clear()
    await job.update({ snapshot, sizeBytes: source.sizeBytes, sourceFormat: formatOf(source) })
  }
  await forgetRenewed(job, journal)
  job.doneBytes = journal.done.totalBytes
  await runOutgoing({ parts, job, source, snapshot, fingerprint, journal, ...signals })
  if (rounds && !rounds.last) await job.become('paused')
  else await journal.clear()
}
