/**
 * The first stages of receive(): answer a window with what is wanted, decode and verify what comes.
 *
 * What the target already holds is read again, digested and copied; only a digest that matches is used. Bytes of a
 * frame are written only after every chunk in it matched the digest announced for it.
 */
import { FluidError } from '../protocol/errors.ts'
import { violation } from '../protocol/field.ts'
import type { LaneMessage } from '../protocol/lane-message.ts'
import { WINDOW_BYTES, WINDOWS_PER_LANE } from '../protocol/limits.ts'
import {
  digestPosition,
  entryCount,
  entryLength,
  entryOffset,
  validateWindowEntries,
} from '../protocol/manifest.ts'
import type { Bases } from './bases.ts'
import { travellingBytes } from './block-sums.ts'
import { createFrameDecoder, type DecompressFrame } from './compress.ts'
import type { HeldChunks } from './held-chunks.ts'
import { hasDigest } from './hasher.ts'
import type { Lane, LaneFrame } from './lane.ts'
import { openWindow, wanted, type OpenWindow, type OpenWindows } from './open-window.ts'
import type { Sink } from './sink.ts'
import { endStage, startStage, waitStage } from './stage-clock.ts'
import { WaitingShare } from './waiting-share.ts'
import { partRanges } from './window-ranges.ts'

/** Chunks of one frame, decoded and verified. */
export interface VerifiedChunks {
  readonly window: OpenWindow
  readonly first: number
  readonly count: number
  readonly bytes: Uint8Array
  /** What of them came over the lane. */
  readonly receivedBytes: number
  /** Has `bytes` stay as they are until `done` settles, see LaneFrame; without it they are valid until more is asked for. */
  keep?(done: Promise<unknown>): void
}

/** What a receiving lane answers with. */
export interface Answering {
  readonly lane: Lane
  readonly sink: Sink
  /** Of the volume, bytes; the sink may be larger. */
  readonly sizeBytes: number
  readonly held: HeldChunks
  /** Of the first chunks, which the sender may send before they are wanted. */
  readonly unaskedBytes: number
  /** Where `held` keeps older versions; none: chunks come whole. */
  readonly bases?: Bases
  /** Called for each window when what was here already is copied, before any other byte of it is written. */
  onAnnounced(window: OpenWindow): void
}

/** Where the chunks of a data frame go, if its window is open: FramesOptions.placeOf of a lane. */
export function placesIn(open: OpenWindows) {
  return (message: LaneMessage): number | undefined => {
    const window = message.kind === 'data' ? open.get(message.window) : undefined
    if (message.kind !== 'data' || !window || message.first >= window.missing.length) return undefined
    return entryOffset(window.entries, message.first)
  }
}

/**
 * Answers each HAVE with a WANT, after copying what is here already, and BLOCKS with those that differ; passes DATA on.
 * A window of which nothing is wanted comes out at once, as a frame's worth of no chunks.
 */
export function answer(open: OpenWindows, answering: Answering) {
  const { lane, sink, held, bases, sizeBytes, unaskedBytes } = answering
  let last = 0
  const waiting = new WaitingShare(lane)
  let ended = false
  return async function* (frames: AsyncIterable<LaneFrame>): AsyncGenerator<LaneFrame | OpenWindow> {
    for await (const frame of frames) {
      const { message, payload } = frame
      if (message.kind === 'bye') {
        ended = true
        continue
      }
      if (message.kind === 'data') {
        yield frame
        continue
      }
      if (message.kind === 'error')
        throw new FluidError('LANE_FAILED', `The sender ended the lane: ${message.message}`)
      if (message.kind === 'blocks') {
        const window = open.get(message.window)
        if (!window || !bases) throw violation(`Blocks came for window ${message.window}, which is not open`)
        const bitmap = bases.compare(window, payload)
        sink.prepare?.(partRanges(window))
        await lane.write({ kind: 'want-blocks', window: message.window }, bitmap)
        continue
      }
      if (message.kind !== 'have') throw violation(`A ${message.kind} frame came to the receiver`)
      if (ended) throw violation(`Window ${message.window} came after the sender's bye`)
      if (message.window !== ++last) throw violation(`Window ${message.window} came where ${last} was due`)
      if (open.size >= WINDOWS_PER_LANE)
        throw violation(`More than ${WINDOWS_PER_LANE} windows are open on a lane`)
      if (message.end > sizeBytes)
        throw violation(`Window ends at ${message.end}, beyond the volume's ${sizeBytes} bytes`)
      if (
        message.start % WINDOW_BYTES !== 0 ||
        (message.end % WINDOW_BYTES !== 0 && message.end !== sizeBytes)
      ) {
        throw violation(
          `Window ${message.start} to ${message.end} is not made of whole cells of ${WINDOW_BYTES} bytes`,
        )
      }
      const entries = payload.slice()
      validateWindowEntries(entries, message.start, message.end)
      const window = openWindow(message.window, message.start, message.end, entries)
      window.unasked = message.unasked ?? 0
      if (unaskedOf(window) > (window.number === 1 ? unaskedBytes : 0))
        throw violation(`${window.unasked} entries of window ${window.number} come unasked`)
      await waitStage('look-up', held.fill(window))
      answering.onAnnounced(window)
      const { bitmaps, based } = wanted(window)
      open.set(window.number, window)
      const idlePermille = Math.round(waiting.now() * 1000)
      await lane.write(
        { kind: 'want', window: window.number, idlePermille, ...(based && { based }) },
        bitmaps,
      )
      if (window.missingCount === 0) yield window
    }
  }
}

