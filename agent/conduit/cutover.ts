/**
 * The cut-over: machines stop, the last round moves, and the right to run them is handed to the target, which holds it by
 * leases until the verdict. Whatever fails before that is settled here: the machines run on.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { LEASE_MS } from '../../protocol/limits.ts'
import { carryRound } from './carry.ts'
import { crashPoint } from './crash-point.ts'
import { grantedUntil } from './lease.ts'
import { handoverOf, MAX_CHANGES_KEPT, type RelocationRecord } from './relocation-record.ts'
import { isPassing, withClouds, type RelocationParts } from './relocation-parts.ts'
import { allows, rightOf } from './relocation-state.ts'
import { reportOf, type Relocation } from './relocation.ts'
import { runHere } from './rollback.ts'
import { watchSilence } from './silence.ts'
import type { Handover, LeaseGrantor, TargetEvent } from './target.ts'
import { unlessAborted } from './unless-aborted.ts'

/** Last rounds that are tried; behind the last that fails the relocation goes back. */
const MAX_CUT_OVERS = 3
/** A last round that takes so many times what was allowed is given up; never below the floor. */
const DOWNTIME_FACTOR = 3
const MIN_LAST_ROUND_MS = 20_000
/** Without a byte moving on for so long the last round is given up: with machines stopped for good, or for seconds. */
const STALL_LIVE_MS = 15_000
const STALL_COLD_MS = 5 * 60_000
/** For machines to run on before the agent ends. */
const STOP_MS = 5_000
/** Between two tries to reach a target that holds a lease. */
const RETRY_MS = 250
/** For a target that is tried the last time. */
const MIN_OPENING_MS = 1_000
/** From the handover to the verdict, beside the gate: edits of many large guests, and their start. */
const VERDICT_MS = 60 * 60_000

/** Stops the machines, and has the target complete their disks. Then hands over. */
export async function cutOver(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  const { record } = relocation
  // What was said to be whole at the target is not halted once more: its machine ran on meanwhile.
  if (record.disks.some(({ root }) => root !== undefined)) await requireHeld(parts, relocation, signal)
  if (!handoverOf(record)) {
    const ran = await statesHere(parts, relocation, signal)
    const ended = ran.find(({ state }) => state === 'stopped')
    if (record.live && record.pausedAt === undefined && ended)
      throw new FluidError('CLOUD_FAILED', `${ended.name} was shut down meanwhile`, {
        hint: 'It is left so; relocate it as it is now, or start it first',
      })
    // Behind a crash they may have served until now.
    if (record.pausedAt === undefined || ran.every(({ state }) => state === 'running'))
      await relocation.update({ pausedAt: Date.now(), detail: 'stopping the machines' })
    await haltMachines(parts, relocation, signal)
    crashPoint('halted')
    await relocation.update({ detail: 'last round' })
    const carried = await carryLast(parts, relocation, signal).catch(async (error: unknown) => {
      signal.throwIfAborted()
      if (!mayRunOn(parts, relocation, error)) throw error
      await runOn(parts, relocation, { error, signal })
    })
    if (!carried) return
    await relocation.update({
      rounds: [...record.rounds, { ...carried, dirtyBytes: 0 }],
      dataCompleteAt: Date.now(),
      unsure: undefined,
    })
  }
  signal.throwIfAborted()
  crashPoint('before-hand-over')
  await requireHeld(parts, relocation, signal)
  const machines = await identified(parts, relocation, signal)
  relocation.leaseEndsAt = grantedUntil(performance.now(), LEASE_MS)
  await relocation.become('hand-over', {
    machines,
    givenAway: 'by-lease',
    leaseMs: LEASE_MS,
    detail: undefined,
    error: undefined,
  })
}

async function carryLast(parts: RelocationParts, relocation: Relocation, signal: AbortSignal) {
  using limit = lastRoundLimit(relocation)
  return await carryRound(parts, relocation, { last: true, signal: AbortSignal.any([signal, limit.signal]) })
}

/**
 * After a last round that failed for what may pass: true when rounds may go on. What was told to be whole at the target
 * takes no more writes, so from the first disk of which that was said there is only the way back.
 */
function mayRunOn(parts: RelocationParts, { record }: Relocation, error: unknown): boolean {
  if (!record.live || !isPassing(error) || (record.ranOn ?? 0) + 1 >= MAX_CUT_OVERS) return false
  return noneWhole(parts, record)
}

function noneWhole({ jobs }: RelocationParts, { disks }: RelocationRecord): boolean {
  return disks.every(({ job, root }) => {
    const carried = job === undefined ? undefined : jobs.get(job).record
    return root === undefined && carried?.root === undefined && carried?.receipt === undefined
  })
}

/** The machines run here again, and rounds go on. Killed in between, the cut-over stops them and begins anew. */
async function runOn(
  parts: RelocationParts,
  relocation: Relocation,
  { error, signal }: { error: unknown; signal: AbortSignal },
): Promise<void> {
  await runHere(parts, relocation, signal)
  const { message } = asFluidError(error)
  parts.log.warn({ relocation: relocation.id }, `The last round failed, and rounds go on: ${message}`)
  await relocation.become('run on', {
    ranOn: (relocation.record.ranOn ?? 0) + 1,
    roundFirst: true,
    pausedAt: undefined,
    detail: 'the last round failed; the machines run here',
    error: reportOf(error),
  })
}

