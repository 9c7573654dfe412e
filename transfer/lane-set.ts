/** The lanes of one attempt on one side: opening, counting what they put on the wire, and closing them together. */
import { FluidError } from '../protocol/errors.ts'
import { MAX_UNNOTED_WINDOWS } from '../protocol/limits.ts'
import type { LanePath, LineState } from './lane.ts'
import type { FromLane, LaneCounters, LaneFault, LaneJob } from './lane-job.ts'
import type { LaneHandle, LanePool } from './lane-pool.ts'
import { sumStageTimes } from './stage-clock.ts'
import type { TransferCounters } from './transfer-counters.ts'

/** What a lane says once it is open, but for its counters. */
export type LaneReport = Exclude<FromLane, { type: 'opened' | 'counters' | 'closed' }>

export interface LaneListener {
  onReport(lane: LaneHandle, report: LaneReport): void
  /** What the lane has sent so far; told a few times a second. */
  onCounted?(lane: LaneHandle, wireSentBytes: number): void
  /** The line is known to lose packets. */
  readonly lineLoses?: boolean
  /** A lane saw that it does; the others are told. */
  onLineLoses?(): void
  /** The lane was open and is closed now; without an error: in good order. */
  onClosed(error: FluidError | undefined, lane: LaneHandle): void
}

/** Lanes that have nothing left to do end within this, or are ended. */
const SETTLE_TIMEOUT_MS = 3_000

/** After so many placed windows a lane is told that they are noted: seldom, and long before it waits for that. */
const NOTED_WINDOWS = MAX_UNNOTED_WINDOWS / 4

interface KnownLane {
  opened: boolean
  placedWindows: number
  wireBytes: number
  /** What it saw last. */
  line: LineState | undefined
}

export class LaneSet implements AsyncDisposable {
  readonly #pool: Pick<LanePool, 'open'>
  readonly #counters: TransferCounters
  readonly #listener: LaneListener
  readonly #lanes = new Map<LaneHandle, KnownLane>()
  #path: LanePath | undefined
  #lineLoses: boolean
  /** No lane is to do anything any more; one that is added ends at once, and closes what it was given. */
  #over = false

  constructor(pool: Pick<LanePool, 'open'>, counters: TransferCounters, listener: LaneListener) {
    this.#pool = pool
    this.#counters = counters
    this.#listener = listener
    this.#lineLoses = listener.lineLoses ?? false
  }

  /** How bytes travel; undefined before a lane was open. */
  get path(): LanePath | undefined {
    return this.#path
  }

  /** Lanes that are open now, or being opened. */
  get size(): number {
    return this.#lanes.size
  }

  /** Lanes that are open now. */
  get open(): number {
    let open = 0
    for (const { opened } of this.#lanes.values()) if (opened) open++
    return open
  }

  /** Most open lanes say that their line is full. */
  get lineFull(): boolean {
    let full = 0
    for (const { line } of this.#lanes.values()) if (line?.full) full++
    return full * 2 > this.open
  }

  /** An open lane says that the other end is near. */
  get near(): boolean {
    return [...this.#lanes.values()].some(({ line }) => line?.near === true)
  }

  /** Opens a lane; resolves to false when it could not be connected, which is told nowhere else. */
  add(job: LaneJob): Promise<boolean> {
    const counters = this.#counters
    return new Promise((resolve) => {
      const lane: LaneHandle = this.#pool.open(job, (message) => {
        const known = this.#lanes.get(lane)
        if (!known) return
        if (message.type === 'opened') {
          known.opened = true
          if (this.#lineLoses) lane.send({ type: 'line-loses' })
          this.#path = message.path
          resolve(true)
        } else if (message.type === 'counters') {
          this.#count(known, message)
          known.line = message.line
          if (message.line?.loses) this.#noteLosses()
          this.#listener.onCounted?.(lane, message.wireSentBytes)
        } else if (message.type === 'closed') {
          this.#count(known, message)
          if (message.stages) counters.stages = sumStageTimes(counters.stages ?? {}, message.stages)
          this.#lanes.delete(lane)
          if (known.opened) this.#listener.onClosed(message.error && errorOf(message.error), lane)
          else resolve(false)
        } else {
          this.#listener.onReport(lane, message)
          if (message.type === 'placed' && ++known.placedWindows % NOTED_WINDOWS === 0)
            lane.send({ type: 'noted', windows: NOTED_WINDOWS })
        }
      })
      this.#lanes.set(lane, { opened: false, placedWindows: 0, wireBytes: 0, line: undefined })
      if (this.#over) lane.abort()
    })
  }

  /**
   * Waits until the lanes have ended by themselves, at most SETTLE_TIMEOUT_MS, and ends those that did not: then all they
   * counted is known, and none reads or writes the volume any more.
   */
  async settle(): Promise<void> {
    const closed = Promise.all([...this.#lanes.keys()].map((lane) => lane.closed))
    let timer: NodeJS.Timeout | undefined
    await Promise.race([
      closed,
      new Promise<void>((resolve) => (timer = setTimeout(resolve, SETTLE_TIMEOUT_MS))),
    ])
    clearTimeout(timer)
    await this[Symbol.asyncDispose]()
  }

  /** Stops all lanes and waits until they are closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true
    const lanes = [...this.#lanes.keys()]
    for (const lane of lanes) lane.abort()
    await Promise.all(lanes.map(({ closed }) => closed))
  }

  /** Tells all lanes; those to come as well. */
  #noteLosses(): void {
    if (this.#lineLoses) return
    this.#lineLoses = true
    for (const [lane, { opened }] of this.#lanes) if (opened) lane.send({ type: 'line-loses' })
    this.#listener.onLineLoses?.()
  }

  #count(known: { wireBytes: number }, { wireSentBytes, wireReceivedBytes }: LaneCounters): void {
    const total = wireSentBytes + wireReceivedBytes
    this.#counters.wireBytes += total - known.wireBytes
    known.wireBytes = total
  }
}

function errorOf({ code, message, offset }: LaneFault): FluidError {
  return new FluidError(code, message, { offset })
}
