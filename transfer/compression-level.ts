/**
 * Decides how hard a lane compresses what it compresses: higher levels of zstd find more, and take longer to.
 *
 * On a line that is slower than the processors these have time left. A lane that had enough of it for the next level,
 * judgement after judgement, takes that level; when nothing is left for some, it goes back to the one before, and waits
 * longer before it tries again. Lanes of one thread share what is left, so they take turns (RaiseTurns): the next one sees what the last
 * one's level took.
 * Pure and deterministic: time comes in with the judgements.
 */

/**
 * From the quickest on; `cost` is processor time in that of the first. Of a real Debian disk they leave 35, 32 and 31 % in
 * frames of 1 MiB, at 2.5, 3.5 and 9 s/GiB. What lies between is hardly smaller than the one below, and what lies above takes more
 * for each percent than any line is worth.
 */
export const LEVELS = [
  { level: 1, cost: 1 },
  { level: 3, cost: 1.4 },
  { level: 6, cost: 3.6 },
] as const

/** What a lane saw since the judgement before; shares of that time from 0 to 1. */
export interface Judgement {
  /** In which nothing was to be done here or there: the line was waited for. */
  readonly slack: number
  /** Whether this end or the other had no time left, whatever the line did. */
  readonly short: boolean
  /** In which this lane compressed. */
  readonly compressing: number
  /** Whether it compresses most of what it can. */
  readonly most: boolean
}

/** Of the time that is left, what a level may take at most: others see the same time, and data differs. */
const TAKEN_OF_SLACK = 0.6
/** Shares of time up to this are no slack. */
export const NO_SLACK = 0.05
/** Judgements with no time left after which a level is given up: in one, buffers fill. */
const SHORT_JUDGEMENTS = 2
/** Judgements with enough of it before a level is taken; twice as many after each one that was given up. */
const PATIENCE = { least: 5, most: 320 }

/** One lane's level. */
export class CompressionLevel {
  readonly #mayRaise: () => boolean
  #index = 0
  #patience: number = PATIENCE.least
  #roomy = 0
  #short = 0

  /** `mayRaise` is asked when all else speaks for the next level. */
  constructor(mayRaise: () => boolean = () => true) {
    this.#mayRaise = mayRaise
  }

  /** Of zstd. */
  get level(): number {
    return LEVELS[this.#index].level
  }

  judge({ slack, short, compressing, most }: Judgement): void {
    if (!most) return this.#lower(0)
    this.#short = short ? this.#short + 1 : 0
    if (this.#short >= SHORT_JUDGEMENTS) return this.#lower(this.#index - 1)
    if (slack <= NO_SLACK || this.#index === LEVELS.length - 1) return
    const takesMore = compressing * (LEVELS[this.#index + 1].cost / LEVELS[this.#index].cost - 1)
    this.#roomy = takesMore < TAKEN_OF_SLACK * slack ? this.#roomy + 1 : 0
    if (this.#roomy < this.#patience || !this.#mayRaise()) return
    this.#index++
    this.#roomy = 0
  }

  #lower(to: number): void {
    this.#roomy = 0
    this.#short = 0
    if (this.#index === 0) return
    this.#index = to
    this.#patience = Math.min(2 * this.#patience, PATIENCE.most)
  }
}

/** Longer than a judgement, milliseconds. */
const TURN_MS = 500

/** Lets one lane of a thread raise its level at a time, and the next when what that took has shown. */
export class RaiseTurns {
  readonly #nowMs: () => number
  #nextAtMs = 0

  /** `nowMs` tells the time. */
  constructor(nowMs = () => performance.now()) {
    this.#nowMs = nowMs
  }

  /** Whether it is the caller's turn; others have none for a while then. */
  take(): boolean {
    const now = this.#nowMs()
    if (now < this.#nextAtMs) return false
    this.#nextAtMs = now + TURN_MS
    return true
  }
}