/**
 * The agent stops, nobody knows for how long: machines that are held for a last round run on meanwhile. Once it is back the
 * cut-over begins anew, as behind a crash.
 */
export async function runOnMeanwhile(parts: RelocationParts, relocation: Relocation): Promise<void> {
  const { record } = relocation
  if (record.state !== 'cutting-over' || !record.live || record.pausedAt === undefined) return
  if (noneWhole(parts, record)) await runHere(parts, relocation, AbortSignal.timeout(STOP_MS))
}

/** The machines that ran before, as they are now. */
async function statesHere(parts: RelocationParts, { record }: Relocation, signal: AbortSignal) {
  const ran = record.machines.filter(({ stateBefore }) => stateBefore === 'running')
  return await Promise.all(
    (await withClouds(parts, ran)).map(async ({ machine: { name }, cloud }) => ({
      name,
      state: await cloud.state(name, { signal }),
    })),
  )
}

/** Live: held where they are, to go on at once if need be. Else shut down, in the reverse order of starting. */
async function haltMachines(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  const { record } = relocation
  const graceMs = record.service.cutover.stopGraceMs
  for (const { machine, cloud } of (await withClouds(parts, record.machines)).toReversed()) {
    if (machine.stateBefore === 'stopped') {
      if ((await cloud.state(machine.name, { signal })) === 'stopped') continue
      throw new FluidError('CLOUD_FAILED', `${machine.name} was started meanwhile`, {
        hint: 'Nothing of it was touched; relocate it as it is now',
      })
    }
    if (record.live && cloud.supports.pause) await cloud.pause(machine.name, { signal })
    else await cloud.stop(machine.name, { graceMs, signal })
  }
}

/** Throws CLOUD_FAILED when a machine runs here: what it writes is in no disk that was made whole at the target. */
async function requireHeld(
  parts: RelocationParts,
  { record }: Relocation,
  signal: AbortSignal,
): Promise<void> {
  for (const { machine, cloud } of await withClouds(parts, record.machines))
    if ((await cloud.state(machine.name, { signal })) === 'running')
      throw new FluidError('CLOUD_FAILED', `${machine.name} was started here behind its last round`, {
        hint: 'It runs on here; relocate it as it is now',
      })
}

/** The machines with what tells each from another that may have its name by the time it is finalized. */
async function identified(
  parts: RelocationParts,
  { record }: Relocation,
  signal: AbortSignal,
): Promise<RelocationRecord['machines']> {
  const each = await withClouds(parts, record.machines)
  return await Promise.all(
    each.map(async ({ machine, cloud }) => ({
      ...machine,
      identity: await cloud.identity(machine.name, { signal }),
    })),
  )
}

/** Aborts when the machines have stood still for too long. */
function lastRoundLimit(relocation: Relocation): { signal: AbortSignal } & Disposable {
  const { live, forced, service } = relocation.record
  const controller = new AbortController()
  const begun = performance.now()
  const mostMs =
    live && !forced ? Math.max(MIN_LAST_ROUND_MS, DOWNTIME_FACTOR * service.cutover.maxDowntimeMs) : Infinity
  const stallMs = live ? STALL_LIVE_MS : STALL_COLD_MS
  let moved = { bytes: -1, at: begun }
  const timer = setInterval(() => {
    const now = performance.now()
    const bytes = relocation.live.doneBytes ?? 0
    if (bytes !== moved.bytes) moved = { bytes, at: now }
    const why =
      now - begun > mostMs
        ? `The last round took longer than ${mostMs / 1000} s`
        : now - moved.at > stallMs
          ? `The last round has stood still for ${stallMs / 1000} s`
          : undefined
    if (why)
      controller.abort(
        new FluidError('TIMEOUT', why, { hint: 'The machines run here again; the line may be cut' }),
      )
  }, 200)
  return { signal: controller.signal, [Symbol.dispose]: () => clearInterval(timer) }
}

/** While the target adapts, starts and checks: grants leases, keeps what it tells, and ends with the verdict. */
export async function awaitVerdict(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  const { record } = relocation
  const handover = handoverOf(record)
  if (!handover) throw new TypeError('Handed over without roots')
  // Somebody may have started one while no agent was here: then no lease is granted.
  await requireHeld(parts, relocation, signal)
  const deadlineAt = performance.now() + record.service.cutover.gateMs + VERDICT_MS
  for (;;) {
    try {
      const verdict = await converse(parts, relocation, { handover, deadlineAt, signal })
      return await settle(relocation, verdict)
    } catch (error) {
      signal.throwIfAborted()
      if (!isPassing(error)) throw error
      parts.log.info(
        { relocation: relocation.id, error: asFluidError(error).message },
        'The line to the target broke',
      )
      // Once no lease runs, nothing there does: waiting longer is downtime.
      if (performance.now() > Math.min(relocation.leaseEndsAt, deadlineAt)) throw error
      await delay(RETRY_MS, undefined, { signal })
    }
  }
}

