/**
 * One relocation at its target, from the first question until it is the target's alone or nothing of it is left. What it
 * does between handover and verdict is in target-run.ts; who may ask what, in target-host.ts.
 */
import { join } from 'node:path'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import type { Parties, RelocationMessage, Signed, TargetStanding } from '../../protocol/relocation-message.ts'
import { bodyDigest, signBody, type BodyKind } from '../../protocol/relocation-signed.ts'
import type { Cloud } from '../clouds/cloud.ts'
import { createTurns } from '../clouds/turns.ts'
import { crashPoint } from './crash-point.ts'
import { createFence, type Fence } from './fence.ts'
import { changeKept } from './kept-change.ts'
import { createLeaseHolder, type LeaseHolder } from './target-lease.ts'
import { diskPaths, holdMachine, letRun, machineHere, removeDisks, removeMachine } from './target-machines.ts'
import type { ArrivalParts } from './target-parts.ts'
import {
  claimOf,
  isArrivalOver,
  keptBody,
  needsLease,
  signedOf,
  standingOf,
  type ArrivalRecord,
  type Outcome,
} from './target-record.ts'
import { runArrival } from './target-run.ts'
import type { RelocationStream } from './target-stream.ts'

/** How often the guard itself is looked after. */
const WATCH_MS = 1_000

export class Arrival implements AsyncDisposable {
  readonly record: ArrivalRecord
  readonly fence: Fence
  /** Undefined while no lease is needed. */
  holder: LeaseHolder | undefined
  readonly #parts: ArrivalParts
  readonly #inTurn = createTurns()
  /** Conversations that hear what happens, and the number of their request. */
  readonly #hearers = new Map<RelocationStream, number>()
  #stop = new AbortController()
  #task: Promise<void> | undefined
  #watching: NodeJS.Timeout | undefined
  #recovering: Promise<void> | undefined

  constructor(record: ArrivalRecord, parts: ArrivalParts) {
    this.record = record
    this.#parts = parts
    this.fence = createFence(join(parts.folderOf(record.relocation), 'guard'))
  }

  get parties(): Parties {
    const { relocation, peer } = this.record
    return { relocation, source: peer, target: this.#parts.identity.peerId }
  }

  get standing(): TargetStanding {
    const { state, started } = this.record
    return standingOf(state, started.length > 0 && this.holder?.letsRun !== true)
  }

  /** True while a conversation with the source is under way that hears of it. */
  get isHeard(): boolean {
    return this.#hearers.size > 0
  }

  cloud(): Promise<Cloud> {
    return this.#parts.clouds.cloud(this.record.cloud)
  }

  /** Changes the record, and keeps it before it resolves; undone when it rejects. */
  async update(change: Partial<ArrivalRecord>): Promise<void> {
    const { record } = this
    const { table, heldPlaces } = this.#parts
    const claim = () => heldPlaces.set(record.relocation, claimOf(record))
    await changeKept(record, change, async () => {
      claim()
      await table.put(record.relocation, record)
    }).catch((error: unknown) => {
      claim()
      throw error
    })
  }

  evidence(kind: BodyKind, signed: Signed): Pick<ArrivalRecord, 'evidence'> {
    return { evidence: { ...this.record.evidence, [kind]: keptBody(signed) } }
  }

  /**
   * After a restart of the agent, and wherever it failed: what may not run does not, and what was begun is ended. One at a
   * time; nothing while the arrival runs, which settles itself.
   */
  recover(): Promise<void> {
    return (this.#recovering ??= this.#recover().finally(() => (this.#recovering = undefined)))
  }

  async #recover(): Promise<void> {
    const { state, reason = '' } = this.record
    if (this.#task) return
    if (state === 'releasing') await this.release(reason)
    else if (needsLease(state)) {
      this.#needLeases()
      await this.#watch()
    } else if (state === 'committed') {
      await this.#inTurn('', undefined, async () => {
        if (this.record.state === 'committed' && (await this.fence.exists())) await this.#letGo()
      })
    }
  }

