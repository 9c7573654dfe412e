/**
 * The receiving side of one attempt, on the main thread: opens lanes, makes what they placed durable in groups, and
 * tells the sender. Nothing is acknowledged before the volume is synced and the journal written.
 */
import { FluidError } from '../protocol/errors.ts'
import { RangeSet, type Range } from '../protocol/extent.ts'
import { violation } from '../protocol/field.ts'
import { CHECKPOINT_BYTES, CHECKPOINT_INTERVAL_MS, MAX_SEPARATE_RANGES } from '../protocol/limits.ts'
import { dataBytesOf, type Scope } from './chunk-index.ts'
import type { Journal } from './journal.ts'
import type { JournalRecord } from './journal-record.ts'
import type { LaneDescriptor, LanePath } from './lane.ts'
import type { LanePool } from './lane-pool.ts'
import { LaneSet, type LaneReport } from './lane-set.ts'
import type { Sink } from './sink.ts'
import type { TransferCounters } from './transfer-counters.ts'

/** A window that is written but not durable. */
interface PlacedWindow extends JournalRecord {
  readonly dedupedBytes: number
}

export interface InboundOptions {
  readonly pool: Pick<LanePool, 'open'>
  readonly sinkUrl: string
  /** The main thread's own instance, for sync(). */
  readonly sink: Sink
  /** Of the volume; the sink may be larger. */
  readonly sizeBytes: number
  readonly journal: Journal
  readonly statePath: string
  readonly scopes: readonly Scope[]
  readonly recent: SharedArrayBuffer
  /** The sender can compare chunks block by block. */
  readonly comparesBlocks: boolean
  /** Path of the version that is replaced, when it is another file and the sender may know what it holds. */
  readonly previous?: string
  /** Of the first chunks of each lane, which the sender may send before they are wanted; none by default. */
  readonly unaskedBytes?: number
  readonly counters: TransferCounters
  /**
   * The sender writes anew where something durable lies: only reading back tells what is there in the end. Resolves when
   * that is noted durably; before, nothing more is made durable, and what it rejects with ends the attempt.
   */
  onRewrite(): Promise<void>
  /** Ranges that became durable, to be told to the sender. */
  onCheckpoint(ranges: readonly Range[]): Promise<void>
}

export class Inbound implements AsyncDisposable {
  readonly #options: InboundOptions
  readonly #lanes: LaneSet
  readonly #failure = Promise.withResolvers<never>()
  readonly #allPlaced = Promise.withResolvers<void>()
  /** Nothing is announced any more. */
  #isAwaited = false
  readonly #covered: RangeSet
  /** Separate ones; what an older version left behind may be more. */
  readonly #mostRanges: number
  /** Durable when the attempt began, and announced since. */
  readonly #durable: RangeSet
  readonly #announced = new RangeSet()
  /** What onRewrite() said last. */
  #rewritten: Promise<void> = Promise.resolve()
  #placed: PlacedWindow[] = []
  #placedBytes = 0
  #committing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  /** Why nothing can be made durable any more. */
  #broken: { readonly error: unknown } | undefined

  constructor(options: InboundOptions) {
    this.#options = options
    this.#covered = options.journal.done.clone()
    this.#mostRanges = Math.max(MAX_SEPARATE_RANGES, this.#covered.count)
    this.#durable = this.#covered.clone()
    this.#failure.promise.catch(() => {})
    this.#lanes = new LaneSet(options.pool, options.counters, {
      onReport: (_lane, report) => this.#hear(report),
      onClosed: (error) => {
        if (error) this.#failure.reject(error)
        else if (this.#isAwaited && this.#lanes.size === 0) this.#allPlaced.resolve()
      },
    })
    if (this.#covered.totalBytes === options.sizeBytes) this.#allPlaced.resolve()
  }

  /** Rejects when a lane breaks, the target fails, or the sender breaks the protocol. */
  get failed(): Promise<never> {
    return this.#failure.promise
  }

