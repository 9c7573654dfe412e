/**
 * All relocations to this agent: kept, gone on with after a crash, bounded in number for each peer, ended when nothing is
 * heard of them or their grant is taken away.
 */
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { ARRIVAL_EXPIRY_MS, MAX_ARRIVALS, MAX_ARRIVALS_PER_PEER } from '../../protocol/limits.ts'
import type { Plan, Signed } from '../../protocol/relocation-message.ts'
import { signBody } from '../../protocol/relocation-signed.ts'
import type { CloudKind } from '../clouds/cloud.ts'
import { createTurns } from '../clouds/turns.ts'
import { isOver } from '../jobs/job-record.ts'
import type { Grant, Policy } from '../pairing/policy.ts'
import { isEnd } from './relocation-state.ts'
import { Arrival } from './target-arrival.ts'
import { accessObjections } from './target-access.ts'
import { checkRequest } from './target-checks.ts'
import type { ArrivalParts } from './target-parts.ts'
import { isArrivalOver, needsLease, type ArrivalRecord } from './target-record.ts'
import type { RelocationAnswer, RelocationRequest } from './target.ts'

export interface ArrivalsOptions {
  readonly policy: Pick<Policy, 'grantFor' | 'onChange'>
  /** Has the peer see us, so that it goes on with what is its. */
  wake(peer: string): void
  readonly sweepMs?: number
  readonly expiryMs?: number
}

/** A plan, as its source signed it. */
interface AskedPlan {
  readonly plan: Plan
  readonly signed: Signed
  readonly dry: boolean
}

/** Those that are over and remembered, of one peer: what was signed is kept in them. */
const MAX_OVER_PER_PEER = 16
const SWEEP_MS = 10_000
const TURNED_AWAY = 'The owner of the target refused this relocation'

export class Arrivals implements AsyncDisposable {
  readonly #parts: ArrivalParts
  readonly #options: ArrivalsOptions
  readonly #all = new Map<string, Arrival>()
  readonly #inTurn = createTurns()
  readonly #grants = new Map<string, Disposable>()
  readonly #approvals = new Map<string, PromiseWithResolvers<void>>()
  /** Conversations in which a source waits for a person here. */
  readonly #waiting = new Map<symbol, string>()
  readonly #sweeping: NodeJS.Timeout

  private constructor(parts: ArrivalParts, options: ArrivalsOptions) {
    this.#parts = parts
    this.#options = options
    const { sweepMs = SWEEP_MS } = options
    this.#sweeping = setInterval(() => this.#sweep(), sweepMs).unref()
  }

  /** Loads them; what may not run does not, when it resolves. */
  static async open(parts: ArrivalParts, options: ArrivalsOptions): Promise<Arrivals> {
    const arrivals = new Arrivals(parts, options)
    for (const record of await parts.table.all()) {
      const recovered = arrivals.#recover(arrivals.#add(record))
      // What goes away takes its time, and runs no more.
      if (record.state !== 'releasing') await recovered
    }
    arrivals.#sweep()
    return arrivals
  }

