/** One relocation in the running agent: its record, the wishes of its owner, and who watches it. */
import { asFluidError } from '../../protocol/errors.ts'
import type { RelocationReport } from '../reports/relocation-reports.ts'
import { errorReport } from '../jobs/job.ts'
import type { Table } from '../state-store.ts'
import { crashPoint } from './crash-point.ts'
import { changeKept } from './kept-change.ts'
import { grantedUntil } from './lease.ts'
import type { RelocationRecord } from './relocation-record.ts'
import { isEnd, nextState, type RelocationEvent } from './relocation-state.ts'

/** What the step under way tells, for people; nothing depends on it. */
export interface LiveFacts {
  readonly doneBytes?: number
  readonly dirtyBytes?: number
  readonly dirtyBytesPerSecond?: number
  readonly predictedDowntimeMs?: number
  /** Why the last change could not be kept. */
  readonly unkept?: RelocationRecord['error']
}

export class Relocation {
  readonly record: RelocationRecord
  live: LiveFacts = {}
  /** Until when the target may hold a lease, by performance.now(); at first as long as one of another process may last. */
  leaseEndsAt: number
  readonly #table: Pick<Table<RelocationRecord>, 'put'>
  readonly #peerName: (peer: string) => string
  readonly #watchers = new Set<() => void>()

  constructor(
    record: RelocationRecord,
    table: Pick<Table<RelocationRecord>, 'put'>,
    peerName: (peer: string) => string,
  ) {
    this.record = record
    this.#table = table
    this.#peerName = peerName
    this.leaseEndsAt = grantedUntil(performance.now(), record.leaseMs)
  }

  get id(): string {
    return this.record.relocation
  }

  get over(): boolean {
    return isEnd(this.record.state)
  }

  /** Changes the record, keeps it, and tells the watchers. On the disk when it resolves; undone when it rejects. */
  async update(change: Partial<RelocationRecord>): Promise<void> {
    const { state = this.record.state } = change
    const ends = isEnd(state) && { finishedAt: this.record.finishedAt ?? Date.now() }
    await changeKept(this.record, { ...change, ...ends }, () => this.#table.put(this.id, this.record))
    this.show({ unkept: undefined })
  }

  /** Moves to the next state, with what belongs to it, in one write; nothing that the state allows was done before. */
  async become(event: RelocationEvent, change: Partial<RelocationRecord> = {}): Promise<void> {
    const state = nextState(this.record.state, event)
    await this.update({ ...change, state })
    crashPoint(state)
  }

  /** Notes facts for watchers that no crash has to know. */
  show(facts: LiveFacts): void {
    this.live = { ...this.live, ...facts }
    this.tell()
  }

  tell(): void {
    for (const watcher of this.#watchers) watcher()
  }

  /** Calls `watcher` after every change, until disposed. */
  watch(watcher: () => void): Disposable {
    this.#watchers.add(watcher)
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) }
  }

  report(): RelocationReport {
    const { record, live } = this
    const { rounds, disks, timings } = record
    const last = rounds.at(-1)
    const seconds = (from?: number, to?: number) =>
      from === undefined || to === undefined ? undefined : Math.max(0, to - from) / 1000
    return {
      job: record.relocation,
      state: record.state,
      wanted: record.wanted,
      service: record.service.name,
      peer: record.peer,
      peerName: this.#peerName(record.peer),
      live: record.live,
      machines: record.machines.map(({ name }) => name),
      jobs: disks.flatMap(({ job }) => (job === undefined ? [] : [job])),
      detail: record.detail,
      round: rounds.length,
      totalBytes: disks.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0),
      doneBytes: live.doneBytes,
      sentBytes: rounds.reduce((sum, { sentBytes }) => sum + sentBytes, 0),
      wireBytes: rounds.reduce((sum, { wireBytes }) => sum + wireBytes, 0),
      dirtyBytes: live.dirtyBytes ?? last?.dirtyBytes,
      dirtyBytesPerSecond: live.dirtyBytesPerSecond,
      predictedDowntimeSeconds:
        live.predictedDowntimeMs === undefined ? undefined : live.predictedDowntimeMs / 1000,
      downtimeSeconds: seconds(record.pausedAt, record.healthyAt ?? record.restoredAt),
      pauseToDataSeconds: seconds(record.pausedAt, record.dataCompleteAt),
      startToHealthySeconds: timings && (timings.starting + timings.checking) / 1000,
      timings,
      roots: disks.flatMap(({ machine, disk, root }) =>
        root === undefined ? [] : [{ machine, disk, root }],
      ),
      changes: record.changes.map(({ machine, path, diff }) => ({ machine, path, diff })),
      sourceRuns: record.restored ?? false,
      finalizeAt: record.finalizeAt === undefined ? undefined : new Date(record.finalizeAt).toISOString(),
      error: live.unkept ?? record.error,
      seconds: ((record.healthyAt ?? record.finishedAt ?? Date.now()) - record.createdAt) / 1000,
      createdAt: new Date(record.createdAt).toISOString(),
      finishedAt: record.finishedAt === undefined ? undefined : new Date(record.finishedAt).toISOString(),
    }
  }
}

/** An error as the record keeps it. */
export function reportOf(error: unknown): RelocationRecord['error'] {
  return errorReport(asFluidError(error))
}
