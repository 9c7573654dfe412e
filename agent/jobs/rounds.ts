/**
 * A volume that is written to while it moves: one job, one staging, one root, in rounds. Each round reads a snapshot; what was
 * written since the one before is announced anew, and all else stays durable where it is. Between rounds the job rests; the
 * last completes it. Spec viaduct.md, Rounds.
 *
 * A round is kept in the job's record before anything of it is done, so that what changed is never forgotten: the
 * ranges stay there until the receiver, too, takes its copy of them for out of date.
 */
import { closeGaps, RangeSet, type Range } from '../../protocol/extent.ts'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_RANGES_PER_FRAME, WINDOW_BYTES } from '../../protocol/limits.ts'
import type { Journal } from '../../transfer/journal.ts'
import type { Job } from './job.ts'
import type { Rounds } from './job-record.ts'
import type { JobRun } from './job-runs.ts'

/** The volume at one instant. */
export interface RoundSnapshot {
  /** Path or NBD address; it stays as it is until the round is over. */
  readonly url: string
  /** At most 128 printable characters. When it differs from the round before, everything is looked at again. */
  readonly epoch: string
  /** Written since the round before; undefined: anything may be. */
  readonly dirty?: readonly Range[]
}

/** What one round did. Bytes. */
export interface RoundReport {
  readonly round: number
  /** Cells announced anew, holes included; in the first round the volume. */
  readonly renewedBytes: number
  readonly sentBytes: number
  readonly wireBytes: number
  readonly seconds: number
  /** Of the whole volume; after the last round only. */
  readonly root?: string
}

/** How a round is run. */
export interface RoundRun {
  /** The last one completes the job. */
  readonly last: boolean
  readonly signal: AbortSignal
  /** Aborted when the agent stops. */
  readonly stopping: AbortSignal
  /** Has the job run until it rests or is over. */
  start(): JobRun
}

/** Jobs.round(), of a job that nothing runs of. */
export async function runRound(
  job: Job,
  snapshot: RoundSnapshot,
  { last, signal, stopping, start }: RoundRun,
): Promise<RoundReport> {
  signal.throwIfAborted()
  const { counters, sizeBytes } = job.record
  const before = { sentBytes: counters.sentBytes, wireBytes: counters.wireBytes, at: performance.now() }
  const rounds = await beginRound(job, snapshot, { last })
  const renewed = renewedBytes(job.record)
  if (last || renewed > 0 || job.report().doneBytes < sizeBytes) {
    const { abort, ended } = start()
    const stop = () => abort.abort(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    await ended.finally(() => signal.removeEventListener('abort', stop))
  }
  const { state, error, root } = job.record
  if (state !== 'complete' && signal.aborted) {
    await job.become('paused')
    throw signal.reason as Error
  }
  stopping.throwIfAborted()
  if (error) throw new FluidError(error.code, error.message, { hint: error.hint, job: job.id })
  if (state === 'cancelled') throw new FluidError('CANCELLED', `Job ${job.id} was cancelled`)
  return {
    round: rounds.number,
    renewedBytes: renewed,
    sentBytes: counters.sentBytes - before.sentBytes,
    wireBytes: counters.wireBytes - before.wireBytes,
    seconds: (performance.now() - before.at) / 1000,
    root: state === 'complete' ? root : undefined,
  }
}

/** What identifies the state that a round's journal belongs to. */
export function roundsSnapshot({ epoch }: Pick<Rounds, 'epoch'>): string {
  return `rounds ${epoch}`
}

/** Notes the round durably in the job's record. Throws RangeError for ranges outside the volume. */
export async function beginRound(
  job: Job,
  snapshot: RoundSnapshot,
  { last }: { last: boolean },
): Promise<Rounds> {
  const before = job.record.rounds
  if (!before) throw new TypeError('The job was not begun for rounds')
  const { url, epoch, dirty } = snapshot
  if (!/^[\x20-\x7e]{1,128}$/.test(epoch)) throw new RangeError(`Not an epoch: ${epoch.slice(0, 200)}`)
  const { sizeBytes } = job.record
  const anew = dirty ?? [{ start: 0, end: sizeBytes }]
  // In another epoch both sides forget all they know by themselves.
  const renewed = epoch === before.epoch ? cellsOf([...before.renewed, ...anew], sizeBytes) : []
  const rounds: Rounds = { ...before, number: before.number + 1, url, epoch, last, renewed }
  await job.update({ rounds, wanted: 'run', error: undefined })
  return rounds
}

/** Bytes that the round has to look at. */
export function renewedBytes({ sizeBytes, snapshot, rounds }: Job['record']): number {
  if (!rounds || snapshot !== roundsSnapshot(rounds)) return sizeBytes
  return new RangeSet(rounds.renewed).totalBytes
}

/** Takes what the round renews out of this side's journal; done again, it changes nothing. */
export async function forgetRenewed(job: Job, journal: Journal): Promise<void> {
  await journal.forget(job.record.rounds?.renewed ?? [])
}

/** The receiver has taken its copy of the renewed ranges for out of date. */
export async function renewedAtPeer(job: Job): Promise<void> {
  const { rounds } = job.record
  if (rounds && rounds.renewed.length > 0) await job.update({ rounds: { ...rounds, renewed: [] } })
}

/** Throws JOB_STATE when the job belongs to another than `owner`. */
export function requireOwner(job: Job, owner: string | undefined): void {
  const belongs = job.record.rounds?.owner
  if (belongs === undefined || belongs === owner) return
  throw new FluidError('JOB_STATE', `Job ${job.id} is part of relocation ${belongs}`, {
    hint: `Say it of the relocation: ${belongs}`,
  })
}

/** The cells of WINDOW_BYTES that hold the ranges: ascending, and so few that one frame can name them. */
export function cellsOf(ranges: readonly Range[], sizeBytes: number): Range[] {
  const cells = new RangeSet()
  for (const { start, end } of ranges) {
    if (start < 0 || end > sizeBytes || start > end)
      throw new RangeError(`[${start}, ${end}) lies outside a volume of ${sizeBytes} bytes`)
    if (start === end) continue
    const from = Math.floor(start / WINDOW_BYTES) * WINDOW_BYTES
    cells.add(from, Math.min(sizeBytes, Math.ceil(end / WINDOW_BYTES) * WINDOW_BYTES))
  }
  // Looking at a gap again costs a read at both ends, no more.
  return closeGaps([...cells], MAX_RANGES_PER_FRAME, WINDOW_BYTES)
}
