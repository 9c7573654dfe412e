/**
 * Asks the receiver which chunks of a window it wants, and keeps several windows asked at once so that no round trip
 * is waited for: a stage of send(). WANT is the receiver's credit; nothing travels without it. Spec: chunks.md.
 */
import { FluidError } from '../protocol/errors.ts'
import { entryCount } from '../protocol/manifest.ts'
import type { Lane, LaneFrame } from './lane.ts'
import type { ScannedWindow } from './scan.ts'
import { waitStage } from './stage-clock.ts'

/** A window the receiver has answered for. */
export interface WantedWindow {
  /** Its number on this lane. */
  readonly number: number
  readonly window: ScannedWindow
  wants(index: number): boolean
}

interface Asked {
  readonly number: number
  readonly window: ScannedWindow
  readonly answer: Promise<Uint8Array>
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

export function createExchange(lane: Lane): Exchange {
  const waiting = new Map<
    number,
    { resolve(bitmap: Uint8Array): void; reject(error: unknown): void; bytes: number; askedAt: number }
  >()
  let last = 0
  let receiverIdle = 1
  let roundTripMs = Infinity
  let broken: Error | undefined

  function expect(window: ScannedWindow): Asked {
    const number = ++last
    const answer = new Promise<Uint8Array>((resolve, reject) => {
      if (broken) reject(broken)
      else {
        const bytes = Math.ceil(entryCount(window.entries) / 8)
        waiting.set(number, { resolve, reject, bytes, askedAt: performance.now() })
      }
    })
    // A lane that breaks while others are awaited must not be an unhandled rejection.
    answer.catch(() => {})
    return { number, window, answer }
  }

  function answered(frame: LaneFrame): void {
    const { message, payload } = frame
    if (message.kind === 'error')
      throw new FluidError('LANE_FAILED', `The receiver ended the lane: ${message.message}`)
    if (message.kind !== 'want')
      throw new FluidError('PROTOCOL_VIOLATION', `A ${message.kind} frame came to the sender`)
    const ask = waiting.get(message.window)
    if (!ask)
      throw new FluidError(
        'PROTOCOL_VIOLATION',
        `The receiver answered window ${message.window}, which was not asked`,
      )
    if (payload.length !== ask.bytes) {
      throw new FluidError('PROTOCOL_VIOLATION', `A want bitmap of ${payload.length} bytes, not ${ask.bytes}`)
    }
    waiting.delete(message.window)
    receiverIdle = message.idlePermille / 1000
    roundTripMs = Math.min(roundTripMs, performance.now() - ask.askedAt)
    ask.resolve(payload.slice())
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
              const { number } = asked[asked.push(expect(window)) - 1]
              await lane.write(
                { kind: 'have', window: number, start: window.start, end: window.end },
                window.entries,
              )
              next = upstream.next()
              next.catch(() => {})
            } else if (scanned) {
              next = undefined
            } else {
              const bitmap = await waitStage('wait-want', oldest.answer)
              asked.shift()
              yield {
                number: oldest.number,
                window: oldest.window,
                wants: (index) => (bitmap[index >> 3] & (1 << (index & 7))) !== 0,
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
