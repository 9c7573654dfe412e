/**
 * Whose turn it is to take the next window: which lane is asked for, how many windows a lane may have under way, and,
 * near the end, which lanes had better take none, so that all are done at about the same time. Pure; times come in.
 *
 * A window cannot be taken back once it was announced. So a slow lane holds few, and what is left in the end goes
 * one by one to the lane that will be done with it first (list scheduling; Graham 1969, Bounds on multiprocessing
 * timing anomalies).
 */
import { MAX_JOB_WINDOWS, WINDOW_BYTES, WINDOWS_PER_LANE } from '../protocol/limits.ts'

/** A lane begins with so many windows: one that is written, and one that is read and asked for meanwhile. */
const FIRST_WINDOWS = 2
/** And has at most what its memory holds, and one that it is told of before. */
const MOST_WINDOWS = WINDOWS_PER_LANE + 1
/** A lane that gets through a window sooner may hold one more, one that takes longer than this holds one less. */
const QUICK_MS = 500
const SLOW_MS = 1_000
/** From when a window is handed out until it is asked for, beside the round trip: it is read and digested. */
const READ_MS = 50
/** Rates are averaged over about this long. */
const RATE_MS = 1_000
/** A window of which more bytes went out than usual is still not done. */
const NEARLY = 0.95

interface Load {
  /** When each window under way was handed out; the oldest first. */
  readonly underWay: number[]
  sent: number
  /** Windows it may have under way. */
  most: number
  wireBytes: number
  /** Of these, when it was last done with a window. */
  wireBytesAtSent: number
  /** Windows a millisecond; undefined before it was measured. */
  rate: number | undefined
  seen: { readonly at: number; readonly progress: number } | undefined
  samples: number
}

/** `Lane` is whatever stands for a lane. Times are milliseconds of one clock. */
export class WindowTurns<Lane> {
  readonly #loads = new Map<Lane, Load>()
  readonly #waiting: Lane[] = []
  readonly #roundTripMs: number
  #sent = 0
  #sentWireBytes = 0

  /** Of the line; Infinity when it is not known. */
  constructor(roundTripMs = Infinity) {
    this.#roundTripMs = roundTripMs
  }

  /** Lanes that asked for a window and got none yet, in the order in which they asked. */
  get waiting(): readonly Lane[] {
    return this.#waiting
  }

  /** The lane could take one more window. */
  ask(lane: Lane): void {
    if (!this.#loads.has(lane)) {
      this.#loads.set(lane, {
        underWay: [],
        sent: 0,
        most: FIRST_WINDOWS,
        wireBytes: 0,
        wireBytesAtSent: 0,
        rate: undefined,
        seen: undefined,
        samples: 0,
      })
    }
    this.#waiting.push(lane)
  }

  /** The lane is closed. */
  forget(lane: Lane): void {
    this.#loads.delete(lane)
    const at = this.#waiting.indexOf(lane)
    if (at !== -1) this.#waiting.splice(at, 1)
  }

  /**
   * The lane to hand a window to now; undefined when none should have one before something changes. `left` are the
   * windows that nobody has, once their number is known.
   */
  next(left: number | undefined): Lane | undefined {
    const most = Math.max(1, Math.floor(MAX_JOB_WINDOWS / this.#loads.size))
    const ready = this.#waiting.filter((lane) => {
      const load = this.#loads.get(lane)!
      return load.underWay.length < Math.min(load.most, this.#needed(load), most)
    })
    if (ready.length === 0 || left === undefined) return ready[0]
    return this.#firstDone(new Set(ready), left)
  }

  /** A window was given to the lane, which waits no more. */
  handed(lane: Lane, at: number): void {
    this.#waiting.splice(this.#waiting.indexOf(lane), 1)
    const load = this.#loads.get(lane)!
    if (load.underWay.push(at) === 1) load.seen = { at, progress: this.#progress(load) }
  }

  /** The lane has put all of its oldest window on the line. */
  sent(lane: Lane, at: number): void {
    const load = this.#loads.get(lane)
    const since = load?.underWay.shift()
    if (!load || since === undefined) return
    this.#sent++
    this.#sentWireBytes += load.wireBytes - load.wireBytesAtSent
    load.sent++
    load.wireBytesAtSent = load.wireBytes
    if (at - since < QUICK_MS) load.most = Math.min(load.most + 1, MOST_WINDOWS)
    else if (at - since > SLOW_MS) load.most = Math.max(load.most - 1, FIRST_WINDOWS)
  }

  /** The lane has put so much on the line, in all. */
  counted(lane: Lane, wireBytes: number, at: number): void {
    const load = this.#loads.get(lane)
    if (!load) return
    load.wireBytes = wireBytes
    const progress = this.#progress(load)
    const { seen } = load
    // A lane with nothing to do is not slow.
    load.seen = load.underWay.length > 0 ? { at, progress } : undefined
    if (!seen || at <= seen.at) return
    load.samples++
    const rate = Math.max(0, progress - seen.progress) / (at - seen.at)
    const weight = Math.max(1 / load.samples, Math.min(1, (at - seen.at) / RATE_MS))
    load.rate = (load.rate ?? 0) + (rate - (load.rate ?? 0)) * weight
  }

  /** Windows the lane is done with, and the part it has sent of the one under way. */
  #progress(load: Load): number {
    if (load.underWay.length === 0) return load.sent
    const usual = this.#sent > 0 ? Math.max(1, this.#sentWireBytes / this.#sent) : WINDOW_BYTES
    return load.sent + Math.min(NEARLY, (load.wireBytes - load.wireBytesAtSent) / usual)
  }

  /**
   * Windows that keep the lane busy at its rate: one that is written, those that are written while another is read and asked
   * for, and one for when that takes longer. All beyond would only wait, on a lane that may be slow in the end.
   */
  #needed({ rate }: Load): number {
    if (!rate) return MOST_WINDOWS
    return 2 + Math.ceil((this.#roundTripMs + READ_MS) * rate)
  }

  /** Gives what is left away, always to the lane that is done with it first, until one of `ready` is given a window. */
  #firstDone(ready: ReadonlySet<Lane>, left: number): Lane | undefined {
    const known = [...this.#loads.values()].flatMap(({ rate }) => rate || [])
    const usual = known.length > 0 ? known.reduce((sum, rate) => sum + rate, 0) / known.length : 1
    const lanes = [...this.#loads].map(([lane, load]) => {
      // A lane that stands still may go on; were it for ever, the attempt would end.
      const windowMs = 1 / Math.max(load.rate ?? usual, usual / 1000)
      const behind = load.sent + load.underWay.length - this.#progress(load)
      return { lane, windowMs, doneAt: (behind + 1) * windowMs }
    })
    for (; left > 0; left--) {
      const first = lanes.reduce((best, lane) => (lane.doneAt < best.doneAt ? lane : best))
      if (ready.has(first.lane)) return first.lane
      first.doneAt += first.windowMs
    }
    return undefined
  }
}
