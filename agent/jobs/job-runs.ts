/** The jobs that run at present, each once: how their owners' wishes, their peers' return and the agent's end reach them. */
import type { Logger } from 'pino'
import { FluidError } from '../../protocol/errors.ts'
import type { JobState } from '../reports/job-reports.ts'
import type { Job } from './job.ts'
import { createPlaces, type Places } from './places.ts'

/** In these states a job uses cores, or is about to. */
const MOVING: ReadonlySet<JobState> = new Set<JobState>(['connecting', 'running', 'verifying'])

/** How the owner's wishes and the mesh reach a running job. */
export interface JobSignals {
  /** Aborted when the agent stops. */
  readonly signal: AbortSignal
  /** Called when the job's owner asks for a pause or its end. */
  onWish(listener: () => void): Disposable
  /** Jobs that move at this agent now, or are about to, in either direction; the one that asks among them. */
  moving(): number
  /** A place among the jobs that run; none, and at once, when the owner wants the job to pause or to end. */
  place(): Promise<Disposable>
  /** Resolves after `ms`, sooner when the peer connects or the owner has a wish. */
  wait(ms: number): Promise<void>
}

/** What runs of a job. */
export interface JobRun {
  readonly abort: AbortController
  /** Never rejects. */
  readonly ended: Promise<void>
}

interface Running extends JobRun {
  readonly job: Job
  readonly wishes: Set<() => void>
}

export class JobRuns {
  readonly #running = new Map<string, Running>()
  readonly #peerConnected = new Set<(peer: string) => void>()
  readonly #stopping = new AbortController()
  readonly #places: Places
  readonly #log: Pick<Logger, 'debug'>

  /** At most `places` outgoing jobs have an attempt at a time. */
  constructor(places: number, log: Pick<Logger, 'debug'>) {
    this.#places = createPlaces(places)
    this.#log = log
  }

  /** Aborted when the agent stops. */
  get stopping(): AbortSignal {
    return this.#stopping.signal
  }

  /** Ids of the jobs that run. */
  ids(): Iterable<string> {
    return this.#running.keys()
  }

  get(id: string): JobRun | undefined {
    return this.#running.get(id)
  }

  /** Runs something of a job, which has nothing else running. */
  open(job: Job, run: (signals: JobSignals) => Promise<void>): JobRun {
    const abort = new AbortController()
    const wishes = new Set<() => void>()
    const signals: JobSignals = {
      signal: AbortSignal.any([abort.signal, this.stopping]),
      onWish: (listener) => {
        wishes.add(listener)
        return { [Symbol.dispose]: () => void wishes.delete(listener) }
      },
      moving: () => this.#moving(),
      place: () => this.#place(job, signals),
      wait: (ms) => this.#wait(job, ms, wishes, abort.signal),
    }
    const ended = run(signals)
      .catch((error: unknown) => {
        if (!this.stopping.aborted) this.#log.debug({ job: job.id, error }, 'A job attempt ended')
      })
      .finally(() => {
        if (this.#running.get(job.id) === running) this.#running.delete(job.id)
      })
    const running: Running = { job, abort, wishes, ended }
    this.#running.set(job.id, running)
    return running
  }

  /** The owner has said something that is in the job's record now. */
  wish(job: Job): void {
    for (const listener of Array.from(this.#running.get(job.id)?.wishes ?? [])) listener()
  }

  /** Whoever waits for this peer tries again at once. */
  peerConnected(peer: string): void {
    for (const listener of this.#peerConnected) listener(peer)
  }

  /** Ends all of them. */
  async stop(): Promise<void> {
    this.#stopping.abort(new FluidError('INTERRUPTED', 'The agent is stopping'))
    for (const { abort } of this.#running.values()) abort.abort(this.stopping.reason)
    await Promise.allSettled([...this.#running.values()].map(({ ended }) => ended))
  }

  #moving(): number {
    return [...this.#running.values()].filter(({ job }) => MOVING.has(job.record.state)).length
  }

  async #place(job: Job, { signal, onWish }: JobSignals): Promise<Disposable> {
    // A machine stands still meanwhile.
    if (job.record.rounds?.last) return { [Symbol.dispose]() {} }
    const leave = new AbortController()
    const heed = () => {
      if (job.record.wanted !== 'run') leave.abort()
    }
    using _wish = onWish(heed)
    heed()
    return await this.#places.take(AbortSignal.any([leave.signal, signal]))
  }

  #wait(job: Job, ms: number, wishes: Set<() => void>, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.#peerConnected.delete(connected)
        wishes.delete(done)
        signal.removeEventListener('abort', done)
        this.stopping.removeEventListener('abort', done)
        resolve()
      }
      const connected = (peer: string) => peer === job.record.peer && done()
      const timer = setTimeout(done, ms)
      this.#peerConnected.add(connected)
      wishes.add(done)
      signal.addEventListener('abort', done, { once: true })
      this.stopping.addEventListener('abort', done, { once: true })
    })
  }
}
