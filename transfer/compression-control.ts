/**
 * Decides frame by frame whether a lane compresses, from what it sees of the line, of its thread and of the receiver.
 *
 * Compressing trades CPU for line, and the slower of the two decides when a job is done. So the share of frames that is
 * compressed is the one with which both take the same time: with `work` and `cost` for what a byte takes of the thread
 * without and for compressing, `line` for what it takes of the line, and `saving` for the part that compressing saves,
 *
 *     work + share * cost = line * (1 - share * saving)
 *
 * All but `line` is measured at any share. `line` shows only while all wait for it (the slack: the lane waits, its
 * thread idles, the receiver waits for bytes, *and* processors of this machine are idle; where others use them all,
 * threads wait for those and not for the line). Without slack the line may be any faster than what goes over it, so the
 * estimate falls, ever faster, until slack shows again or nothing is compressed any more. Socket buffers make moments
 * without slack on the slowest line; they change little, as it is an estimate that falls and not the share itself.
 * To a far receiver it does not fall while neither end is hurried: lanes that wait there wait for windows or for answers.
 * Nearby these come at once, and what looks like a line are the threads of the other end: there the kernel is asked as well
 * whether the line was busy, and nothing is compressed before it was.
 * Lanes of one thread decide each for itself: what the others do is work to it, and half steps keep them from swinging.
 * Pure and deterministic: time comes in with the observations.
 */
import { NEAR_ROUND_TRIP_MS } from '../protocol/limits.ts'
import { CompressionLevel, NO_SLACK } from './compression-level.ts'

/** Always, never, or as the line asks for. */
export type CompressionMode = 'auto' | 'on' | 'off'

/** What one frame showed; shares of time are from 0 to 1. */
export interface FrameObservation {
  /** Time spent compressing, 0 when the frame was not compressed. */
  readonly compressMs: number
  readonly rawBytes: number
  /** Bytes that went on the wire; `rawBytes` when compressing did not pay. */
  readonly encodedBytes: number
  /** Of `elapsedMs`, time this lane had bytes to send and the line did not take them. */
  readonly waitedForLineMs: number
  /**
   * Of the time since this was last asked, that in which the line had bytes of this lane to carry; all of it where nobody can
   * tell. It takes a system call.
   */
  lineBusyMs(): number
  /** Of `elapsedMs`, time the thread of this lane had nothing to do, for any lane. */
  readonly idleMs: number
  /** Time since the frame before. */
  readonly elapsedMs: number
  /** Share of its time for which the receiving lane waited for bytes, as last reported; 1 before it ever was. */
  readonly receiverIdle: number
  /** Share of this machine's processors that nobody uses, lately: see machine-idle.ts. */
  readonly machineIdle: number
  /** The shortest time in which the receiver has answered yet. */
  readonly roundTripMs: number
}

/** One lane's decision. */
export interface CompressionControl {
  /** Chunks of this many bytes need not travel: the CPU that saved may be spent on compressing others, on any line. */
  earn(dedupedBytes: number): void
  observe(frame: FrameObservation): void
  /** Whether to try to compress the next frame; ask once a frame, before the probe. */
  shouldCompress(): boolean
  /** Share of frames compressed at present, from 0 to 1. */
  readonly share: number
  /** Of zstd, for the next frame. */
  readonly level: number
}

/**
 * Waits come in lumps, as buffers fill and drain in round trips: a judgement evens them out over so many of these, within
 * bounds. A receiver nearby is judged soon, since there it is the processor that frames compressed in vain cost.
 */
const JUDGE_ROUND_TRIPS = 8
const JUDGE_MS = { least: 50, most: 200 }
/** Until slack was seen: buffers are still empty, and on a fast line every frame is compressed in vain. */
const JUDGE_STARTING_MS = 25
/** Processors that idle for less are busy: where threads take turns at all of them, each now and then waits for another. */
const BUSY_MACHINE_IDLE = 0.12
/**
 * A near line that has bytes to carry for less of the time is not what a lane waits for: the other end's thread is, or the
 * next turn of its own.
 */
