/** All relocations of the agent: kept, gone on with after a crash, told what their owners want, watched. */
import { setTimeout as delay } from 'node:timers/promises'
import { FluidError } from '../../protocol/errors.ts'
import type { RelocationReport } from '../reports/relocation-reports.ts'
import { changed } from '../changed.ts'
import type { Table } from '../state-store.ts'
import { crashPoint } from './crash-point.ts'
import type { RelocationRecord } from './relocation-record.ts'
import type { RelocationParts } from './relocation-parts.ts'
import { isEnd } from './relocation-state.ts'
import { Relocation } from './relocation.ts'
import { runRelocation } from './run-relocation.ts'

/** Of these the oldest that are over give way. */
const MAX_RELOCATIONS_KEPT = 256
const MIN_ID_PREFIX_CHARS = 4
/** For the round under way to end. */
const PAUSE_WAIT_MS = 5_000
/** Timers of Node hold no more; what is later is looked at again. */
const MAX_TIMER_MS = 2 ** 31 - 1

interface Running {
  readonly wishes: Set<() => void>
  readonly ended: Promise<void>
}

export interface RelocationsOptions {
  readonly table: Table<RelocationRecord>
  readonly peerName: (peer: string) => string
  /** Calls back whenever a peer connects, until disposed. */
  onPeer(listener: (peer: string) => void): Disposable
}

export class Relocations implements AsyncDisposable {
  readonly #parts: RelocationParts
  readonly #options: RelocationsOptions
  readonly #all = new Map<string, Relocation>()
  readonly #running = new Map<string, Running>()
  readonly #timers = new Map<string, NodeJS.Timeout>()
  readonly #stopping = new AbortController()

  private constructor(parts: RelocationParts, options: RelocationsOptions) {
    this.#parts = parts
    this.#options = options
  }

  /** Loads them, and goes on with what was unfinished. */
  static async open(parts: RelocationParts, options: RelocationsOptions): Promise<Relocations> {
    const relocations = new Relocations(parts, options)
    for (const record of await options.table.all()) {
      const relocation = new Relocation(record, options.table, options.peerName)
      relocations.#all.set(record.relocation, relocation)
      relocations.#start(relocation)
    }
    return relocations
  }