  /**
   * The source's handover: goes on in the background when `check`, of what lies in its places, has passed. The same one may
   * come again.
   */
  async handOver(
    signed: Signed,
    stream: RelocationStream,
    request: number,
    check: () => Promise<void>,
  ): Promise<void> {
    await this.#inTurn('', undefined, async () => {
      const { state } = this.record
      if (state === 'prepared') {
        await this.#whileHeld(check)
        await this.update({ state: 'adapting', ...this.evidence('final', signed) })
      } else if (!needsLease(state) && !this.record.outcome)
        throw new FluidError('JOB_STATE', `The relocation is ${state} here`)
      this.#hearers.set(stream, request)
      stream.signal.addEventListener('abort', () => this.#hearers.delete(stream), { once: true })
      if (this.record.outcome) return await this.#tellOutcome(stream, request)
      this.#needLeases()
      this.holder?.attach(stream)
      this.#begin()
    })
  }

  /** The source's answer to a question for a lease. */
  async lease(stream: RelocationStream, signed: Signed): Promise<void> {
    if (!this.holder) return
    await this.holder.heed(stream, signed)
    Object.assign(this.record, this.evidence('term', signed))
  }

  /** The source gave its right up for good. */
  async commit(signed: Signed): Promise<void> {
    await this.#inTurn('', undefined, async () => {
      const { state } = this.record
      if (state !== 'healthy' && state !== 'committed')
        throw new FluidError('JOB_STATE', `A relocation that is ${state} here cannot be committed`)
      if (state === 'healthy') await this.update({ state: 'committed', ...this.evidence('pledge', signed) })
      crashPoint('target-committed')
      if (state === 'healthy' || (await this.fence.exists())) await this.#letGo()
    })
  }

  async finalize(): Promise<void> {
    await this.#inTurn('', undefined, async () => {
      if (this.record.state === 'finalized') return
      if (this.record.state !== 'committed')
        throw new FluidError('JOB_STATE', `A relocation that is ${this.record.state} here is not finalized`)
      await this.update({ state: 'finalized' })
      await this.#parts.removeFolder(this.record.relocation)
    })
  }

  /** Ends it and removes whatever there is of it. Idempotent; the same signed release each time. */
  async release(reason: string): Promise<Signed> {
    if (this.record.state === 'finalized')
      throw new FluidError('JOB_STATE', 'A relocation that was finalized cannot be ended by its source')
    this.#stop.abort(new FluidError('CANCELLED', reason || 'The relocation was ended'))
    return await this.#inTurn('', undefined, async () => {
      if (this.record.state === 'released' && this.record.evidence.release)
        return signedOf(this.record.evidence.release)
      await this.update({ state: 'releasing', reason })
      crashPoint('target-releasing')
      await this.#task
      await this.clear()
      const signed = await signBody('release', this.parties, this.#parts.identity.sign)
      await this.update({ state: 'released', ...this.evidence('release', signed) })
      return signed
    })
  }

  /** The end of a run: healthy, or nothing of it is left. Signed, kept, and told. */
  async conclude(outcome: Outcome): Promise<void> {
    const final = this.record.evidence.final
    if (!final) throw new TypeError('Nothing was handed over')
    const finalDigest = bodyDigest(signedOf(final).body)
    if (!outcome.healthy) {
      await this.update({ state: 'releasing', reason: outcome.objections[0]?.message })
      await this.clear()
    }
    const signed = await signBody(
      'outcome',
      { ...this.parties, ...outcome, finalDigest },
      this.#parts.identity.sign,
    )
    // Ended meanwhile: what is being removed is not told to be healthy.
    if (outcome.healthy) this.#stop.signal.throwIfAborted()
    await this.update({
      state: outcome.healthy ? 'healthy' : 'released',
      outcome,
      ...this.evidence('outcome', signed),
    })
    for (const [stream, request] of this.#hearers) await this.#tellOutcome(stream, request).catch(() => {})
  }

  tell(message: RelocationMessage): void {
    for (const [stream, request] of this.#hearers) stream.send(request, message).catch(() => {})
  }

  /** Machines, disks, jobs, guard and files: nothing of them is left when it resolves. */
  async clear(): Promise<void> {
    const { record } = this
    this.#restLeases()
    const cloud = await this.cloud()
    if (await this.fence.exists()) await this.fence.close()
    crashPoint('target-clearing')
    for (const planned of record.request.machines.toReversed())
      if (record.made.includes(planned.machine.name))
        await removeMachine(cloud, await machineHere(record, planned))
    await this.#parts.cancelJobs(record)
    await removeDisks(record, this.#parts.jobs())
    await this.fence.lift()
    await this.#parts.removeFolder(record.relocation)
  }

  /** A guard watches over all machines when it resolves. */
  async guard(): Promise<void> {
    const { record } = this
    const machines = await Promise.all(
      record.request.machines.map(async ({ machine: { name } }) => ({
        name,
        disks: (await diskPaths(record, name)).map(({ path }) => path),
      })),
    )
    await this.fence.raise({ cloud: record.cloud, clouds: this.#parts.cloudsConfig, machines })
  }

  /** The agent stops: machines that run on leases are held, since their guard may end with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new FluidError('INTERRUPTED', 'The agent is stopping'))
    await this.#task
    this.#restLeases()
    if (!needsLease(this.record.state) || this.record.started.length === 0) return
    await this.fence.close().catch(() => {})
    const cloud = await this.cloud()
    for (const name of this.record.started) await holdMachine(cloud, name)
  }

  /** Nothing is moved to its places from before they are looked at; if that throws, it may be again. */
  async #whileHeld(check: () => Promise<void>): Promise<void> {
    const { heldPlaces } = this.#parts
    const { relocation } = this.record
    heldPlaces.set(relocation, claimOf({ ...this.record, state: 'adapting' }))
    await check().catch((error: unknown) => {
      heldPlaces.set(relocation, claimOf(this.record))
      throw error
    })
  }

  #begin(): void {
    if (this.#task) return
    this.#stop = new AbortController()
    this.#task = runArrival(this, this.#parts, this.#stop.signal)
      .catch(async (error: unknown) => {
        if (this.#stop.signal.aborted) return
        const { code, message, hint } = asFluidError(error)
        this.#parts.log.warn({ relocation: this.record.relocation, error }, 'A relocation failed here')
        const timings = { adapting: 0, registering: 0, starting: 0, checking: 0, ...this.record.timings }
        await this.conclude({ healthy: false, objections: [{ code, message, hint }], timings })
      })
      .catch((error: unknown) => {
        // It stays as it is kept, and is gone on with when the source asks, or is ended here. No source waits for that.
        this.#parts.log.error({ relocation: this.record.relocation, error }, 'A relocation is stuck here')
        const { code, message } = asFluidError(error)
        this.tell({ kind: 'refused', code, message })
      })
      .finally(() => (this.#task = undefined))
  }

  #needLeases(): void {
    this.#watching ??= setInterval(() => void this.#watch().catch(() => {}), WATCH_MS).unref()
    this.holder ??= createLeaseHolder({
      parties: this.parties,
      fence: this.fence,
      onHeld: (lapsed) => {
        if (lapsed)
          this.#runOn().catch((error: unknown) =>
            this.#parts.log.warn(
              { relocation: this.record.relocation, error },
              'What was held could not go on',
            ),
          )
      },
      onDenied: () => {
        this.#parts.log.info({ relocation: this.record.relocation }, 'The source grants no more leases')
        void this.fence.close().catch(() => {})
      },
    })
  }

  #restLeases(): void {
    clearInterval(this.#watching)
    this.#watching = undefined
    this.holder?.[Symbol.dispose]()
    this.holder = undefined
  }

  /** Machines that were held go on, unless nothing would hold them again: then #watch() has them go on behind a new guard. */
  async #runOn(): Promise<void> {
    if (!(await this.fence.isRaised())) return
    const cloud = await this.cloud()
    for (const name of this.record.started) {
      if (!this.holder?.letsRun) return
      await letRun(cloud, name).catch((error: unknown) => {
        this.#parts.log.warn({ relocation: this.record.relocation, error }, `${name} could not go on`)
      })
    }
  }

  /** Without a guard nothing may run: another is started, and holds what it must. */
  async #watch(): Promise<void> {
    const mayRun = () => !needsLease(this.record.state)
    if (mayRun() || this.record.started.length === 0) return
    const cloud = await this.cloud()
    if (!(await this.fence.isRaised())) {
      for (const name of this.record.started) if (!mayRun()) await holdMachine(cloud, name)
      if (mayRun()) return
      await this.guard()
      if (this.holder?.letsRun) await this.#runOn()
      return
    }
    // A guard may have held one at the very moment in which its lease was made longer.
    for (const name of this.record.started)
      if (this.holder?.letsRun && (await cloud.state(name)) === 'paused' && this.holder?.letsRun)
        await cloud.resume(name)
  }

  /** The machines are the target's: the guard ends, and what it held runs on. As long as there is a fence this is not done. */
  async #letGo(): Promise<void> {
    this.#restLeases()
    await this.fence.end()
    crashPoint('target-let-go')
    const cloud = await this.cloud()
    for (const name of this.record.started) await letRun(cloud, name)
    await this.fence.lift()
  }

  async #tellOutcome(stream: RelocationStream, request: number): Promise<void> {
    const { outcome } = this.record.evidence
    if (outcome) await stream.send(request, { kind: 'verdict', outcome: signedOf(outcome) })
  }

  get isOver(): boolean {
    return isArrivalOver(this.record.state)
  }

  /** True when this is the body of its kind that is kept. */
  isKept(kind: BodyKind, { body }: Signed): boolean {
    const kept = this.record.evidence[kind]
    return kept !== undefined && Buffer.compare(signedOf(kept).body, body) === 0
  }
}