  /** Resolves when everything is placed, or no lane is open that could bring more; to be asked when the sender is done. */
  untilPlaced(): Promise<void> {
    this.#isAwaited = true
    if (this.#lanes.size === 0) this.#allPlaced.resolve()
    return this.#allPlaced.promise
  }

  /** Bytes of the volume that are durable, holes included. */
  get doneBytes(): number {
    return this.#options.journal.done.totalBytes
  }

  get path(): LanePath | undefined {
    return this.#lanes.path
  }

  /** Waits for lanes that have nothing left to do to end, so that their last counters are in; others are ended. */
  settle(): Promise<void> {
    return this.#lanes.settle()
  }

  get openLanes(): number {
    return this.#lanes.open
  }

  /** More lanes would bring nothing: packets wait in the line's queue. */
  get lineFull(): boolean {
    return this.#lanes.lineFull
  }

  /** The other end is on this machine, or in this rack; false while nothing is known. */
  get near(): boolean {
    return this.#lanes.near
  }

  /** Opens a lane; false when it could not be connected. Never rejects: no thread for it ends the attempt. */
  addLane(descriptor: LaneDescriptor): Promise<boolean> {
    const { sinkUrl, sink, sizeBytes, statePath, scopes, recent, comparesBlocks, previous } = this.#options
    const opening = this.#lanes.add({
      role: 'receive',
      lane: descriptor,
      sinkUrl,
      sizeBytes,
      statePath,
      scopes,
      recent,
      comparesBlocks,
      previous,
      unaskedBytes: this.#options.unaskedBytes ?? 0,
      rereads: sink.former !== undefined,
    })
    return opening.catch((error: unknown) => {
      this.#failure.reject(error)
      return false
    })
  }

  /**
   * Makes everything placed so far durable, and that some of it was written anew. Rejects with why any of it is not, now or
   * before: NO_SPACE, TARGET_WRITE.
   */
  async commit(): Promise<void> {
    while (!this.#broken && (this.#placed.length > 0 || this.#committing)) {
      this.#commitSoon(0)
      await this.#committing
    }
    if (this.#broken) throw this.#broken.error
    await this.#rewritten
  }

  /** Stops all lanes, waits until they are closed, and makes durable what they left. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lanes[Symbol.asyncDispose]()
    this.#failure.reject(new FluidError('INTERRUPTED', 'The attempt was stopped'))
    // What cannot be made durable was told by `failed`, and is not acknowledged.
    await this.commit().catch(() => {})
    clearTimeout(this.#timer)
  }

  #hear(report: LaneReport): void {
    if (report.type === 'announced') return this.#announce(report)
    if (report.type !== 'placed') return
    const { counters, sizeBytes } = this.#options
    const { start, end, entries, receivedBytes } = report
    const dataBytes = dataBytesOf(entries)
    counters.sentBytes += receivedBytes
    this.#placed.push({ start, end, entries, dedupedBytes: dataBytes - receivedBytes })
    this.#placedBytes += dataBytes
    this.#covered.add(start, end)
    if (this.#covered.count > this.#mostRanges)
      this.#failure.reject(violation(`The sender leaves gaps between more than ${this.#mostRanges} ranges`))
    const all = this.#covered.totalBytes === sizeBytes
    if (all) this.#allPlaced.resolve()
    this.#commitSoon(all || this.#placedBytes >= CHECKPOINT_BYTES ? 0 : CHECKPOINT_INTERVAL_MS)
  }

  #announce({ start, end, missing }: Extract<LaneReport, { type: 'announced' }>): void {
    const again = this.#announced.intersects(start, end)
    if (again || (missing && this.#durable.intersects(start, end))) {
      this.#rewritten = this.#options.onRewrite()
      this.#rewritten.catch(this.#failure.reject)
    }
    if (again) {
      const where = `[${start}, ${end})`
      this.#failure.reject(violation(`The sender announced the window ${where} twice, or over another`))
    }
    this.#announced.add(start, end)
  }

  #commitSoon(waitMs: number): void {
    if (this.#committing || this.#broken) return
    if (waitMs > 0) {
      this.#timer ??= setTimeout(() => this.#commitSoon(0), waitMs)
      return
    }
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#placed.length === 0) return
    this.#committing = this.#commitNow()
      .catch((error: unknown) => {
        // What could not be made durable is not acknowledged; it is looked at again when the job resumes.
        this.#broken = { error }
        this.#failure.reject(error)
      })
      .finally(() => {
        this.#committing = undefined
        if (this.#placedBytes >= CHECKPOINT_BYTES || this.#covered.totalBytes === this.#options.sizeBytes) {
          this.#commitSoon(0)
        } else if (this.#placed.length > 0) this.#commitSoon(CHECKPOINT_INTERVAL_MS)
      })
  }

  async #commitNow(): Promise<void> {
    const { counters } = this.#options
    const records = this.#placed
    this.#placed = []
    this.#placedBytes = 0
    await this.#rewritten
    await this.#options.sink.sync()
    await this.#options.journal.append(records, { durable: true })
    for (const { start, end, entries, dedupedBytes } of records) {
      // Counted once durable, so once, however often a window comes again.
      counters.zeroBytes += end - start - dataBytesOf(entries)
      counters.dedupedBytes += dedupedBytes
    }
    await this.#options.onCheckpoint([...new RangeSet(records)])
  }
}
