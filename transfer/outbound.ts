/**
 * The sending side of one attempt, on the main thread: hands windows to lanes, keeps what was sent until the receiver
 * says it is durable, then journals it. A lane that breaks ends the attempt; the next one starts from the journal.
 */
import { FluidError } from '../protocol/errors.ts'
import type { Range, RangeSet } from '../protocol/extent.ts'
import { violation } from '../protocol/field.ts'
import {
  MAX_UNACKNOWLEDGED_WINDOWS,
  NEAR_ROUND_TRIP_MS,
  NEAR_WINDOWS,
  WINDOWS_AHEAD,
  WINDOWS_PER_LANE,
} from '../protocol/limits.ts'
import type { Chunking } from './chunker.ts'
import { dataBytesOf } from './chunk-index.ts'
import type { Journal } from './journal.ts'
import type { JournalRecord } from './journal-record.ts'
import type { LaneDescriptor, LanePath } from './lane.ts'
import type { LaneHandle, LanePool } from './lane-pool.ts'
import { LaneSet, type LaneReport } from './lane-set.ts'
import type { PreparedSource } from './prepared-source.ts'
import type { TransferCounters } from './transfer-counters.ts'
import { windows, type Window } from './window.ts'
import { WindowTurns } from './window-turns.ts'

/** A window that was sent, and how much of it the target held. */
interface UnacknowledgedWindow extends JournalRecord {
  readonly dedupedBytes: number
}

export interface OutboundOptions {
  readonly pool: LanePool
  readonly source: PreparedSource
  readonly journal: Journal
  /** What the receiver says is durable already. */
  readonly committed: RangeSet
  readonly chunking: Chunking
  readonly compression: 'auto' | 'on' | 'off'
  /** Rate limits that all hold, see pacer.ts. */
  readonly pacers: readonly SharedArrayBuffer[]
  /** Of the first chunks of each lane, which the receiver takes before it wants them; none by default. */
  readonly unaskedBytes?: number
  /** A version is changed in place: little is sent, and most of the work is to read. */
  readonly rereads?: boolean
  /** To the receiver, as far as it is known. */
  readonly roundTripMs?: number
  /** The line is known to lose packets. */
  readonly lineLoses?: boolean
  /** A lane saw that it does. */
  onLineLoses?(): void
  /** Windows handed out and not acknowledged, at most; MAX_UNACKNOWLEDGED_WINDOWS by default. */
  readonly mostUnacknowledged?: number
  /** Counted up as the attempt goes on. */
  readonly counters: TransferCounters
}

export class Outbound implements AsyncDisposable {
  readonly #options: OutboundOptions
  readonly #lanes: LaneSet
  readonly #turns: WindowTurns<LaneHandle>
  /** That a lane has memory for. */
  readonly #windows: number
  /** Windows that are planned, and nobody has. */
  readonly #ahead: Window[] = []
  readonly #unacknowledged = new Map<number, UnacknowledgedWindow>()
  /** Acknowledged, and on their way into the journal. */
  readonly #journaling = new Set<JournalRecord>()
  readonly #remaining: RangeSet
  /** Ends of the windows that lanes were given and the receiver did not acknowledge, by where they start. */
  readonly #handed = new Map<number, number>()
  /** Starts of those it acknowledged before their lane said that they are sent. */
  readonly #early = new Set<number>()
  readonly #plan: AsyncGenerator<Window>
  readonly #outcome = Promise.withResolvers<void>()
  readonly #allSent = Promise.withResolvers<void>()
  readonly #abort = new AbortController()
  #planned = false
  /** Windows that lanes have, and have not sent. */
  #underWay = 0
  #serving = false
  #paused = false

