/** All jobs of the agent: kept, started again after a crash, told what their owners want, watched. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { JOB_ID_BYTES, PROGRESS_INTERVAL_MS } from '../../protocol/limits.ts'
import type { ImageFormat } from '../../transfer/backends/image-format.ts'
import { discardStaging } from '../../transfer/file-placement.ts'
import { Journal } from '../../transfer/journal.ts'
import type { JobReport, MoveSpec } from '../reports/job-reports.ts'
import { changed } from '../changed.ts'
import type { ControlStream } from '../viaduct/control-stream.ts'
import { dialPeer } from '../mesh/dial-peer.ts'
import { serveViaducts, type IncomingRegistry } from './incoming-jobs.ts'
import type { Job } from './job.ts'
import { cancelAtPeer, completeAtPeer, failAtPeer } from './end-at-peer.ts'
import { JobList } from './job-list.ts'
import { JobRuns, type JobRun } from './job-runs.ts'
import { overWithin, watchJobs } from './job-watch.ts'
import type { JobParts } from '../job-parts.ts'
import { freshRecord, type JobOptions, type JobRecord } from './job-record.ts'
import { readJobVolume } from './job-volume.ts'
import { runOutgoingJob } from './outgoing-job.ts'
import type { Table } from '../state-store.ts'
import { indexCompleted } from './indexing.ts'
import { arrivedFormat } from './source-format.ts'
import { requireOwner, runRound, type RoundReport, type RoundSnapshot } from './rounds.ts'

/** Where the volume of rounds comes from, for people, and where it goes. */
export interface RoundsSpec {
  readonly source: string
  readonly destination: string
  readonly sizeBytes: number
}

export class Jobs implements AsyncDisposable {
  readonly #parts: JobParts
  readonly #list: JobList
  readonly #runs: JobRuns
  /** Jobs whose receivers are being told that they failed. */
  readonly #telling = new Set<string>()
  readonly #owned = new AsyncDisposableStack()
  #indexing: Promise<void> = Promise.resolve()
  /** Behind it; no job waits for that. */
  #settling: Promise<unknown> = Promise.resolve()

  private constructor(parts: JobParts, list: JobList) {
    this.#parts = parts
    this.#list = list
    this.#runs = new JobRuns(parts.config.limits.jobs, parts.log)
  }