  /** Newest first. */
  list(): readonly Arrival[] {
    return [...this.#all.values()].toSorted((a, b) => b.record.createdAt - a.record.createdAt)
  }

  /** The peer's own of that id, if there is one; counted as heard of. Throws POLICY_DENIED for another's. */
  find(peer: string, relocation: string): Arrival | undefined {
    const arrival = this.#all.get(relocation)
    if (arrival && arrival.record.peer !== peer)
      throw new FluidError('POLICY_DENIED', 'A relocation of this name belongs to someone else', { peer })
    if (arrival) arrival.record.touchedAt = Date.now()
    return arrival
  }

  /**
   * Looks at a plan, and reserves what it needs unless `dry`. Plans are looked at one at a time; persons and others are
   * asked in between, and before it is reserved it is looked at again.
   */
  async prepare(
    peer: string,
    grant: Grant,
    asked: AskedPlan,
    waiting: { readonly signal: AbortSignal; onPending(reason: string): Promise<void> },
  ): Promise<RelocationAnswer> {
    const { plan, signed, dry } = asked
    const request = requestOf(plan)
    const look = (reserves: boolean) =>
      this.#inTurn('', waiting.signal, () => this.#look(peer, grant, asked, reserves))
    const before = this.find(peer, plan.relocation)
    if (before) requireSamePlan(before, signed)
    // Until a person said yes nobody else is asked.
    if (before ? before.record.state === 'awaiting' : grant.approve === 'ask') {
      const answer = await look(!dry)
      if (!answer.accepted || dry) return answer
      await this.#approval(this.get(plan.relocation), waiting)
    }
    if (request.machines.every(({ steps }) => steps.length === 0)) return await look(!dry)
    const answer = await look(false)
    if (!answer.accepted) return answer
    // One plan of each peer at a time: who answers slowly holds nobody else up.
    const objections = await this.#inTurn(peer, waiting.signal, () =>
      accessObjections(request, this.#parts, waiting.signal),
    )
    if (objections.length > 0) return { accepted: false, objections }
    return dry ? answer : await look(true)
  }

  /** Ends the peer's own of that id; of one that is not known nothing is here, which is signed too. */
  async release(peer: string, relocation: string, reason: string): Promise<Signed> {
    const arrival = this.find(peer, relocation)
    if (arrival) {
      this.#approvals.get(relocation)?.reject(new FluidError('CANCELLED', 'The source ended the relocation'))
      return await arrival.release(reason)
    }
    const { peerId, sign } = this.#parts.identity
    return await signBody('release', { relocation, source: peer, target: peerId }, sign)
  }

  /** A person says yes. Throws JOB_UNKNOWN, JOB_STATE. */
  async approve(id: string): Promise<Arrival> {
    const arrival = this.get(id)
    if (arrival.record.state !== 'awaiting')
      throw new FluidError('JOB_STATE', `Relocation ${arrival.record.relocation} does not wait for approval`)
    await arrival.update({ state: 'prepared', approved: true })
    this.#approvals.get(arrival.record.relocation)?.resolve()
    return arrival
  }

  /** A person of this side says no, or wants it gone. Throws JOB_UNKNOWN, JOB_STATE. */
  async reject(id: string): Promise<Arrival> {
    const arrival = this.get(id)
    const { state, relocation } = arrival.record
    if (state === 'committed' || isArrivalOver(state))
      throw new FluidError('JOB_STATE', `Relocation ${relocation} is ${state}: nothing is left to refuse`)
    const no = new FluidError('APPROVAL_REJECTED', TURNED_AWAY)
    this.#approvals.get(relocation)?.reject(no)
    await arrival.release(no.message)
    return arrival
  }

  /** The one of that id, or of an unambiguous beginning of it. Throws JOB_UNKNOWN. */
  get(id: string): Arrival {
    const exact = this.#all.get(id)
    const found = exact
      ? [exact]
      : [...this.#all.values()].filter(({ record }) => record.relocation.startsWith(id))
    if (found.length === 1 && id.length >= 4) return found[0]
    throw new FluidError('JOB_UNKNOWN', `There is no single relocation to here that begins with ${id}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeping)
    for (const listener of this.#grants.values()) listener[Symbol.dispose]()
    await Promise.allSettled([...this.#all.values()].map((arrival) => arrival[Symbol.asyncDispose]()))
  }

  /** In its turn: what speaks against a plan, of things as they are now; with `reserves`, its reservation. */
  async #look(
    peer: string,
    grant: Grant,
    { plan, signed }: AskedPlan,
    reserves: boolean,
  ): Promise<RelocationAnswer> {
    const { relocate } = grant
    if (!relocate || !this.#options.policy.grantFor(peer)?.relocate)
      throw new FluidError('POLICY_DENIED', 'Nothing may be relocated here', { peer })
    const known = this.find(peer, plan.relocation)
    if (known) requireSamePlan(known, signed)
    const request = requestOf(plan)
    const cloud = await this.#parts.clouds.cloud(relocate.cloud)
    const others = [...this.#all.values()]
      .filter((other) => other !== known && !isGone(other))
      .map(({ record }) => record)
    const { objections, warnings, places } = await checkRequest(peer, request, {
      ...this.#parts,
      cloud,
      grant: { ...grant, relocate },
      others,
      leaving: namesLeaving(await this.#parts.departures(), relocate.cloud),
      before: known?.record,
    })
    if (objections.length > 0) return { accepted: false, objections }
    if (reserves && known) await known.update({ places, touchedAt: Date.now() })
    else if (reserves) await this.#reserve(peer, grant, request, signed, places)
    return { accepted: true, places, warnings }
  }

  async #reserve(
    peer: string,
    grant: Grant,
    request: RelocationRequest,
    signed: Signed,
    places: ArrivalRecord['places'],
  ): Promise<void> {
    const open = [...this.#all.values()].filter(({ isOver: over }) => !over)
    if (
      open.length >= MAX_ARRIVALS ||
      open.filter(({ record }) => record.peer === peer).length >= MAX_ARRIVALS_PER_PEER
    )
      throw new FluidError('LIMIT_EXCEEDED', 'As many relocations are under way here as may be', { peer })
    const arrival = this.#add({
      relocation: request.relocation,
      peer,
      createdAt: Date.now(),
      state: grant.approve === 'ask' ? 'awaiting' : 'prepared',
      request,
      places,
      cloud: grant.relocate!.cloud,
      folder: grant.folder,
      made: [],
      started: [],
      evidence: {},
      touchedAt: Date.now(),
    })
    await arrival.update(arrival.evidence('plan', signed)).catch((error: unknown) => {
      this.#forget(arrival)
      throw error
    })
    await this.#forgetOldest(peer)
  }

  /** Resolves when a person has let it in. Throws APPROVAL_REJECTED, CANCELLED. */
  async #approval(
    arrival: Arrival,
    { signal, onPending }: { signal: AbortSignal; onPending(reason: string): Promise<void> },
  ): Promise<void> {
    const { relocation } = arrival.record
    const approval = this.#approvals.get(relocation) ?? Promise.withResolvers<void>()
    this.#approvals.set(relocation, approval)
    approval.promise.catch(() => {})
    const gone = Promise.withResolvers<never>()
    const stop = () => gone.reject(signal.reason as Error)
    signal.addEventListener('abort', stop, { once: true })
    const waiting = Symbol(relocation)
    this.#waiting.set(waiting, relocation)
    try {
      // Somebody may have been quicker than this.
      if (arrival.record.state === 'awaiting') {
        await onPending('The relocation waits for approval')
        await Promise.race([approval.promise, gone.promise])
      }
      const { state, reason = 'The relocation was ended' } = arrival.record
      if (state === 'releasing' || state === 'released')
        throw new FluidError(reason === TURNED_AWAY ? 'APPROVAL_REJECTED' : 'CANCELLED', reason)
    } finally {
      this.#waiting.delete(waiting)
      arrival.record.touchedAt = Date.now()
      signal.removeEventListener('abort', stop)
      if (arrival.record.state !== 'awaiting') this.#approvals.delete(relocation)
    }
  }

  #add(record: ArrivalRecord): Arrival {
    const arrival = new Arrival(record, this.#parts)
    this.#all.set(record.relocation, arrival)
    const { peer } = record
    if (!this.#grants.has(peer))
      this.#grants.set(
        peer,
        this.#options.policy.onChange(peer, () => this.#heedGrant(peer)),
      )
    return arrival
  }

  /** What a grant that was taken away had begun is ended; what was committed is the owner's own. */
  #heedGrant(peer: string): void {
    if (this.#options.policy.grantFor(peer)?.relocate) return
    for (const arrival of this.#all.values())
      if (arrival.record.peer === peer && !isGone(arrival) && arrival.record.state !== 'committed')
        void this.#end(arrival, 'The grant for this relocation was taken away')
  }

  #sweep(): void {
    const { expiryMs = ARRIVAL_EXPIRY_MS } = this.#options
    const waiting = new Set(this.#waiting.values())
    for (const arrival of this.#all.values()) {
      const { relocation, state, peer, places, touchedAt } = arrival.record
      if (waiting.has(relocation)) continue
      if (needsLease(state) && !arrival.isHeard) this.#options.wake(peer)
      if (state === 'releasing' || state === 'committed') void this.#recover(arrival)
      if ((state !== 'prepared' && state !== 'awaiting') || Date.now() - touchedAt < expiryMs) continue
      const isMoving = [...this.#parts.jobs()].some(
        (job) =>
          job.direction === 'in' &&
          job.peer === peer &&
          !isOver(job.state) &&
          places.some(({ destination }) => destination === job.destination),
      )
      if (!isMoving) void this.#end(arrival, 'Nothing was heard of the relocation for too long')
    }
  }

  async #recover(arrival: Arrival): Promise<void> {
    await arrival.recover().catch((error: unknown) => {
      const { relocation } = arrival.record
      this.#parts.log.error(
        { relocation, error },
        'A relocation could not be gone on with, and is tried again',
      )
    })
  }

  async #end(arrival: Arrival, reason: string): Promise<void> {
    this.#approvals.get(arrival.record.relocation)?.reject(new FluidError('CANCELLED', reason))
    await arrival.release(reason).catch((error: unknown) => {
      const { relocation } = arrival.record
      this.#parts.log.error(
        { relocation, error: asFluidError(error).message },
        'A relocation could not be ended',
      )
    })
  }

  #forget({ record: { relocation } }: Arrival): void {
    this.#all.delete(relocation)
    this.#parts.heldPlaces.set(relocation, undefined)
  }

  async #forgetOldest(peer: string): Promise<void> {
    const over = this.list().filter(({ record, isOver: ended }) => ended && record.peer === peer)
    for (const arrival of over.slice(MAX_OVER_PER_PEER)) {
      const { record } = arrival
      this.#forget(arrival)
      await this.#parts.table.del(record.relocation)
    }
  }
}

/** It takes up nothing any more; what is committed stays in the sums of its grant until it is finalized. */
function isGone({ record: { state } }: Arrival): boolean {
  return isArrivalOver(state)
}

/** Machines of this cloud that relocations from here may start or remove still, by name. */
function namesLeaving(
  departures: Awaited<ReturnType<ArrivalParts['departures']>>,
  kind: CloudKind,
): Set<string> {
  const left = departures
    .filter(({ state }) => !isEnd(state))
    .flatMap(({ machines, removed = [] }) => machines.filter(({ name }) => !removed.includes(name)))
  return new Set(left.filter(({ cloud }) => cloud === kind).map(({ name }) => name))
}

/** What is reserved, and what a person was shown, is exchanged for nothing else. Throws JOB_STATE. */
function requireSamePlan(arrival: Arrival, signed: Signed): void {
  const { state } = arrival.record
  if (state !== 'prepared' && state !== 'awaiting')
    throw new FluidError('JOB_STATE', `The relocation is ${state} here`)
  if (!arrival.isKept('plan', signed))
    throw new FluidError('JOB_STATE', 'The relocation was asked for here with another plan')
}

function requestOf({ source: _source, target: _target, ...request }: Plan): RelocationRequest {
  return request
}