  constructor(options: OutboundOptions) {
    this.#options = options
    const { roundTripMs = Infinity } = options
    this.#windows = roundTripMs > NEAR_ROUND_TRIP_MS ? WINDOWS_PER_LANE : NEAR_WINDOWS
    this.#turns = new WindowTurns(roundTripMs)
    const { source, journal, committed } = options
    const known = journal.done.clone().removeAll(committed.complement(source.sizeBytes))
    this.#remaining = known.complement(source.sizeBytes)
    const { signal } = this.#abort
    this.#plan = windows([...this.#remaining], (from) => source.source.extents(from, { signal }))
    this.#outcome.promise.catch(() => {})
    this.#lanes = new LaneSet(options.pool, options.counters, {
      lineLoses: options.lineLoses,
      onLineLoses: () => options.onLineLoses?.(),
      onReport: (lane, report) => this.#hear(lane, report),
      onCounted: (lane, wireSentBytes) => {
        this.#turns.counted(lane, wireSentBytes, performance.now())
        if (this.#turns.waiting.length > 0) void this.#serve()
      },
      onClosed: (error, lane) => {
        this.#turns.forget(lane)
        if (error) this.#outcome.reject(error)
        else if (!this.#planned || this.#ahead.length > 0)
          this.#outcome.reject(new FluidError('LANE_FAILED', 'A lane closed before everything was sent'))
      },
    })
    if (this.#remaining.totalBytes === 0) this.#outcome.resolve()
  }

  /** Resolves when everything is durable at the receiver and journaled here; rejects when the attempt is over. */
  get done(): Promise<void> {
    return this.#outcome.promise
  }

  /** Resolves when everything was handed to the line, or is durable at the receiver; rejects when the attempt is over. */
  get sent(): Promise<void> {
    return Promise.race([this.#allSent.promise, this.#outcome.promise])
  }

  /** Windows that were read and are not in the journal yet. */
  get pending(): JournalRecord[] {
    return [...this.#unacknowledged.values(), ...this.#journaling]
  }

  /** Bytes of the volume, holes included, that are durable at the receiver. */
  get doneBytes(): number {
    return this.#options.source.sizeBytes - this.#remaining.totalBytes
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
    const { source, chunking, compression, pacers, rereads, unaskedBytes = 0 } = this.#options
    const opening = this.#lanes.add({
      role: 'send',
      lane: descriptor,
      sourceUrl: source.url,
      chunking,
      compression,
      pacers,
      windows: this.#windows,
      unaskedBytes,
      rereads,
    })
    return opening.catch((error: unknown) => {
      this.#outcome.reject(error)
      return false
    })
  }

  /**
   * The receiver made these ranges durable. Resolves when that is journaled. Throws PROTOCOL_VIOLATION when they are not
   * made of whole windows that it was given in this attempt, each acknowledged once.
   */
  async acknowledge(ranges: readonly Range[]): Promise<void> {
    const records: UnacknowledgedWindow[] = []
    for (const { start, end } of ranges) {
      for (let at = start, next; at < end; at = next) {
        next = this.#handed.get(at)
        if (next === undefined || next > end)
          throw violation(`The receiver says that [${start}, ${end}) is durable, which are no windows it got`)
        this.#handed.delete(at)
        const record = this.#unacknowledged.get(at)
        if (record) records.push(record)
        else this.#early.add(at)
      }
    }
    await this.#journal(records)
    void this.#serve()
  }

  /** No window is handed out from now on; those under way finish. */
  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    void this.#serve()
  }

  /** Stops all lanes and waits until they are closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#outcome.reject(new FluidError('INTERRUPTED', 'The attempt was stopped'))
    this.#abort.abort(new FluidError('INTERRUPTED', 'The attempt was stopped'))
    await this.#lanes[Symbol.asyncDispose]()
  }

  #hear(lane: LaneHandle, report: LaneReport): void {
    const { counters } = this.#options
    if (report.type === 'next') {
      this.#turns.ask(lane)
      void this.#serve()
    } else if (report.type === 'sent') {
      const { start, end, entries, sentBytes, dataBytes } = report
      this.#unacknowledged.set(start, { start, end, entries, dedupedBytes: dataBytes - sentBytes })
      counters.sentBytes += sentBytes
      this.#turns.sent(lane, performance.now())
      this.#underWay--
      void this.#serve()
      // The receiver's word comes another way, and can be here before the lane's own.
      if (this.#early.delete(start))
        this.#journal([this.#unacknowledged.get(start)!]).catch(this.#outcome.reject)
    }
  }

  /** Notes what was sent, and is durable at the receiver. */
  async #journal(records: readonly UnacknowledgedWindow[]): Promise<void> {
    const { counters } = this.#options
    for (const record of records) {
      this.#unacknowledged.delete(record.start)
      this.#journaling.add(record)
      // Counted once, however often a window had to be read again.
      counters.zeroBytes += record.end - record.start - dataBytesOf(record.entries)
      counters.dedupedBytes += record.dedupedBytes
    }
    await this.#options.journal.append(records, { durable: false })
    for (const record of records) {
      this.#journaling.delete(record)
      this.#remaining.remove(record.start, record.end)
    }
    if (this.#remaining.totalBytes === 0) this.#outcome.resolve()
  }

  /** Hands windows to the lanes whose turn it is, and plans some ahead; one planner at a time. */
  async #serve(): Promise<void> {
    if (this.#serving) return
    this.#serving = true
    try {
      for (;;) {
        this.#handOut()
        if (this.#paused || this.#planned || this.#ahead.length >= WINDOWS_AHEAD) break
        const next = await this.#plan.next()
        if (next.done) this.#planned = true
        else this.#ahead.push(next.value)
      }
    } catch (error) {
      this.#outcome.reject(error)
    } finally {
      this.#serving = false
    }
  }

  #handOut(): void {
    const { mostUnacknowledged = MAX_UNACKNOWLEDGED_WINDOWS } = this.#options
    while (!this.#paused && this.#ahead.length > 0) {
      if (this.#handed.size >= mostUnacknowledged) return
      const lane = this.#turns.next(this.#planned ? this.#ahead.length : undefined)
      if (!lane) return
      this.#turns.handed(lane, performance.now())
      const window = this.#ahead.shift()!
      this.#handed.set(window.start, window.end)
      lane.send({ type: 'window', ...window })
      this.#underWay++
    }
    if (this.#paused || !this.#planned) return
    if (this.#ahead.length === 0 && this.#underWay === 0) this.#allSent.resolve()
    for (const lane of Array.from(this.#turns.waiting)) {
      this.#turns.forget(lane)
      lane.send({ type: 'finish' })
    }
  }
}