/** Decompresses data frames and compares every chunk with its announced digest; throws before a byte is used. */
export function verify(open: OpenWindows, held: Pick<HeldChunks, 'complete'>) {
  const decompressFrame = createFrameDecoder()
  return async function* (items: AsyncIterable<LaneFrame | OpenWindow>): AsyncGenerator<VerifiedChunks> {
    for await (const item of items) {
      if (!('message' in item)) {
        yield { window: item, first: 0, count: 0, bytes: new Uint8Array(0), receivedBytes: 0 }
        continue
      }
      const came = decodeFrame(open, item, decompressFrame)
      const { window, first, count } = came
      const whole = !hasParts(came)
      const bytes = whole ? came.bytes : await held.complete(window, first, count, came.bytes)
      verifyChunks(window, first, count, bytes)
      yield whole ? came : { ...came, bytes, keep: undefined }
    }
  }
}

function decodeFrame(
  open: OpenWindows,
  { message, payload, keep }: LaneFrame,
  decompressFrame: DecompressFrame,
): VerifiedChunks {
  if (message.kind !== 'data') throw violation(`A ${message.kind} frame came as data`)
  const window = open.get(message.window)
  if (!window) throw violation(`Data came for window ${message.window}, which is not open`)
  if (window.asksBlocks && message.first + message.count > window.unasked)
    throw violation(`Data came for window ${message.window} before the blocks it asks for`)
  const { first, count } = message
  if (first + count > window.missing.length)
    throw violation(`Data came for entries beyond the window's ${window.missing.length}`)
  let rawBytes = 0
  for (let i = first; i < first + count; i++) {
    if (!window.missing[i]) throw violation(`Data came for entry ${i}, which was not wanted`)
    rawBytes += travellingBytes(window.entries, i, window.parts)
  }
  if (rawBytes !== message.rawBytes)
    throw violation(`A data frame announces ${message.rawBytes} bytes for ${rawBytes} of chunks`)
  const clock = startStage()
  const came = { window, first, count, receivedBytes: rawBytes }
  if (message.codec !== 'zstd') return { ...came, bytes: payload, keep }
  const bytes = decompressFrame(payload, rawBytes, entryOffset(window.entries, first))
  endStage('decompress', clock)
  return { ...came, bytes }
}

/** Bytes of the chunks that come before they are wanted; Infinity when they are more than there are. */
function unaskedOf({ entries, unasked }: OpenWindow): number {
  if (unasked > entryCount(entries)) return Infinity
  let bytes = 0
  for (let i = 0; i < unasked; i++) bytes += entryLength(entries, i)
  return bytes
}

function hasParts({ window, first, count }: VerifiedChunks): boolean {
  if (window.parts.size === 0) return false
  for (let i = first; i < first + count; i++) if (window.parts.has(i)) return true
  return false
}

function verifyChunks(window: OpenWindow, first: number, count: number, bytes: Uint8Array): void {
  const clock = startStage()
  for (let i = first, at = 0; i < first + count; i++) {
    const length = entryLength(window.entries, i)
    if (!hasDigest(bytes.subarray(at, at + length), window.entries, digestPosition(i))) {
      const offset = entryOffset(window.entries, i)
      throw new FluidError(
        'CHUNK_DIGEST',
        `The chunk of ${length} bytes at offset ${offset} does not match its digest`,
        { offset },
      )
    }
    at += length
  }
  endStage('verify', clock)
}