const BUSY_LINE = 0.7
/** Both ends have at least so much time left: neither is what a job waits for. */
const UNHURRIED = 0.5
/** By this share the line is thought faster after a judgement without slack, and by twice as much after each further one. */
const FALL = 0.1
const FALL_MAX = 0.8
/** With less of the frames compressed, processor time is better spent on the others than on a higher level. */
const MOST_SHARE = 0.8
/** Shares this small cost more in switching than they bring. */
const MIN_SHARE = 0.03
/**
 * Bytes not sent that pay for compressing one: digesting and encrypting what is sent, at both ends, costs a third of what
 * compressing it does. Earnings do not pile up without end, so that a later stretch of new data is judged afresh. With a
 * quarter of this an upgraded disk of 2.9 GiB (395 MiB in changed chunks) took two and a half times the wire, and as long.
 */
const DEDUPED_PER_COMPRESSED = 3
const MAX_EARNED_BYTES = 256 * 1024 * 1024
/** Compressed frames that keep more than this share of their length are not worth their CPU on any line. */
const POOR_RATIO = 0.97
/** Share of frames that still are tried then. */
const POOR_SHARE = 0.05
/** Of so many that were compressed last: on a slow line a judgement sees three frames, which may well be of one archive. */
const POOR_BYTES = 16 * 1024 * 1024

const NOTHING_SEEN = {
  elapsedMs: 0,
  waitedMs: 0,
  idleMs: 0,
  receiverIdleMs: 0,
  machineIdleMs: 0,
  compressMs: 0,
  frames: 0,
  triedFrames: 0,
  rawBytes: 0,
  encodedBytes: 0,
  compressedRawBytes: 0,
}

/**
 * A control that starts out compressing, unless `mode` says never, or it is `near` and the line has yet to show itself;
 * `mayRaise` is asked before each higher level.
 */
