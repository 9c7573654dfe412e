/** All jobs of the agent: kept, started again after a crash, told what their owners want, watched. */
import { randomBytes } from 'node:crypto'
import { asFluidError, FluidError } from '../protocol/errors.ts'
import {
  JOB_ID_BYTES,
  MAX_JOBS_KEPT,
  MAX_JOBS_KEPT_PER_PEER,
  MAX_OPEN_JOBS_PER_PEER,
  PROGRESS_INTERVAL_MS,
} from '../protocol/limits.ts'
import { discardStaging } from '../transfer/file-placement.ts'
import { Journal } from '../transfer/journal.ts'
import { createCounters } from '../transfer/transfer-counters.ts'
import type { JobReport, MoveSpec } from './api.ts'
import type { ControlStream } from './control-stream.ts'
import { dialPeer } from './dial-peer.ts'
import { serveViaducts, type IncomingRegistry } from './incoming-jobs.ts'
import { Job } from './job.ts'
import type { JobParts } from './job-parts.ts'
import type { JobOptions, JobRecord } from './job-record.ts'
import { readJobVolume } from './job-volume.ts'
import { runOutgoingJob, type JobSignals } from './outgoing-job.ts'
import type { Table } from './state-store.ts'
import { indexCompleted } from './indexing.ts'

/** What runs of a job at present, and how its owner's wishes reach it. */
interface Running {
  readonly abort: AbortController
  readonly wishes: Set<() => void>
  readonly ended: Promise<void>
}

const MIN_ID_PREFIX_CHARS = 4

export class Jobs implements AsyncDisposable {
  readonly #parts: JobParts
  readonly #table: Table<JobRecord>
  readonly #jobs = new Map<string, Job>()
  readonly #running = new Map<string, Running>()
  /** Outgoing jobs that wait for one of the places. */
  readonly #waiting: Job[] = []
  readonly #stopping = new AbortController()
  readonly #peerConnected = new Set<(peer: string) => void>()
  readonly #owned = new AsyncDisposableStack()
  #outgoing = 0
  #indexing: Promise<void> = Promise.resolve()

  private constructor(parts: JobParts, table: Table<JobRecord>) {
    this.#parts = parts
    this.#table = table
  }

