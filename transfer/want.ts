/**
 * Asks the receiver which chunks of a window it wants, and keeps several windows asked at once so that no round trip
 * is waited for: a stage of send(). WANT is the receiver's credit; nothing travels without it, but for the lane's very first
 * chunks where the receiver says so: a far line would carry nothing meanwhile. Where the receiver has an
 * older version of a chunk it is asked once more, block by block. Spec: chunks.md.
 */
import { FluidError } from '../protocol/errors.ts'
import { hasBit } from '../protocol/bitmap.ts'
import { BLOCK_SUM_BYTES, blockCount, blockRanges } from '../protocol/blocks.ts'
import type { Range } from '../protocol/extent.ts'
import { violation } from '../protocol/field.ts'
import { entryCount } from '../protocol/manifest.ts'
import { putBlockSums, type Parts } from './block-sums.ts'
import type { Lane, LaneFrame } from './lane.ts'
import type { ScannedWindow } from './scan.ts'
import { waitStage } from './stage-clock.ts'

/** A window the receiver has answered for. */
export interface WantedWindow {
  /** Its number on this lane. */
  readonly number: number
  readonly window: ScannedWindow
  wants(index: number): boolean
  /** Of chunks that were sent before it answered. */
  readonly unaskedBytes: number
  /** Of chunks of which the receiver wants some blocks only. */
  readonly parts: Parts
}

/** What the receiver said of a window. */
interface Answer {
  readonly bitmap: Uint8Array
  readonly parts: Parts
}

/** A window that waits for its answer. */
interface Waiting {
  readonly window: ScannedWindow
  readonly unasked: number
  readonly askedAt: number
  resolve(answer: Answer): void
  reject(error: unknown): void
  /** It wants these, of which `based` are to be compared: the answer lacks their blocks. */
  half?: { readonly bitmap: Uint8Array; readonly based: readonly number[]; readonly blocks: number }
}

interface Asked {
  readonly number: number
  readonly window: ScannedWindow
  readonly unasked: Unasked
  readonly answer: Promise<Answer>
}

/** The first chunks of a window, which go without being asked for. */
interface Unasked {
  readonly count: number
  readonly bytes: number
}

export interface Exchange {
  /** Share of its time the receiver said it waits for bytes, 0..1. */
  readonly receiverIdle: number
  /** The shortest time between a question and its answer so far, milliseconds; Infinity before the first. */
  readonly roundTripMs: number
  /** Takes the answers that come in on the lane; returns when the lane ends, throws what the peer reports. */
  listen(frames: AsyncIterable<LaneFrame>): Promise<void>
  /** The stage. `depth` windows are asked before the first is waited for. */
  want(depth: number): (windows: AsyncIterable<ScannedWindow>) => AsyncGenerator<WantedWindow>
}

const NO_PARTS: Parts = new Map()

const NOTHING: Unasked = { count: 0, bytes: 0 }

