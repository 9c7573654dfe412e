/**
 * How many lanes a job has: it begins with few, and the side that dials adds more.
 *
 * On a far line, while that brings something. A line that loses packets gives each connection only a share; a sound one
 * is full with four, and shows it by packets that wait in its queue. Nearby, while there are cores that nobody needs: lanes
 * of both ends that take turns at the same cores get nothing done sooner, and push each other's data out of the caches (one
 * lane in place of two on two cores: a tenth to a seventh less CPU).
 */
import type { Agreement } from '../../protocol/control-message.ts'
import { createMachineIdle } from '../../transfer/machine-idle.ts'
import { coresOf, nearLanes, type Sharing } from './lane-count.ts'

/** More lanes are worth it when they bring a tenth. */
const GAIN = 1.1
/** A line that gives less than this share of its best is another line by now: it is tried again. */
const CHANGED = 0.5
/** What new lanes bring shows once their windows have opened, and over so many round trips or so long. */
const SETTLE_MS = 300
const SETTLE_ROUND_TRIPS = 6
const MEASURE_MS = 700
const MEASURE_ROUND_TRIPS = 8
/** No lane is added for what will be over before it pays. */
const WORTH_MS = 3_000
const TICK_MS = 100
/** Nearby, jobs that follow each other closely leave cores for a moment: only what is free for so many ticks is taken. */
const LEFT_TICKS = 3
/** Nearby, a lane comes for a core that idles so much of the time: two ends that share two of them leave less. */
const LEFT_CORE = 0.4
/** A near lane takes 10 to 20 ms to open; with less than this left, bytes, it brings nothing. */
const WORTH_BYTES = 64 * 1024 * 1024

/** Lanes that an agreement allows in all. */
export function mostOf({ lanes, mostLanes = lanes }: Pick<Agreement, 'lanes' | 'mostLanes'>): number {
  return Math.max(lanes, mostLanes)
}

export interface LaneGrowth {
  /**
   * Takes what all lanes carried so far, at a time in ms, what is left at most, and whether the line is full; how many lanes
   * there ought to be then, never fewer than before.
   */
  observe(now: {
    readonly at: number
    readonly wireBytes: number
    readonly leftBytes: number
    readonly lineFull: boolean
  }): number
  /** Forgets what was measured just now: data was held back. */
  interrupt(): void
}

/** Decides; opens nothing. Lanes are doubled, up to `most`. */
export function createLaneGrowth({
  lanes,
  most,
  roundTripMs,
}: {
  readonly lanes: number
  readonly most: number
  readonly roundTripMs: number
}): LaneGrowth {
  const settleMs = Math.max(SETTLE_MS, SETTLE_ROUND_TRIPS * roundTripMs)
  const measureMs = Math.max(MEASURE_MS, MEASURE_ROUND_TRIPS * roundTripMs)
  let count = lanes
  let changedAt: number | undefined
  let from: { readonly at: number; readonly wireBytes: number } | undefined
  /** Before the lanes that were added last. */
  let before = 0
  let best = 0
  let trying = true
  let wasFull = false
  /** Of the period before, until the first lanes are added. */
  let last = 0
  return {
    observe({ at, wireBytes, leftBytes, lineFull }) {
      if (lineFull) wasFull = true
      changedAt ??= at
      if (count >= most || at - changedAt < settleMs) return count
      from ??= { at, wireBytes }
      if (at - from.at < measureMs) return count
      const rate = (wireBytes - from.wireBytes) / (at - from.at)
      from = { at, wireBytes }
      // A queue comes and goes: once in a while is enough.
      const full = wasFull
      wasFull = false
      // Nothing moved: nothing was wanted, which says nothing of the line.
      if (rate === 0) return count
      // At first the windows of the lanes open, and the rate climbs by itself.
      const climbs = before === 0 && rate > last * GAIN
      last = rate
      if (climbs) return count
      const pays = leftBytes / rate > WORTH_MS
      if (trying ? rate > before * GAIN : rate < best * CHANGED) {
        trying = true
        if (!pays || full) return count
        before = best = rate
        count = Math.min(most, count * 2)
        changedAt = at
        from = undefined
      } else if (trying) {
        trying = false
        best = Math.max(before, rate)
      }
      return count
    },
    interrupt() {
      from = undefined
    },
  }
}

/**
 * The lanes of a job nearby, never fewer than before: asked at every tick with what is left, bytes, who shares the cores now,
 * and which share of them idles.
 */
export function createLaneShare({ lanes, most }: { readonly lanes: number; readonly most: number }) {
  let count = lanes
  /** Cores that were idle, at each tick since some are. */
  let left: number[] = []
  return (leftBytes: number, sharing: Sharing, machineIdle: number): number => {
    const share = nearLanes(most, sharing)
    const idle = machineIdle * coresOf(sharing)
    left = share > count && leftBytes > WORTH_BYTES && idle >= LEFT_CORE ? [...left, idle] : []
    if (left.length < LEFT_TICKS) return count
    count = Math.min(share, count + Math.max(1, Math.floor(Math.min(...left))))
    left = []
    return count
  }
}

/** What the growth of an attempt works on. */
export interface GrowingLanes {
  /** Opened so far. */
  readonly lanes: number
  /** Agreed on. */
  readonly most: number
  readonly roundTripMs: number
  wireBytes(): number
  leftBytes(): number
  lineFull(): boolean
  /** The peer is on this machine, or in this rack. */
  near(): boolean
  /** Who shares the cores of this side now. */
  sharing(): Sharing
  /** Share of these cores that nobody uses; by default as /proc/stat has it. */
  machineIdle?(): number
  paused(): boolean
  /** Opens the lanes numbered from one number to another; how many opened. */
  open(from: number, to: number): Promise<number>
}

/** Adds lanes while that helps, until disposed, or until one cannot be opened. */
export function growLanes(growing: GrowingLanes): Disposable {
  const { lanes, most, roundTripMs, wireBytes, leftBytes, lineFull, near, sharing, paused, open } = growing
  if (lanes === 0 || lanes >= most) return { [Symbol.dispose]() {} }
  const growth = createLaneGrowth({ lanes, most, roundTripMs })
  const shareOf = createLaneShare({ lanes, most })
  const machineIdle = growing.machineIdle ?? createMachineIdle()
  let count = lanes
  let opening = false
  const timer = setInterval(() => {
    if (opening) return
    if (paused()) return growth.interrupt()
    const wanted = near()
      ? shareOf(leftBytes(), sharing(), machineIdle())
      : growth.observe({
          at: performance.now(),
          wireBytes: wireBytes(),
          leftBytes: leftBytes(),
          lineFull: lineFull(),
        })
    if (wanted <= count) return
    const from = count
    count = wanted
    opening = true
    void open(from, wanted)
      .catch(() => 0)
      .then((opened) => {
        opening = false
        if (opened < wanted - from) clearInterval(timer)
      })
  }, TICK_MS)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