  /** Loads the jobs, serves viaducts, and goes on with what was unfinished. */
  static async open(parts: JobParts, table: Table<JobRecord>): Promise<Jobs> {
    const peerName = (peer: string) => parts.mesh.peers.get(peer)?.name ?? peer.slice(-8)
    const jobs = new Jobs(parts, await JobList.open(table, peerName))
    jobs.#owned.use(await serveViaducts(parts, jobs.#registry()))
    const connected = (event: { detail: { toString(): string } }) => {
      const peer = event.detail.toString()
      jobs.#runs.peerConnected(peer)
      void jobs.#tellEnds(peer)
    }
    parts.mesh.node.addEventListener('peer:connect', connected)
    jobs.#owned.defer(() => parts.mesh.node.removeEventListener('peer:connect', connected))
    const sampling = setInterval(() => {
      for (const id of jobs.#runs.ids()) jobs.#list.find(id)?.sample()
    }, PROGRESS_INTERVAL_MS)
    jobs.#owned.defer(() => clearInterval(sampling))
    await jobs.#goOn()
    return jobs
  }

  /** Newest first. */
  list(): JobReport[] {
    return [...this.#list].sort((a, b) => b.record.createdAt - a.record.createdAt).map((job) => job.report())
  }

  /** The job of that id, or of an unambiguous beginning of it. Throws JOB_UNKNOWN. */
  get(id: string): Job {
    return this.#list.get(id)
  }

  /** Starts to move a volume; the job lives on without whoever asked. */
  async move(spec: MoveSpec, peer: string, options: JobOptions): Promise<Job> {
    const record = freshRecord({
      job: randomBytes(JOB_ID_BYTES).toString('hex'),
      direction: 'out',
      peer,
      source: spec.source,
      destination: spec.destination,
      sourceFormat: await this.arrivedFormat(spec.source),
      options,
      unoffered: true,
    })
    const job = await this.#list.add(record)
    this.#startOutgoing(job)
    return job
  }

  /** The format of a file that a peer moved here, see source-format.ts. */
  arrivedFormat(source: string): Promise<ImageFormat | undefined> {
    return arrivedFormat(
      source,
      [...this.#list].map(({ record }) => record),
    )
  }

  /**
   * A job for a volume that is written to while it moves; `round` says each time what is to be sent. Nothing else starts it,
   * not even a restart of the agent, since the snapshot is gone then.
   */
  async openRounds(
    spec: RoundsSpec,
    { peer, owner, options }: { peer: string; owner: string; options: JobOptions },
  ): Promise<Job> {
    const record = freshRecord({
      job: randomBytes(JOB_ID_BYTES).toString('hex'),
      direction: 'out',
      peer,
      source: spec.source,
      destination: spec.destination,
      sizeBytes: spec.sizeBytes,
      options,
      state: 'paused',
      wanted: 'pause',
      rounds: { owner, number: 0, url: '', epoch: '', last: false, renewed: [] },
    })
    return await this.#list.add(record)
  }

  /**
   * Moves what `snapshot` has and the target lacks, however often the line is cut, until `signal` aborts. Resolves when all of
   * it is durable there; after the last round, when the target has put the volume in its place. Throws what ended the
   * job, or has it rest; after an abort the same round, or a later one, can be given again.
   */
  async round(
    id: string,
    snapshot: RoundSnapshot,
    { last, signal }: { last: boolean; signal: AbortSignal },
  ): Promise<RoundReport> {
    const job = this.get(id)
    this.#refuseIfOver(job, 'moved on')
    await this.#runs.get(job.id)?.ended
    return await runRound(job, snapshot, {
      last,
      signal,
      stopping: this.#runs.stopping,
      start: () => this.#startOutgoing(job),
    })
  }

  async pause(id: string, owner?: string): Promise<Job> {
    const job = this.get(id)
    requireOwner(job, owner)
    this.#refuseIfOver(job, 'paused')
    await job.update({ wanted: 'pause' })
    this.#runs.wish(job)
    if (!this.#runs.get(job.id)) await job.become('paused')
    return job
  }

  /** Goes on with a paused job, approves one that waits, or tries one again that failed of something mended since. */
  async resume(id: string, owner?: string): Promise<Job> {
    const job = this.get(id)
    requireOwner(job, owner)
    const { state, direction, error, wanted } = job.record
    if (state === 'failed' && direction === 'out' && error?.retryable !== false && wanted !== 'cancel') {
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
    this.#runs.wish(job)
    if (direction === 'out' && !this.#runs.get(job.id)) {
      await job.become('connecting')
      this.#startOutgoing(job)
    } else if (direction === 'in' && !this.#runs.get(job.id)) {
      if (state !== 'awaiting-approval') await job.become('reconnecting')
      this.#wake(job.record.peer)
    }
    return job
  }

  /** Ends the job on both sides; nothing of it is left at the target. One that failed stays so, for whoever asks later. */
  async cancel(id: string, owner?: string): Promise<Job> {
    const job = this.get(id)
    requireOwner(job, owner)
    if (job.over && job.record.stranded) {
      const failure = await this.#discard(job)
      if (failure) throw failure
      return job
    }
    if (job.record.state === 'cancelled') return job
    const { direction, state, peer } = job.record
    // What failed here may be staged there, under a name that nobody else can use until it is cancelled.
    if (direction === 'out' && state === 'failed') {
      if (job.record.wanted !== 'cancel') {
        await (await Journal.open(this.#parts.level, Buffer.from(job.id, 'hex'))).clear()
        await job.update({ wanted: 'cancel', untold: true })
      }
      await Promise.race([this.#tellEnds(peer), sleep(CANCEL_WAIT_MS, undefined, { ref: false })])
      return job
    }
    this.#refuseIfOver(job, 'cancelled')
    await job.update({ wanted: 'cancel' })
    const running = this.#runs.get(job.id)
    if (running) {
      this.#runs.wish(job)
      await overWithin(job, CANCEL_WAIT_MS)
    } else if (job.record.direction === 'in') {
      await this.#discard(job)
      await job.become('cancelled')
    } else if (job.record.snapshot === undefined) await job.become('cancelled')
    else {
      // The receiver may hold staged data: it must be told, now or when it comes back.
      this.#startOutgoing(job)
      await overWithin(job, CANCEL_WAIT_MS)
    }
    return job
  }

  /** Reports on one job until it is over or rests; without an id, on all until none is left under way. */
  watch(id: string | undefined, signal: AbortSignal): AsyncGenerator<JobReport> {
    return watchJobs(
      () => (id === undefined ? [...this.#list].filter((job) => !job.over) : [this.get(id)]),
      signal,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#runs.stop()
    await this.#indexing
    await this.#settling
    await this.#owned.disposeAsync()
  }

  /** After a start: outgoing jobs run again, incoming ones wait for their senders, who are called. */
  async #goOn(): Promise<void> {
    const senders = new Set<string>()
    for (const job of this.#list) {
      const { record } = job
      if (record.state === 'complete' && record.indexed === false) this.#index(job)
      if (record.untold) void this.#tellEnds(job.record.peer)
      if (job.over && record.stranded) await this.#discard(job)
      if (job.over) continue
      const journal = await Journal.open(this.#parts.level, Buffer.from(job.id, 'hex'))
      job.doneBytes = journal.done.totalBytes
      if (record.direction === 'out') {
        if (record.rounds && record.wanted === 'run') await job.update({ wanted: 'pause', state: 'paused' })
        else if (record.wanted !== 'pause') this.#startOutgoing(job)
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

  #startOutgoing(job: Job): JobRun {
    const before = this.#runs.get(job.id)
    if (before) return before
    const running = this.#runs.open(job, (signals) => runOutgoingJob(this.#parts, job, signals))
    void running.ended.then(() => {
      void this.#tellEnds(job.record.peer)
      const { state, wanted, rounds } = job.record
      // Resumed or cancelled in the moment in which the run came to rest.
      const missed = wanted === 'cancel' ? !job.over : state === 'paused' && wanted === 'run' && !rounds
      if (missed && !this.#runs.stopping.aborted) this.#startOutgoing(job)
    })
    return running
  }

  /**
   * Tells a receiver how jobs ended where it may not know, one after the other: of one that failed it would wait for ever,
   * and of one that is complete lack our signature. What cannot be told now is tried again when it connects.
   */
  async #tellEnds(peer: string): Promise<void> {
    if (this.#telling.has(peer)) return
    this.#telling.add(peer)
    const { stopping } = this.#runs
    const tried = new Set<Job>()
    const next = () =>
      [...this.#list].find(
        (job) => job.record.untold && job.record.peer === peer && !tried.has(job) && !this.#runs.get(job.id),
      )
    for (let job = next(); job && !stopping.aborted; job = next()) {
      tried.add(job)
      const { state, wanted } = job.record
      const tell = state === 'complete' ? completeAtPeer : wanted === 'cancel' ? cancelAtPeer : failAtPeer
      try {
        await tell(this.#parts, job, stopping)
        await job.update({ untold: undefined })
      } catch (error) {
        this.#parts.log.debug({ job: job.id, error }, 'The receiver could not be told how a job ended')
        if (asFluidError(error).retryable) break
      }
    }
    this.#telling.delete(peer)
  }

  #registry(): IncomingRegistry {
    return {
      all: () => this.#list,
      find: (id) => this.#list.find(id),
      add: (record) => this.#list.add(record),
      runAlone: async (job, attempt) => {
        // What is still being indexed is worth waiting for: the next version finds its chunks.
        if (job.record.startedAt === undefined) await this.#indexing
        for (let before = this.#runs.get(job.id); before; before = this.#runs.get(job.id)) {
          before.abort.abort(new FluidError('INTERRUPTED', 'The sender started another attempt'))
          await before.ended
        }
        let failure: unknown
        const running = this.#runs.open(job, async (signals) => {
          await attempt(signals).catch((error: unknown) => (failure = error))
          // Cancelled in the moment in which the attempt came to rest, and heeded by nobody.
          if (job.record.wanted !== 'cancel' || job.over || this.#runs.stopping.aborted) return
          await this.#discard(job)
          await job.become('cancelled')
        })
        await running.ended
        if (failure !== undefined) throw failure as Error
      },
      approval: (job, stream) => this.#approval(job, stream),
      discard: async (job) => void (await this.#discard(job)),
      completed: (job) => this.#index(job),
      readAgain: (job, deep, signal) => readJobVolume(this.#parts, job, { deep, signal }),
    }
  }

  async #approval(job: Job, stream: ControlStream): Promise<void> {
    for (;;) {
      if (job.record.wanted === 'cancel') throw new FluidError('CANCELLED', 'The job was not approved')
      if (job.record.approved) return
      if (stream.state === 'cancelled') throw new FluidError('CANCELLED', 'The sender cancelled the job')
      // The sender says why it gives up, which receive() throws.
      if (stream.state === 'failed') await stream.receive()
      stream.signal.throwIfAborted()
      await changed([job], stream.signal)
    }
  }

  /** Removes what a job staged, or puts back what it changed in place; answers why it could not. */
  async #discard(job: Job): Promise<FluidError | undefined> {
    const { target, options } = job.record
    let failure: FluidError | undefined
    // Before what it tells of is gone.
    await (await Journal.open(this.#parts.level, Buffer.from(job.id, 'hex'))).clear()
    if (target?.kind === 'file') {
      // First, so that an old version that is put back is never taken for the new one.
      await job.update({ placed: undefined, snapshot: undefined })
      await discardStaging(target, job.id).catch((error: unknown) => {
        failure = asFluidError(error)
        this.#parts.log.warn({ job: job.id, error: failure.message }, 'Staged data could not be removed')
      })
      const stranded = failure && options.inPlace ? true : undefined
      if (stranded !== job.record.stranded) await job.update({ stranded })
    }
    return failure
  }

  #index(job: Job): void {
    this.#indexing = this.#indexing
      .then(() => indexCompleted(this.#parts, job))
      .catch((error: unknown) =>
        this.#parts.log.warn({ job: job.id, error }, 'Indexing a complete job failed'),
      )
    this.#settling = Promise.all([this.#settling, this.#indexing])
      .then(() => this.#parts.index.settle({ signal: this.#runs.stopping }))
      .catch((error: unknown) => this.#parts.log.warn({ error }, 'Merging the index failed'))
  }

  #refuseIfOver(job: Job, verb: string): void {
    if (job.over)
      throw new FluidError('JOB_STATE', `Job ${job.id} is ${job.record.state} and cannot be ${verb}`)
  }
}

/** How long cancel waits for the other side to know. */
const CANCEL_WAIT_MS = 5_000
const WAKE_TIMEOUT_MS = 5_000
