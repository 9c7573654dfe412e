/** One job in the running agent: its record, what its attempt shows at present, and who watches it. */
import { asFluidError, type FluidError } from '../../protocol/errors.ts'
import type { LanePath } from '../../transfer/lane.ts'
import type { ErrorReport } from '../reports/error-report.ts'
import type { JobReport, JobState } from '../reports/job-reports.ts'
import { isOver, type JobRecord } from './job-record.ts'
import type { Table } from '../state-store.ts'

/** What an attempt under way can tell. */
export interface LiveAttempt {
  readonly doneBytes: number
  readonly openLanes: number
  readonly path: LanePath | undefined
}

/** Rates are taken over this long. */
const RATE_WINDOW_MS = 3_000

interface Sample {
  readonly at: number
  readonly doneBytes: number
  readonly wireBytes: number
}

export class Job {
  readonly record: JobRecord
  /** Set by an attempt while it runs. */
  live: LiveAttempt | undefined
  readonly #table: Pick<Table<JobRecord>, 'put'>
  readonly #peerName: (peer: string) => string
  readonly #watchers = new Set<() => void>()
  #samples: Sample[] = []
  #doneBytes = 0

  constructor(record: JobRecord, table: Pick<Table<JobRecord>, 'put'>, peerName: (peer: string) => string) {
    this.record = record
    this.#table = table
    this.#peerName = peerName
  }

  get id(): string {
    return this.record.job
  }

  get over(): boolean {
    return isOver(this.record.state)
  }

  /** Changes the record, keeps it (on disk when `durable`), and tells the watchers. */
  async update(change: Partial<JobRecord>, options: { durable: boolean } = { durable: true }): Promise<void> {
    Object.assign(this.record, change)
    if (isOver(this.record.state)) this.record.finishedAt ??= Date.now()
    await this.#table.put(this.id, this.record, options)
    for (const watcher of this.#watchers) watcher()
  }

  /** Moves to a state; an error says why. */
  async become(state: JobState, error?: unknown): Promise<void> {
    await this.update({ state, error: error === undefined ? undefined : errorReport(asFluidError(error)) })
  }

  /** Calls `watcher` after every change, until disposed. */
  watch(watcher: () => void): Disposable {
    this.#watchers.add(watcher)
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) }
  }

  /** Remembers how far the attempt is; called a few times a second while it runs. */
  sample(): void {
    if (this.live) this.#doneBytes = this.live.doneBytes
    const at = performance.now()
    this.#samples.push({ at, doneBytes: this.#doneBytes, wireBytes: this.record.counters.wireBytes })
    while (this.#samples.length > 2 && at - this.#samples[0].at > RATE_WINDOW_MS) this.#samples.shift()
  }

  /** Forgets what rates were taken from: the attempt is over. */
  rest(): void {
    if (this.live) this.#doneBytes = this.live.doneBytes
    this.live = undefined
    this.#samples = []
  }

  /** Sets how much is durable when no attempt runs; from the journal. */
  set doneBytes(bytes: number) {
    this.#doneBytes = bytes
  }

  report(): JobReport {
    const { record, live } = this
    const { counters } = record
    const doneBytes = record.state === 'complete' ? record.sizeBytes : (live?.doneBytes ?? this.#doneBytes)
    const rate = this.#rate()
    const left = record.sizeBytes - doneBytes
    const running = record.state === 'running' && rate.done > 0
    return {
      job: record.job,
      direction: record.direction,
      state: record.state,
      peer: record.peer,
      peerName: this.#peerName(record.peer),
      source: record.source,
      destination: record.destination,
      logicalBytes: record.sizeBytes,
      doneBytes,
      sentBytes: counters.sentBytes,
      wireBytes: counters.wireBytes,
      dedupedBytes: counters.dedupedBytes,
      zeroBytes: counters.zeroBytes,
      resumedBytes: counters.resumedBytes,
      bytesPerSecond: Math.round(rate.done),
      wireBytesPerSecond: Math.round(rate.wire),
      etaSeconds: running ? Math.round(left / rate.done) : undefined,
      seconds: this.#activeMs() / 1000,
      lanes: live?.openLanes ?? 0,
      path: live?.path ?? mainPath(record),
      pathReason: record.pathReason,
      root: record.root,
      error: record.error,
      createdAt: new Date(record.createdAt).toISOString(),
      finishedAt: record.finishedAt === undefined ? undefined : new Date(record.finishedAt).toISOString(),
    }
  }

  #rate(): { done: number; wire: number } {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (!first || !last || last.at === first.at) return { done: 0, wire: 0 }
    const seconds = (last.at - first.at) / 1000
    return {
      done: (last.doneBytes - first.doneBytes) / seconds,
      wire: (last.wireBytes - first.wireBytes) / seconds,
    }
  }

  #activeMs(): number {
    const { startedAt, finishedAt, createdAt } = this.record
    return (finishedAt ?? Date.now()) - (startedAt ?? createdAt)
  }
}

/** The path most bytes of the lanes took. A volume without bytes needs none: all that was said of it went over the mesh. */
function mainPath({ wireByPath, state }: Job['record']): LanePath | undefined {
  const [most] = Object.entries(wireByPath)
    .filter(([path]) => path !== 'mesh')
    .sort(([, a], [, b]) => b - a)
  if (most === undefined) return state === 'complete' ? 'libp2p' : undefined
  return most[0] as LanePath
}

export function errorReport(error: FluidError): ErrorReport {
  const { code, message, hint, retryable, exit } = error
  return { code, message, hint, retryable, exit }
}