type Verdict = Extract<TargetEvent, { kind: 'verdict' }>

interface Conversation {
  readonly handover: Handover
  /** When the verdict should have come, by performance.now(). */
  readonly deadlineAt: number
  readonly signal: AbortSignal
}

/** One conversation, to its end. Throws TIMEOUT when the target is silent beyond its last lease's end. */
async function converse(
  parts: RelocationParts,
  relocation: Relocation,
  { handover, deadlineAt, signal }: Conversation,
): Promise<Verdict> {
  const { record } = relocation
  const grantor: LeaseGrantor = {
    grant: (ms) => ms <= record.leaseMs && mayGrant(relocation) && !signal.aborted,
    onGranted: (endsAt) => {
      relocation.leaseEndsAt = Math.max(relocation.leaseEndsAt, endsAt)
    },
  }
  const target = await openInTime(parts, relocation, signal)
  using silence = watchSilence({
    heardAt: () => target.heardAt,
    leaseEndsAt: () => relocation.leaseEndsAt,
    deadlineAt,
  })
  const events = target.start(handover, grantor)[Symbol.asyncIterator]()
  const stop = AbortSignal.any([signal, silence.signal])
  try {
    for (;;) {
      const next = await unlessAborted(events.next(), stop)
      if (next.done) throw new FluidError('PEER_UNREACHABLE', 'The target ended without a verdict')
      if (next.value.kind === 'verdict') return next.value
      await heed(relocation, next.value)
    }
  } finally {
    void events.return?.().catch(() => {})
    // Grants no more from here on. Taking leave of a line that is dead takes seconds, and nobody waits for it.
    void Promise.resolve(target[Symbol.asyncDispose]()).catch(() => {})
  }
}

/** Opening takes no longer than there is a lease to lose. */
async function openInTime(parts: RelocationParts, relocation: Relocation, signal: AbortSignal) {
  const ms = Math.max(MIN_OPENING_MS, relocation.leaseEndsAt - performance.now())
  const opening = AbortSignal.any([signal, AbortSignal.timeout(Math.ceil(ms))])
  return await parts.openTarget(relocation.record, opening).catch((cause: unknown) => {
    signal.throwIfAborted()
    if (!opening.aborted) throw cause
    throw new FluidError('TIMEOUT', 'The target could not be reached before its lease ended', { cause })
  })
}

/** Durable facts only: undecided, and nobody wants it back. */
function mayGrant({ record }: Relocation): boolean {
  return rightOf(record.state) === 'lease' && record.wanted !== 'roll-back'
}

async function heed(relocation: Relocation, event: Exclude<TargetEvent, Verdict>): Promise<void> {
  const { record } = relocation
  if (event.kind === 'changed') {
    if (record.changes.length < MAX_CHANGES_KEPT)
      await relocation.update({ changes: [...record.changes, event] })
    return
  }
  const { stage, detail } = event
  const step = stage === 'starting' ? 'target starts' : stage === 'checking' ? 'target checks' : undefined
  if (step && allows(record.state, step)) await relocation.become(step, { detail })
  else await relocation.update({ detail })
}

async function settle(relocation: Relocation, { healthy, objections, timings }: Verdict): Promise<void> {
  const { record } = relocation
  if (healthy) {
    const now = Date.now()
    const { finalizeAfterMs } = record.service
    crashPoint('healthy')
    return await relocation.become('healthy', {
      givenAway: 'for-good',
      healthyAt: now,
      timings,
      finalizeAt: finalizeAfterMs === undefined ? undefined : now + finalizeAfterMs,
      detail: undefined,
      error: undefined,
    })
  }
  const [first] = objections
  const error = first
    ? new FluidError(first.code, first.message, { hint: first.hint, peer: record.peer })
    : new FluidError('HEALTH_FAILED', 'The service was not healthy at the target')
  await relocation.become('roll-back', { released: true, timings, error: reportOf(error) })
}

/** Tells the target that it may run them for good; goes back when it has ended them meanwhile, since they run nowhere then. */
export async function commit(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  await using target = await parts.openTarget(relocation.record, signal)
  crashPoint('before-commit')
  try {
    await unlessAborted(target.commit(), signal)
  } catch (error) {
    if (isPassing(error)) throw error
    // The answer before may have been lost, and with the grant the right to ask again.
    const standing = await unlessAborted(target.inquire(), signal)
    if (standing === 'released') return await relocation.become('roll-back', { error: reportOf(error) })
    if (standing !== 'committed') throw error
  }
  await relocation.update({ committed: true, error: undefined })
  // Nothing more is read here. What cannot be ended now is ended when the machines are finalized or run again.
  for (const { cloud } of await withClouds(parts, relocation.record.machines))
    await cloud
      .release(relocation.id, { signal })
      .catch((error: unknown) =>
        parts.log.warn(
          { relocation: relocation.id, error },
          'A cloud could not end what it kept for a relocation',
        ),
      )
}