  /** Loads the jobs, serves viaducts, and goes on with what was unfinished. */
  static async open(parts: JobParts, table: Table<JobRecord>): Promise<Jobs> {
    const jobs = new Jobs(parts, table)
    for (const record of await table.all()) jobs.#jobs.set(record.job, jobs.#jobOf(record))
    jobs.#owned.use(await serveViaducts(parts, jobs.#registry()))
    const connected = (event: { detail: { toString(): string } }) => {
      for (const listener of jobs.#peerConnected) listener(event.detail.toString())
    }
    parts.mesh.node.addEventListener('peer:connect', connected)
    jobs.#owned.defer(() => parts.mesh.node.removeEventListener('peer:connect', connected))
    const sampling = setInterval(() => {
      for (const id of jobs.#running.keys()) jobs.#jobs.get(id)?.sample()
    }, PROGRESS_INTERVAL_MS)
    jobs.#owned.defer(() => clearInterval(sampling))
    await jobs.#goOn()
    return jobs
  }

  /** Newest first. */
  list(): JobReport[] {
    return [...this.#jobs.values()]
      .sort((a, b) => b.record.createdAt - a.record.createdAt)
      .map((job) => job.report())
  }

  /** The job of that id, or of an unambiguous beginning of it. Throws JOB_UNKNOWN. */
  get(id: string): Job {
    const exact = this.#jobs.get(id)
    if (exact) return exact
    const matches =
      id.length >= MIN_ID_PREFIX_CHARS ? [...this.#jobs.values()].filter((job) => job.id.startsWith(id)) : []
    if (matches.length === 1) return matches[0]
    throw new FluidError(
      'JOB_UNKNOWN',
      matches.length > 1 ? `Several jobs begin with ${id}` : `There is no job ${id}`,
    )
  }

  /** Starts to move a volume; the job lives on without whoever asked. */
  async move(spec: MoveSpec, peer: string, options: JobOptions): Promise<Job> {
    await this.#makeRoom()
    const job = this.#jobOf({
      job: randomBytes(JOB_ID_BYTES).toString('hex'),
      direction: 'out',
      peer,
      source: spec.source,
      destination: spec.destination,
      options,
      createdAt: Date.now(),
      wanted: 'run',
      state: 'connecting',
      sizeBytes: 0,
      counters: createCounters(),
      wireByPath: {},
      offences: 0,
      rescans: 0,
    })
    this.#jobs.set(job.id, job)
    await job.update({})
    this.#startOutgoing(job)
    return job
  }

  async pause(id: string): Promise<Job> {
    const job = this.get(id)
    this.#refuseIfOver(job, 'paused')
    await job.update({ wanted: 'pause' })
    this.#wish(job)
    if (!this.#running.has(job.id)) await job.become('paused')
    return job
  }

  /** Goes on with a paused job, approves one that waits, or tries one again that failed of something mended since. */
  async resume(id: string): Promise<Job> {
    const job = this.get(id)
    const { state, direction, error } = job.record
    if (state === 'failed' && direction === 'out' && error?.retryable !== false) {
      await job.update({
        state: 'connecting',
        error: undefined,
        finishedAt: undefined,
        offences: 0,
        rescans: 0,
      })
    }
    this.#refuseIfOver(job, 'resumed')
    await job.update({ wanted: 'run', approved: direction === 'in' ? true : undefined })
    this.#wish(job)
    if (direction === 'out' && !this.#running.has(job.id)) {
      await job.become('connecting')
      this.#startOutgoing(job)
    } else if (direction === 'in' && !this.#running.has(job.id)) {
      if (state !== 'awaiting-approval') await job.become('reconnecting')
      this.#wake(job.record.peer)
    }
    return job
  }

  /** Ends the job on both sides; nothing of it is left at the target. */
  async cancel(id: string): Promise<Job> {
    const job = this.get(id)
    if (job.record.state === 'cancelled') return job
    const { direction, state } = job.record
    // What failed here may be staged there, under a name that nobody else can use until it is cancelled.
    if (direction === 'out' && state === 'failed')
      await job.update({ state: 'reconnecting', finishedAt: undefined })
    this.#refuseIfOver(job, 'cancelled')
    await job.update({ wanted: 'cancel' })
    const running = this.#running.get(job.id)
    if (running) {
      this.#wish(job)
      await this.#overWithin(job, CANCEL_WAIT_MS)
    } else if (job.record.direction === 'in') {
      await this.#discard(job)
      await job.become('cancelled')
    } else if (job.record.snapshot === undefined) await job.become('cancelled')
    else {
      // The receiver may hold staged data: it must be told, now or when it comes back.
      this.#startOutgoing(job)
      await this.#overWithin(job, CANCEL_WAIT_MS)
    }
    return job
  }

  /** Reports on one job until it is over or rests; without an id, on all until none is left under way. */
  async *watch(id: string | undefined, signal: AbortSignal): AsyncGenerator<JobReport> {
    const followed = new Set<Job>()
    for (;;) {
      const jobs = id === undefined ? [...this.#jobs.values()] : [this.get(id)]
      for (const job of jobs) if (id !== undefined || !job.over) followed.add(job)
      for (const job of followed) {
        // What is over is reported once more, and then left.
        if (job.over || restsWithError(job)) followed.delete(job)
        yield job.report()
      }
      if (followed.size === 0 || signal.aborted) return
      await this.#changed([...followed], signal)
    }
  }

  /** Resolves when chunks of all complete jobs are in the index. */
  get indexed(): Promise<void> {
    return this.#indexing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new FluidError('INTERRUPTED', 'The agent is stopping'))
    for (const { abort } of this.#running.values()) abort.abort(this.#stopping.signal.reason)
    await Promise.allSettled([...this.#running.values()].map(({ ended }) => ended))
    await this.#indexing
    await this.#owned.disposeAsync()
  }

  #jobOf(record: JobRecord): Job {
    return new Job(record, this.#table, (peer) => this.#parts.mesh.peers.get(peer)?.name ?? peer.slice(-8))
  }

  /** After a start: outgoing jobs run again, incoming ones wait for their senders, who are called. */
  async #goOn(): Promise<void> {
    const senders = new Set<string>()
    for (const job of this.#jobs.values()) {
      const { record } = job
      if (record.state === 'complete' && record.indexed === false) this.#index(job)
      if (job.over) continue
      const journal = await Journal.open(this.#parts.level, Buffer.from(job.id, 'hex'))
      job.doneBytes = journal.done.totalBytes
      if (record.direction === 'out') {
        if (record.wanted !== 'pause') this.#startOutgoing(job)
      } else if (record.wanted === 'cancel') {
        await this.#discard(job)
        await job.become('cancelled')
      } else {
        if (record.state !== 'paused' && record.state !== 'awaiting-approval')
          await job.update({ state: 'reconnecting' })
        senders.add(record.peer)
      }
    }
    for (const peer of senders) this.#wake(peer)
  }

  /** Dials the peer, so that it sees us and goes on with its jobs at once. */
  #wake(peer: string): void {
    dialPeer(this.#parts.mesh, peer, { signal: AbortSignal.timeout(WAKE_TIMEOUT_MS) }).catch(() => {})
  }

  #startOutgoing(job: Job): void {
    if (this.#running.has(job.id) || this.#waiting.includes(job)) return
    if (this.#outgoing >= this.#parts.config.limits.jobs) {
      this.#waiting.push(job)
      return
    }
    this.#outgoing++
    const running = this.#open(job, (signals) => runOutgoingJob(this.#parts, job, signals))
    void running.ended.finally(() => {
      this.#outgoing--
      const next = this.#waiting.shift()
      if (next && !next.over && !this.#stopping.signal.aborted) this.#startOutgoing(next)
    })
  }

  #open(job: Job, run: (signals: JobSignals) => Promise<void>): Running {
    const abort = new AbortController()
    const wishes = new Set<() => void>()
    const signals: JobSignals = {
      signal: AbortSignal.any([abort.signal, this.#stopping.signal]),
      onWish: (listener) => {
        wishes.add(listener)
        return { [Symbol.dispose]: () => void wishes.delete(listener) }
      },
      wait: (ms) => this.#wait(job, ms, wishes, abort.signal),
    }
    const ended = run(signals)
      .catch((error: unknown) => {
        if (!this.#stopping.signal.aborted)
          this.#parts.log.debug({ job: job.id, error }, 'A job attempt ended')
      })
      .finally(() => {
        if (this.#running.get(job.id) === running) this.#running.delete(job.id)
      })
    const running: Running = { abort, wishes, ended }
    this.#running.set(job.id, running)
    return running
  }

  #wait(job: Job, ms: number, wishes: Set<() => void>, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.#peerConnected.delete(connected)
        wishes.delete(done)
        signal.removeEventListener('abort', done)
        this.#stopping.signal.removeEventListener('abort', done)
        resolve()
      }
      const connected = (peer: string) => peer === job.record.peer && done()
      const timer = setTimeout(done, ms)
      this.#peerConnected.add(connected)
      wishes.add(done)
      signal.addEventListener('abort', done, { once: true })
      this.#stopping.signal.addEventListener('abort', done, { once: true })
    })
  }

  #wish(job: Job): void {
    for (const listener of Array.from(this.#running.get(job.id)?.wishes ?? [])) listener()
    const waiting = this.#waiting.indexOf(job)
    if (waiting !== -1 && job.record.wanted !== 'run') {
      this.#waiting.splice(waiting, 1)
      void job.become(job.record.wanted === 'pause' ? 'paused' : 'cancelled')
    }
  }

  #registry(): IncomingRegistry {
    return {
      all: () => this.#jobs.values(),
      find: (id) => this.#jobs.get(id),
      add: async (record) => {
        await this.#makeRoomOf(record.peer)
        const job = this.#jobOf(record)
        this.#jobs.set(job.id, job)
        await job.update({})
        return job
      },
      runAlone: async (job, attempt) => {
        // What is still being indexed is worth waiting for: the next version finds its chunks.
        await this.#indexing
        for (let before = this.#running.get(job.id); before; before = this.#running.get(job.id)) {
          before.abort.abort(new FluidError('INTERRUPTED', 'The sender started another attempt'))
          await before.ended
        }
        let failure: unknown
        const running = this.#open(job, async (signals) => {
          await attempt(signals).catch((error: unknown) => (failure = error))
        })
        await running.ended
        if (failure !== undefined) throw failure as Error
      },
      approval: (job, stream) => this.#approval(job, stream),
      discard: (job) => this.#discard(job),
      completed: (job) => this.#index(job),
      readAgain: (job, deep, signal) => readJobVolume(this.#parts, job, { deep, signal }),
    }
  }

  async #approval(job: Job, stream: ControlStream): Promise<void> {
    for (;;) {
      if (job.record.wanted === 'cancel') throw new FluidError('CANCELLED', 'The job was not approved')
      if (job.record.approved) return
      if (stream.state === 'cancelled') throw new FluidError('CANCELLED', 'The sender cancelled the job')
      stream.signal.throwIfAborted()
      await this.#changed([job], stream.signal)
    }
  }

  async #discard(job: Job): Promise<void> {
    const { target } = job.record
    if (target?.kind === 'file') {
      await discardStaging(target, job.id).catch((error: unknown) => {
        this.#parts.log.warn(
          { job: job.id, error: asFluidError(error).message },
          'Staged data could not be removed',
        )
      })
    }
    await (await Journal.open(this.#parts.level, Buffer.from(job.id, 'hex'))).clear()
  }

  #index(job: Job): void {
    this.#indexing = this.#indexing
      .then(() => indexCompleted(this.#parts, job))
      .catch((error: unknown) =>
        this.#parts.log.warn({ job: job.id, error }, 'Indexing a complete job failed'),
      )
  }

  /** Forgets the oldest jobs that are over, so that the list stays bounded. */
  async #makeRoom(): Promise<void> {
    if (this.#jobs.size < MAX_JOBS_KEPT) return
    const over = [...this.#jobs.values()].filter((job) => job.over)
    if (over.length === 0)
      throw new FluidError(
        'LIMIT_EXCEEDED',
        `This agent keeps ${MAX_JOBS_KEPT} jobs at most, and none is over`,
      )
    await this.#forgetOldest(over)
  }

  /** The same for a job that a peer begins: its own give way first, and those under way are few. */
  async #makeRoomOf(peer: string): Promise<void> {
    const own = [...this.#jobs.values()].filter(
      ({ record }) => record.direction === 'in' && record.peer === peer,
    )
    const over = own.filter((job) => job.over)
    if (own.length - over.length >= MAX_OPEN_JOBS_PER_PEER) {
      throw new FluidError(
        'LIMIT_EXCEEDED',
        `${MAX_OPEN_JOBS_PER_PEER} jobs of this peer are unfinished here`,
        { peer },
      )
    }
    if (own.length >= MAX_JOBS_KEPT_PER_PEER) await this.#forgetOldest(over)
    await this.#makeRoom()
  }

  async #forgetOldest(jobs: readonly Job[]): Promise<void> {
    const { id } = jobs.reduce((oldest, job) =>
      job.record.createdAt < oldest.record.createdAt ? job : oldest,
    )
    this.#jobs.delete(id)
    await this.#table.del(id)
  }

  #refuseIfOver(job: Job, verb: string): void {
    if (job.over)
      throw new FluidError('JOB_STATE', `Job ${job.id} is ${job.record.state} and cannot be ${verb}`)
  }

  async #overWithin(job: Job, ms: number): Promise<void> {
    const deadline = AbortSignal.timeout(ms)
    while (!job.over && !deadline.aborted) await this.#changed([job], deadline)
  }

  /** Resolves at the next change of one of the jobs, or after PROGRESS_INTERVAL_MS. */
  #changed(jobs: readonly Job[], signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const watches = jobs.map((job) => job.watch(() => done()))
      const done = () => {
        clearTimeout(timer)
        for (const watch of watches) watch[Symbol.dispose]()
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, PROGRESS_INTERVAL_MS)
      signal.addEventListener('abort', done, { once: true })
    })
  }
}

/** How long cancel waits for the other side to know. */
const CANCEL_WAIT_MS = 5_000
const WAKE_TIMEOUT_MS = 5_000

function restsWithError({ record }: Job): boolean {
  return record.state === 'paused' && record.error !== undefined
}