export function createCompressionControl({
  mode = 'auto',
  near = false,
  mayRaise,
}: { mode?: CompressionMode; near?: boolean; mayRaise?: () => boolean } = {}): CompressionControl {
  const level = new CompressionLevel(mayRaise)
  let share = mode === 'off' || (mode === 'auto' && near) ? 0 : 1
  /** Until slack was seen. */
  let starting = true
  /** Milliseconds a byte takes of the line, or more. */
  let line = Infinity
  let fall = FALL
  /** Milliseconds that trying to compress a byte takes, and the share of a byte it saves. */
  let cost = 0
  let saving = 0
  /** Error diffusion: what is owed to the next frame; it is compressed when a whole frame is owed. */
  let owed = 0
  let earnedBytes = 0
  /** Of the frames that were compressed last. */
  const compressed = { rawBytes: 0, savedBytes: 0 }
  const seen = { ...NOTHING_SEEN }

  function observe(frame: FrameObservation): void {
    if (mode === 'off') return
    const { compressMs, rawBytes, encodedBytes, elapsedMs } = frame
    seen.elapsedMs += elapsedMs
    seen.waitedMs += frame.waitedForLineMs
    seen.idleMs += frame.idleMs
    seen.receiverIdleMs += frame.receiverIdle * elapsedMs
    seen.machineIdleMs += frame.machineIdle * elapsedMs
    seen.compressMs += compressMs
    seen.frames++
    seen.rawBytes += rawBytes
    seen.encodedBytes += encodedBytes
    if (compressMs > 0) {
      seen.compressedRawBytes += rawBytes
      earnedBytes = Math.max(0, earnedBytes - rawBytes)
    }
    if (seen.elapsedMs >= (starting ? JUDGE_STARTING_MS : judgeMs(frame.roundTripMs))) {
      judge(frame.roundTripMs, frame.lineBusyMs())
      Object.assign(seen, NOTHING_SEEN)
    }
  }

  function judge(roundTripMs: number, lineBusyMs: number): void {
    const { elapsedMs, compressMs } = seen
    const machineIdleMs = seen.machineIdleMs < BUSY_MACHINE_IDLE * elapsedMs ? 0 : seen.machineIdleMs
    const spareMs = Math.min(seen.idleMs, machineIdleMs)
    const bothSpareMs = Math.min(spareMs, seen.receiverIdleMs)
    const isFar = roundTripMs > NEAR_ROUND_TRIP_MS
    const waitedMs = isFar || lineBusyMs >= BUSY_LINE * elapsedMs ? seen.waitedMs : 0
    const slack = Math.min(waitedMs, bothSpareMs) / elapsedMs
    if (slack > NO_SLACK) starting = false
    // While a job begins nobody is hurried, on the fastest line.
    const far = isFar && !starting
    if (mode === 'auto')
      weigh(slack, far ? spareMs : slack * elapsedMs, far && bothSpareMs > UNHURRIED * elapsedMs)
    level.judge({
      slack,
      short: bothSpareMs <= NO_SLACK * elapsedMs,
      compressing: compressMs / elapsedMs,
      most: far && share >= MOST_SHARE,
    })
  }

  /** How large a share the line and the thread are even with. */
  function weigh(slack: number, spareMs: number, unhurried: boolean): void {
    const { elapsedMs, rawBytes, encodedBytes, compressMs } = seen
    const carried = elapsedMs / encodedBytes
    if (slack > NO_SLACK) {
      line = carried
      fall = FALL
    } else if (!unhurried) {
      line = Math.min(line, carried) * (1 - fall)
      fall = Math.min(2 * fall, FALL_MAX)
    }
    const savedBytes = rawBytes - encodedBytes
    count(seen.compressedRawBytes, savedBytes)
    if (seen.triedFrames > 0) {
      // Also what the probe left out was tried: it tells how much there is to be had.
      const triedBytes = rawBytes * Math.min(1, seen.triedFrames / seen.frames)
      cost = blend(cost, compressMs / triedBytes)
      saving = blend(saving, savedBytes / triedBytes)
    }
    const work = Math.max(0, elapsedMs - spareMs - compressMs) / rawBytes
    const balanced = line > work ? Math.min(1, (line - work) / (cost + saving * line)) : 0
    share = (share + (isPoor() ? Math.min(POOR_SHARE, balanced) : balanced)) / 2
    if (share < MIN_SHARE) share = 0
  }

  /** Counts what was compressed, the more the later it was. */
  function count(rawBytes: number, savedBytes: number): void {
    compressed.rawBytes += rawBytes
    compressed.savedBytes += savedBytes
    if (compressed.rawBytes < POOR_BYTES) return
    compressed.rawBytes /= 2
    compressed.savedBytes /= 2
  }

  /** Whether compressing hardly pays, as far as that can be told. */
  function isPoor(): boolean {
    const { rawBytes, savedBytes } = compressed
    return rawBytes >= POOR_BYTES / 2 && savedBytes < rawBytes * (1 - POOR_RATIO)
  }

  function earn(dedupedBytes: number): void {
    earnedBytes = Math.min(MAX_EARNED_BYTES, earnedBytes + dedupedBytes / DEDUPED_PER_COMPRESSED)
  }

  function shouldCompress(): boolean {
    const compress = decide()
    if (compress) seen.triedFrames++
    return compress
  }

  function decide(): boolean {
    if (mode === 'auto' && earnedBytes > 0) return true
    owed += share
    if (owed < 1) return false
    owed -= 1
    return true
  }

  return {
    earn,
    observe,
    shouldCompress,
    get share() {
      return share
    },
    get level() {
      return level.level
    },
  }
}

function judgeMs(roundTripMs: number): number {
  return Math.min(JUDGE_MS.most, Math.max(JUDGE_MS.least, JUDGE_ROUND_TRIPS * roundTripMs))
}

/** The mean of what was known, if anything was, and what is new. */
function blend(known: number, fresh: number): number {
  return known === 0 ? fresh : (known + fresh) / 2
}
