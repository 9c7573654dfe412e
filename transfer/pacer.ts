/**
 * One rate limit for all lanes of a job, whatever thread they run in.
 *
 * The generic cell rate algorithm (ITU-T I.371, annex A): a single number in shared memory, the time at which the line
 * will be free again. Taking bytes moves it on by what they cost, with one compare-and-exchange, and says how long
 * to wait until their turn. An idle line saves up a small burst, no more.
 */

/** What threads share: pass it through workerData, then openPacer() on it. */
export type SharedPacer = SharedArrayBuffer

/** A thread's hold on the shared limit. */
export interface Pacer {
  /** Bytes a second; Infinity when there is no limit. */
  readonly rateBytesPerSecond: number
  /**
   * Reserves the line for `bytes` and returns the milliseconds to wait before sending them, 0 when free.
   * A reservation is kept even if the bytes are never sent. Never blocks.
   */
  take(bytes: number): number
  /** Changes the rate for every thread; what is owed shrinks or grows with it. */
  setRate(rateBytesPerSecond: number): void
}

/** Idle time that may be made up for by a burst: smooths over timers that fire late, is not felt on the line. */
const BURST_NS = 1_000_000_000n / 20n
const NS_PER_SECOND = 1e9
const NS_PER_MS = 1e6

/** Cells of the shared memory: bytes a second (0 is no limit), and the time the line is free, nanoseconds. */
const RATE = 0
const FREE_AT = 1

/** A limit shared by all who open it; Infinity for none. Throws RangeError for a rate below 1. */
export function createPacer(rateBytesPerSecond: number): SharedPacer {
  const shared = new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT)
  new BigInt64Array(shared)[RATE] = toCell(rateBytesPerSecond)
  return shared
}

/** Takes part in the limit. `now` gives nanoseconds of a clock that all threads share. */
export function openPacer(
  shared: SharedPacer,
  { now = () => process.hrtime.bigint() }: { now?: () => bigint } = {},
): Pacer {
  const cells = new BigInt64Array(shared)

  /** Replaces the time the line is free by what `next` makes of it, and returns what it was. */
  function advance(next: (freeAt: bigint) => bigint): bigint {
    for (;;) {
      const seen = Atomics.load(cells, FREE_AT)
      if (Atomics.compareExchange(cells, FREE_AT, seen, next(seen)) === seen) return seen
    }
  }

  function take(bytes: number): number {
    const rate = Atomics.load(cells, RATE)
    if (rate === 0n) return 0
    const cost = BigInt(Math.ceil((bytes * NS_PER_SECOND) / Number(rate)))
    const time = now()
    const turn = (freeAt: bigint) => (freeAt > time - BURST_NS ? freeAt : time - BURST_NS)
    const waitNs = turn(advance((freeAt) => turn(freeAt) + cost)) - time
    return waitNs > 0n ? Number(waitNs) / NS_PER_MS : 0
  }

  function setRate(rateBytesPerSecond: number): void {
    const after = toCell(rateBytesPerSecond)
    const before = Atomics.exchange(cells, RATE, after)
    const time = now()
    advance((freeAt) => {
      if (freeAt <= time) return freeAt
      return before === 0n || after === 0n ? time : time + ((freeAt - time) * before) / after
    })
  }

  return {
    get rateBytesPerSecond() {
      const rate = Atomics.load(cells, RATE)
      return rate === 0n ? Infinity : Number(rate)
    },
    take,
    setRate,
  }
}

function toCell(rateBytesPerSecond: number): bigint {
  if (rateBytesPerSecond === Infinity) return 0n
  if (!(rateBytesPerSecond >= 1))
    throw new RangeError(`A rate is 1 byte a second or more, not ${rateBytesPerSecond}`)
  return BigInt(Math.round(rateBytesPerSecond))
}