/** `unaskedBytes` of the first window's chunks go before the receiver has answered. */
export function createExchange(lane: Lane, { unaskedBytes = 0 } = {}): Exchange {
  const waiting = new Map<number, Waiting>()
  let last = 0
  let receiverIdle = 1
  let roundTripMs = Infinity
  let broken: Error | undefined

  function expect(window: ScannedWindow): Asked {
    const number = ++last
    const unasked = number === 1 ? leading(window, unaskedBytes) : NOTHING
    const answer = new Promise<Answer>((resolve, reject) => {
      if (broken) reject(broken)
      else
        waiting.set(number, { window, unasked: unasked.count, resolve, reject, askedAt: performance.now() })
    })
    // A lane that breaks while others are awaited must not be an unhandled rejection.
    answer.catch(() => {})
    return { number, window, unasked, answer }
  }

  function answered({ message, payload }: LaneFrame): void {
    if (message.kind === 'error')
      throw new FluidError('LANE_FAILED', `The receiver ended the lane: ${message.message}`)
    if (message.kind !== 'want' && message.kind !== 'want-blocks')
      throw violation(`A ${message.kind} frame came to the sender`)
    const ask = waiting.get(message.window)
    if (!ask || (ask.half !== undefined) !== (message.kind === 'want-blocks'))
      throw violation(`The receiver answered window ${message.window}, which was not asked`)
    if (message.kind === 'want-blocks') {
      const parts = partsOf(ask, payload)
      waiting.delete(message.window)
      ask.resolve({ bitmap: ask.half!.bitmap, parts })
      return
    }
    const { entries } = ask.window
    const bytes = Math.ceil(entryCount(entries) / 8)
    if (payload.length !== bytes * (message.based ? 2 : 1))
      throw violation(`A want bitmap of ${payload.length} bytes, not ${bytes}`)
    receiverIdle = message.idlePermille / 1000
    roundTripMs = Math.min(roundTripMs, performance.now() - ask.askedAt)
    const bitmap = payload.slice(0, bytes)
    if (message.based) compareBlocks(message.window, ask, bitmap, payload.subarray(bytes))
    else {
      waiting.delete(message.window)
      ask.resolve({ bitmap, parts: NO_PARTS })
    }
  }

  /** Tells the checksums of the blocks of the entries in `marks`. */
  function compareBlocks(number: number, ask: Waiting, bitmap: Uint8Array, marks: Uint8Array): void {
    const { entries } = ask.window
    const based: number[] = []
    let blocks = 0
    for (let index = 0; index < entryCount(entries); index++) {
      if (!hasBit(marks, index)) continue
      if (!hasBit(bitmap, index) || index < ask.unasked)
        throw violation(`Entry ${index} has an older version, and is not wanted`)
      based.push(index)
      blocks += blockCount(entries, index)
    }
    if (blocks === 0) throw violation('A want says that there are older versions, and names none')
    ask.half = { bitmap, based, blocks }
    const sums = Buffer.allocUnsafe(blocks * BLOCK_SUM_BYTES)
    let at = 0
    for (const index of based) at = putBlockSums(entries, index, ask.window.chunk(index), sums, at)
    lane.write({ kind: 'blocks', window: number }, sums).catch(() => {}) // The frames that come tell it.
  }

  function sendUnasked(number: number, window: ScannedWindow, { count, bytes }: Unasked): Promise<void> {
    const from = window.position(0)
    const payload = window.bytes.subarray(from, from + bytes)
    const message = { kind: 'data', window: number, first: 0, count, codec: 'raw', rawBytes: bytes } as const
    const sending = lane.write(message, payload)
    sending.catch(() => {}) // As of blocks.
    return sending
  }

  return {
    get receiverIdle() {
      return receiverIdle
    },
    get roundTripMs() {
      return roundTripMs
    },
    async listen(frames) {
      try {
        for await (const frame of frames) answered(frame)
        broken = new FluidError('LANE_FAILED', 'The receiver closed the lane')
      } catch (error) {
        broken = error as Error
        throw error
      } finally {
        for (const { reject } of waiting.values()) reject(broken)
        waiting.clear()
      }
    },
    want(depth) {
      return async function* (windows) {
        const upstream = windows[Symbol.asyncIterator]()
        const asked: Asked[] = []
        let next: Promise<IteratorResult<ScannedWindow>> | undefined = upstream.next()
        let sendingUnasked: Promise<void> | undefined
        try {
          next.catch(() => {})
          while (next || asked.length > 0) {
            const oldest = asked[0]
            // Whatever comes first: another window to ask for, or the oldest answer.
            const scanned: IteratorResult<ScannedWindow> | undefined =
              next && asked.length < depth
                ? await (oldest ? Promise.race([next, oldest.answer.then(() => undefined)]) : next)
                : undefined
            if (scanned && !scanned.done) {
              const window = scanned.value
              const { number, unasked } = asked[asked.push(expect(window)) - 1]
              const { start, end, entries } = window
              await lane.write(
                {
                  kind: 'have',
                  window: number,
                  start,
                  end,
                  ...(unasked.count > 0 && { unasked: unasked.count }),
                },
                entries,
              )
              if (unasked.count > 0) sendingUnasked = sendUnasked(number, window, unasked)
              next = upstream.next()
              next.catch(() => {})
            } else if (scanned) {
              next = undefined
            } else {
              const { bitmap, parts } = await waitStage('wait-want', oldest.answer)
              // Whoever takes the window may give its memory away.
              await sendingUnasked
              asked.shift()
              const { number, window, unasked } = oldest
              yield {
                number,
                window,
                wants: (index) => index >= unasked.count && hasBit(bitmap, index),
                unaskedBytes: unasked.bytes,
                parts,
              }
            }
          }
        } finally {
          // Also one that is scanned by now, or soon, for nobody.
          for (const { window } of asked) window.release()
          next?.then(({ value }) => (value as ScannedWindow | undefined)?.release()).catch(() => {})
          await upstream.return?.()
        }
      }
    },
  }
}

/** As many chunks from the first as `most` bytes hold, where they touch in memory. */
function leading(window: ScannedWindow, most: number): Unasked {
  let count = 0
  let bytes = 0
  for (; count < entryCount(window.entries); count++) {
    const { length } = window.chunk(count)
    if (bytes + length > most || window.position(count) !== window.position(0) + bytes) break
    bytes += length
  }
  return { count, bytes }
}

/** The parts that a bitmap of the blocks asked about makes of their entries. */
function partsOf({ window: { entries }, half }: Waiting, bitmap: Uint8Array): Parts {
  const { based, blocks } = half!
  if (bitmap.length !== Math.ceil(blocks / 8))
    throw violation(`A bitmap of ${bitmap.length} bytes came for ${blocks} blocks`)
  const parts = new Map<number, readonly Range[]>()
  let first = 0
  for (const index of based) {
    const from = first
    const ranges = blockRanges(entries, index, (block) => hasBit(bitmap, from + block))
    if (ranges.length === 0) throw violation(`Entry ${index} is wanted, and none of its blocks`)
    parts.set(index, ranges)
    first += blockCount(entries, index)
  }
  return parts
}