  /** Newest first. */
  list(): RelocationReport[] {
    return [...this.#all.values()]
      .toSorted((a, b) => b.record.createdAt - a.record.createdAt)
      .map((relocation) => relocation.report())
  }

  /** The one of that id, or of an unambiguous beginning of it. Throws JOB_UNKNOWN for several. */
  find(id: string): Relocation | undefined {
    const exact = this.#all.get(id)
    if (exact || id.length < MIN_ID_PREFIX_CHARS) return exact
    const found = [...this.#all.values()].filter((each) => each.id.startsWith(id))
    if (found.length > 1) throw new FluidError('JOB_UNKNOWN', `Several relocations begin with ${id}`)
    return found[0]
  }

  /** The same. Throws JOB_UNKNOWN for none, too. */
  get(id: string): Relocation {
    const found = this.find(id)
    if (found) return found
    throw new FluidError('JOB_UNKNOWN', `There is no relocation ${id}`)
  }

  /** Keeps a plan and begins. Throws JOB_STATE when one of its machines is on its way already. */
  async begin(record: RelocationRecord): Promise<Relocation> {
    await this.#makeRoom()
    // From the look at all others to its own place among them nothing else runs.
    for (const { record: other } of this.#all.values()) {
      const shared = holding(other).find(({ name, cloud }) =>
        record.machines.some((machine) => machine.name === name && machine.cloud === cloud),
      )
      if (shared)
        throw new FluidError(
          'JOB_STATE',
          `Machine ${shared.name} is part of relocation ${other.relocation}`,
          {
            hint: `Finish that first: fluidcloud finalize ${other.relocation}, or rollback`,
          },
        )
    }
    const relocation = new Relocation(record, this.#options.table, this.#options.peerName)
    this.#all.set(relocation.id, relocation)
    await relocation.update({}).catch((error: unknown) => {
      this.#all.delete(relocation.id)
      throw error
    })
    crashPoint(relocation.record.state)
    this.#start(relocation)
    return relocation
  }

  /** Resolves when no round runs any more, or soon. */
  async pause(id: string): Promise<Relocation> {
    const relocation = this.get(id)
    const { state, wanted } = relocation.record
    if (state === 'paused') return relocation
    if (wanted !== 'run' || !['planned', 'pre-copying', 'converging'].includes(state))
      throw this.#not(relocation, 'paused')
    await relocation.update({ wanted: 'pause' })
    await this.#wish(relocation)
    const rests = this.#running.get(relocation.id)?.ended
    if (rests) await Promise.race([rests, delay(PAUSE_WAIT_MS, undefined, { ref: false })])
    if (relocation.record.wanted !== 'pause') throw this.#not(relocation, 'paused')
    return relocation
  }

  async resume(id: string): Promise<Relocation> {
    const relocation = this.get(id)
    const isAsked = () => relocation.record.wanted === 'pause' && !isEnd(relocation.record.state)
    const comesToRest = relocation.record.state === 'paused' && this.#running.get(relocation.id)?.ended
    if (isAsked()) await comesToRest
    // Its owner may have wanted it back meanwhile.
    if (!isAsked()) throw this.#not(relocation, 'resumed')
    const { state, places } = relocation.record
    if (state === 'paused') {
      await relocation.become(places ? 'resume' : 'start over', { wanted: 'run', error: undefined })
    } else await relocation.update({ wanted: 'run' })
    this.#start(relocation)
    return relocation
  }

  /** Stops the machines now, whatever is left to move. */
  async cutover(id: string): Promise<Relocation> {
    const relocation = this.get(id)
    if (
      !['planned', 'pre-copying', 'converging'].includes(relocation.record.state) ||
      !relocation.record.live
    )
      throw this.#not(relocation, 'cut over')
    await relocation.update({ forced: true, roundFirst: undefined })
    await this.#wish(relocation)
    return relocation
  }

  /**
   * Goes back, from wherever it is. With `targetGone` the word of a target that may run the machines for good is not waited
   * for. Throws JOB_STATE once machines were removed here.
   */
  async rollBack(id: string, { targetGone = false }: { targetGone?: boolean } = {}): Promise<Relocation> {
    const relocation = this.get(id)
    const { state } = relocation.record
    if (state === 'rolled-back' || state === 'failed') return relocation
    if (state === 'rolling-back' && !targetGone) return relocation
    if (state === 'finalizing' || state === 'finalized') throw this.#not(relocation, 'taken back')
    await relocation.update({ wanted: 'roll-back', ...(targetGone && { targetGone }) })
    await this.#wish(relocation)
    this.#start(relocation)
    return relocation
  }

  async finalize(id: string, { keepDisks = false }: { keepDisks?: boolean } = {}): Promise<Relocation> {
    const relocation = this.get(id)
    const { state, wanted } = relocation.record
    if (state === 'finalizing' || state === 'finalized') return relocation
    if (state !== 'live' || wanted === 'roll-back') throw this.#not(relocation, 'finalized')
    await relocation.update({ wanted: 'finalize', keepDisks: keepDisks || undefined })
    await this.#wish(relocation)
    this.#start(relocation)
    return relocation
  }

  /** Reports until it is over, live or at rest; of a finalizing or going back one until that is done. */
  async *watch(id: string, signal: AbortSignal): AsyncGenerator<RelocationReport> {
    const relocation = this.get(id)
    for (;;) {
      yield relocation.report()
      if (isSettled(relocation) || signal.aborted || this.#stopping.signal.aborted) return
      await changed([relocation], signal)
    }
  }

  /** The same of all that are under way, those that begin meanwhile included, until none is. */
  async *watchAll(signal: AbortSignal): AsyncGenerator<RelocationReport> {
    const followed = new Set<Relocation>()
    for (;;) {
      for (const relocation of this.#all.values()) if (!isSettled(relocation)) followed.add(relocation)
      for (const relocation of followed) {
        // What is at rest is reported once more, and then left.
        if (isSettled(relocation)) followed.delete(relocation)
        yield relocation.report()
      }
      if (followed.size === 0 || signal.aborted || this.#stopping.signal.aborted) return
      await changed([...followed], signal)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new FluidError('INTERRUPTED', 'The agent is stopping'))
    for (const timer of this.#timers.values()) clearTimeout(timer)
    await Promise.allSettled([...this.#running.values()].map(({ ended }) => ended))
  }

  #start(relocation: Relocation): void {
    if (this.#running.has(relocation.id) || this.#stopping.signal.aborted) return
    const wishes = new Set<() => void>()
    const ended = runRelocation(this.#parts, relocation, {
      stopping: this.#stopping.signal,
      step: () => {
        const controller = new AbortController()
        wishes.clear()
        wishes.add(() => controller.abort(new FluidError('INTERRUPTED', 'The owner has another wish')))
        return controller.signal
      },
      wait: (ms) => this.#wait(relocation, ms, wishes),
    })
      .catch((error: unknown) =>
        this.#parts.log.error({ relocation: relocation.id, error }, 'A relocation came to a stop'),
      )
      .finally(() => {
        this.#running.delete(relocation.id)
        this.#awaitFinalize(relocation)
        relocation.tell()
        // A wish that came as it came to rest.
        if (isWished(relocation)) this.#start(relocation)
      })
    this.#running.set(relocation.id, { wishes, ended })
  }

  async #wish(relocation: Relocation): Promise<void> {
    for (const wish of this.#running.get(relocation.id)?.wishes ?? []) wish()
    await Promise.resolve()
  }

  #wait(relocation: Relocation, ms: number, wishes: Set<() => void>): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        wishes.delete(done)
        connected[Symbol.dispose]()
        this.#stopping.signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      wishes.add(done)
      const connected = this.#options.onPeer((peer) => peer === relocation.record.peer && done())
      this.#stopping.signal.addEventListener('abort', done, { once: true })
    })
  }

  /** Live ones whose owner named a time. */
  #awaitFinalize(relocation: Relocation): void {
    const { state, finalizeAt } = relocation.record
    if (state !== 'live' || finalizeAt === undefined || this.#stopping.signal.aborted) return
    clearTimeout(this.#timers.get(relocation.id))
    const timer = setTimeout(
      () => {
        this.#timers.delete(relocation.id)
        if (Date.now() < finalizeAt) return this.#awaitFinalize(relocation)
        this.finalize(relocation.id).catch((error: unknown) =>
          this.#parts.log.error({ relocation: relocation.id, error }, 'A relocation could not be finalized'),
        )
      },
      Math.min(MAX_TIMER_MS, Math.max(0, finalizeAt - Date.now())),
    )
    this.#timers.set(relocation.id, timer)
  }

  async #makeRoom(): Promise<void> {
    if (this.#all.size < MAX_RELOCATIONS_KEPT) return
    const over = [...this.#all.values()].filter((each) => each.over)
    if (over.length === 0)
      throw new FluidError('LIMIT_EXCEEDED', `This agent keeps ${MAX_RELOCATIONS_KEPT} relocations at most`)
    const { id } = over.reduce((a, b) => (a.record.createdAt < b.record.createdAt ? a : b))
    this.#all.delete(id)
    await this.#options.table.del(id)
  }

  #not({ id, record }: Relocation, verb: string): FluidError {
    return new FluidError('JOB_STATE', `Relocation ${id} is ${record.state} and cannot be ${verb}`)
  }
}

/** Machines here that it will still halt, start or remove; what is left to do after that is to tell the target. */
function holding({
  state,
  machines,
  removed = [],
  restored,
}: RelocationRecord): RelocationRecord['machines'] {
  if (isEnd(state) || restored) return []
  return machines.filter(({ name }) => !removed.includes(name))
}

/** It rests, and its owner has another wish. */
function isWished({ record: { state, wanted, committed } }: Relocation): boolean {
  if (state === 'paused') return wanted === 'roll-back'
  return state === 'live' && committed === true && (wanted === 'roll-back' || wanted === 'finalize')
}

/** Nothing new is to be expected by waiting. */
function isSettled({ record, over }: Relocation): boolean {
  if (over || record.state === 'paused') return true
  return record.state === 'live' && record.committed === true && record.wanted === 'run'
}
