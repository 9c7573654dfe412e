/**
 * Decides frame by frame whether a lane compresses, from what it sees of the line and of the receiver.
 *
 * Compressing trades CPU for line, so it helps only while the line is what all wait for: the sender waits for
 * the line *and* the receiver for bytes. The smaller of these two shares of time is the slack. With slack to
 * spare more frames are compressed, without it fewer, so the share of compressed frames settles where CPU and
 * line are used up together. Going down is fast, as CPU wasted is lost for good; going up is slower, as socket
 * buffers take time to show that the line is slow. Pure and deterministic: time comes in with the observations.
 */

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
  /** Time since the frame before. */
  readonly elapsedMs: number
  /** Share of its time for which the receiving lane waited for bytes, as last reported; 1 before it ever was. */
  readonly receiverIdle: number
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
}

// These numbers were found by simulation, over lines of 100 Mb/s to 20 Gb/s with and without jitter; the test is
// the same simulation. 1 Gb/s to one lane is the hard one, where compressing everything leaves no slack at all.

/** Slack above which more is compressed, below which less; between them nothing changes. */
const SLACK_HIGH = 0.12
const SLACK_LOW = 0.04
/** Waits come in lumps, so a judgement takes this many frames, and the time below, to even them out. */
const JUDGE_FRAMES = 4
const JUDGE_MS = 80
/** When the last one said less, the next one comes sooner; and at the start, when nothing speaks for the line yet. */
const JUDGE_FALLING_MS = 40
const JUDGE_STARTING_MS = 12
/** First step of a move; it doubles while the move goes on, up to the limit. */
const STEP_DOWN = 0.1
const STEP_DOWN_MAX = 0.6
const STEP_UP = 0.05
const STEP_UP_MAX = 0.2
/** Shares this small cost more in switching than they bring. */
const MIN_SHARE = 0.03
/**
 * Bytes not sent that pay for compressing one: digesting and encrypting what is sent, at both ends, costs a third of what
 * compressing it does. Earnings do not pile up without end, so that a later stretch of new data is judged afresh.
 */
const DEDUPED_PER_COMPRESSED = 3
const MAX_EARNED_BYTES = 64 * 1024 * 1024
/** Compressed frames that keep more than this share of their length are not worth their CPU on any line. */
const POOR_RATIO = 0.97

/** A control that starts out compressing, unless `mode` says never. */
export function createCompressionControl({
  mode = 'auto',
}: { mode?: CompressionMode } = {}): CompressionControl {
  let share = mode === 'off' ? 0 : 1
  let step = 0
  /** Until the line was seen to be slow. */
  let starting = true
  /** Error diffusion: what is owed to the next frame; it is compressed when a whole frame is owed. */
  let owed = 0
  let earnedBytes = 0
  const judged = { frames: 0, elapsedMs: 0, waitedMs: 0, idleMs: 0, compressedRaw: 0, compressedEncoded: 0 }

  function observe(frame: FrameObservation): void {
    if (mode !== 'auto') return
    if (frame.compressMs > 0) earnedBytes = Math.max(0, earnedBytes - frame.rawBytes)
    judged.frames++
    judged.elapsedMs += frame.elapsedMs
    judged.waitedMs += frame.waitedForLineMs
    judged.idleMs += frame.receiverIdle * frame.elapsedMs
    if (frame.compressMs > 0) {
      judged.compressedRaw += frame.rawBytes
      judged.compressedEncoded += frame.encodedBytes
    }
    const judgeMs = starting ? JUDGE_STARTING_MS : step < 0 ? JUDGE_FALLING_MS : JUDGE_MS
    const enough = judged.frames >= JUDGE_FRAMES && judged.elapsedMs >= judgeMs
    if (enough || judged.elapsedMs >= JUDGE_MS) judge()
  }

  function judge(): void {
    const slack = Math.min(judged.waitedMs, judged.idleMs) / judged.elapsedMs
    const poor = judged.compressedEncoded > judged.compressedRaw * POOR_RATIO
    if (poor || slack < SLACK_LOW) {
      step = step < 0 ? Math.max(2 * step, -STEP_DOWN_MAX) : -STEP_DOWN
    } else if (slack > SLACK_HIGH) {
      if (judged.elapsedMs < JUDGE_MS) return
      starting = false
      step = step > 0 ? Math.min(2 * step, STEP_UP_MAX) : STEP_UP
    } else {
      step = 0
    }
    share = Math.min(1, Math.max(0, share + step))
    if (step < 0 && share < MIN_SHARE) share = 0
    Object.assign(judged, {
      frames: 0,
      elapsedMs: 0,
      waitedMs: 0,
      idleMs: 0,
      compressedRaw: 0,
      compressedEncoded: 0,
    })
  }

  function earn(dedupedBytes: number): void {
    earnedBytes = Math.min(MAX_EARNED_BYTES, earnedBytes + dedupedBytes / DEDUPED_PER_COMPRESSED)
  }

  function shouldCompress(): boolean {
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
  }
}
