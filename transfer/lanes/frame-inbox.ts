/**
 * Turns the bytes of a lane into frames, and holds the line when the consumer does not keep up.
 *
 * Two frames are held at most, one the consumer works on, one that fills meanwhile, and those that it keeps. A transport either asks
 * for room() and fills it in place (no copy), or pushes the bytes it has. Not a transport: knows no sockets.
 */
import {
  decodeLaneHeader,
  LANE_PREFIX_BYTES,
  parseLanePrefix,
  validateLanePayload,
} from '../../protocol/codec.ts'
import { FluidError } from '../../protocol/errors.ts'
import type { LaneMessage } from '../../protocol/lane-message.ts'
import { MAX_LANE_HEADER_BYTES, MAX_LANE_PAYLOAD_BYTES } from '../../protocol/limits.ts'
import { DirectMemory } from '../direct-memory.ts'
import type { FramesOptions, LaneFrame } from '../lane.ts'

/**
 * What stands in place of a frame's prefix behind the last frame. Without it an end proves nothing: a TCP end is
 * not authenticated, and a killed peer's kernel sends one too.
 */
export const LANE_END = new Uint8Array(LANE_PREFIX_BYTES)

/** Room for a payload at first; most lanes of a small job never need more, and garbage of a megabyte has all be collected. */
const FIRST_PAYLOAD_BYTES = 128 * 1024

const NOTHING = new Uint8Array(0)

/** Where frames are assembled; reused for the life of the lane. */
class Slot {
  readonly prefix = new Uint8Array(LANE_PREFIX_BYTES)
  readonly header = new Uint8Array(MAX_LANE_HEADER_BYTES)
  message: LaneMessage | undefined
  payloadBytes = 0
  /** The consumer has it for longer. */
  kept: Promise<unknown> | undefined
  /** The payload's bytes; as long as payloadBytes of this frame. */
  payload: Uint8Array = new Uint8Array(0)
  #memory = new DirectMemory(FIRST_PAYLOAD_BYTES)

  /** Makes room for the payload, which lies in memory as `offset` of a volume does. */
  makeRoom(offset: number): void {
    const { payloadBytes } = this
    if (payloadBytes > this.#memory.lengthBytes) {
      const doubled = 2 ** Math.ceil(Math.log2(payloadBytes))
      this.#memory = new DirectMemory(Math.min(doubled, MAX_LANE_PAYLOAD_BYTES))
    }
    this.#memory.reset()
    this.payload = this.#memory.take(payloadBytes, offset)
  }
}

/** What happens to the transport: `resume` is called when room appears after room() had none to give. */
export interface InboxEvents {
  readonly resume: () => void
  /** The peer sent bytes that are no frame; the transport is to be dropped with this error. */
  readonly violation: (error: unknown) => void
  /** Bytes were taken over from what was pushed or filled. */
  readonly taken?: (bytes: number) => void
}

/** The reading half of a lane. */
export class FrameInbox {
  readonly #events: InboxEvents
  /** Where the next frame is assembled; undefined while there is no room. */
  #filling: Slot | undefined = new Slot()
  /** Whole frames that were not asked for yet, oldest first. */
  readonly #full: Slot[] = []
  readonly #free: Slot[] = []
  #slots = 1
  #kept = 0
  /** The part of the filling slot's frame that is coming, and how much of it is there. */
  #part: Uint8Array = this.#filling!.prefix
  #partName: 'prefix' | 'header' | 'payload' = 'prefix'
  #got = 0
  /** Bytes that came when both slots were full; bounded by what the transport had in hand when it was paused. */
  #spill: Uint8Array[] = []
  #held = false
  /** The peer's LANE_END came. */
  #ended = false
  /** Thrown after the frames that are complete, or at once when stopped. */
  #failure: { readonly error: unknown } | undefined
  #stopped = false
  /** No byte is parsed any more. */
  #deaf = false
  #wake: (() => void) | undefined
  #waitingSince: number | undefined
  #waitedMs = 0
  #started = false
  #placeOf: FramesOptions['placeOf']

  constructor(events: InboxEvents) {
    this.#events = events
  }

  /** Milliseconds the consumer has waited for frames, the present wait included. */
  get waitedMs(): number {
    return this.#waitingSince === undefined
      ? this.#waitedMs
      : this.#waitedMs + performance.now() - this.#waitingSince
  }

  /** True while part of a frame is here and it is for the peer to send the rest. */
  get lacks(): boolean {
    const begun = this.#got > 0 || this.#partName !== 'prefix'
    return begun && this.#filling !== undefined && this.#spill.length === 0
  }

  /** Where the next bytes go, never empty; undefined while no slot is free. */
  room(): Uint8Array | undefined {
    if (!this.#filling || this.#spill.length > 0) {
      this.#held = true
      return undefined
    }
    return this.#part.subarray(this.#got)
  }

  /** `bytes` of what room() last gave were filled. */
  filled(bytes: number): void {
    if (this.#deaf) return
    this.#got += bytes
    this.#events.taken?.(bytes)
    try {
      while (this.#filling && this.#got === this.#part.length) this.#nextPart(this.#filling)
    } catch (error) {
      this.#deaf = true
      this.#events.violation(error)
    }
  }

  /** Bytes a transport read into memory of its own, which it leaves to the inbox. Returns false when it is to pause. */
  push(bytes: Uint8Array): boolean {
    if (this.#deaf) return false
    if (this.#spill.length === 0) bytes = this.#copyIn(bytes)
    if (bytes.length > 0) this.#spill.push(bytes)
    return this.room() !== undefined
  }

  /** No more bytes come; clean only behind the peer's LANE_END. */
  end(): void {
    if (this.#ended) return
    const where =
      this.#got > 0 || this.#partName !== 'prefix'
        ? `inside a frame, in its ${this.#partName}`
        : 'without saying so'
    this.fail(new FluidError('LANE_FAILED', `Lane ended ${where}`))
  }

  /** The lane broke: thrown to the consumer once it has taken the frames that came whole. The first error counts. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#wake?.()
  }

  /** This side gives the lane up: nothing more is given out. */
  stop(error: unknown): void {
    this.#stopped = true
    this.#deaf = true
    this.#spill = []
    this.fail(error)
  }

  /** Frames until the end; see Lane. */
  async *frames({ signal, placeOf }: FramesOptions = {}): AsyncGenerator<LaneFrame> {
    if (this.#started) throw new TypeError('The frames of a lane can be read once')
    this.#started = true
    this.#placeOf = placeOf
    for (;;) {
      signal?.throwIfAborted()
      if (this.#stopped) throw this.#failure!.error
      const slot = this.#full.shift()
      if (slot) {
        yield {
          message: slot.message!,
          payload: slot.payload,
          keep(done) {
            slot.kept = done
          },
        }
        this.#giveBack(slot)
      } else if (this.#ended) {
        return
      } else if (this.#failure) {
        throw this.#failure.error
      } else {
        await this.#change(signal)
      }
    }
  }

  #nextPart(slot: Slot): void {
    this.#got = 0
    switch (this.#partName) {
      case 'prefix': {
        if (this.#ended) throw new FluidError('PROTOCOL_VIOLATION', 'Lane goes on behind its end')
        if (LANE_END.every((byte, index) => byte === slot.prefix[index])) {
          this.#ended = true
          this.#wake?.()
          return
        }
        const { headerBytes, payloadBytes } = parseLanePrefix(slot.prefix)
        slot.payloadBytes = payloadBytes
        this.#partName = 'header'
        this.#part = slot.header.subarray(0, headerBytes)
        return
      }
      case 'header':
        slot.message = decodeLaneHeader(this.#part)
        validateLanePayload(slot.message, slot.payloadBytes)
        slot.makeRoom(this.#placeOf?.(slot.message) ?? 0)
        this.#partName = 'payload'
        this.#part = slot.payload
        return
      case 'payload':
        this.#full.push(slot)
        this.#begin(this.#freeSlot())
        this.#wake?.()
    }
  }

  #begin(slot: Slot | undefined): void {
    this.#filling = slot
    this.#partName = 'prefix'
    this.#part = slot?.prefix ?? NOTHING
  }

  /** Two slots, and one for each that is kept. */
  #freeSlot(): Slot | undefined {
    const free = this.#free.pop()
    if (free || this.#slots >= 2 + this.#kept) return free
    this.#slots++
    return new Slot()
  }

  /** The consumer is done with a slot, or keeps it and is given another. */
  #giveBack(slot: Slot): void {
    const { kept } = slot
    slot.kept = undefined
    if (kept) {
      this.#kept++
      const again = () => {
        this.#kept--
        this.#giveBack(slot)
      }
      kept.then(again, again)
    } else this.#free.push(slot)
    if (!this.#filling) this.#begin(this.#freeSlot())
    this.#refill()
  }

  /** Takes what fits; returns the rest. */
  #copyIn(bytes: Uint8Array): Uint8Array {
    while (bytes.length > 0 && !this.#deaf) {
      if (!this.#filling) return bytes
      const room = this.#part.length - this.#got
      const piece = bytes.length > room ? bytes.subarray(0, room) : bytes
      this.#part.set(piece, this.#got)
      bytes = bytes.subarray(piece.length)
      this.filled(piece.length)
    }
    return bytes
  }

  #refill(): void {
    while (this.#spill.length > 0 && !this.#deaf) {
      const rest = this.#copyIn(this.#spill[0])
      if (rest.length > 0) {
        this.#spill[0] = rest
        return
      }
      this.#spill.shift()
    }
    if (!this.#held || this.#failure) return
    this.#held = false
    this.#events.resume()
  }

  /** Resolves at the next frame, end, failure or abort. */
  async #change(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = () => resolve()
    this.#wake = wake
    this.#waitingSince = performance.now()
    signal?.addEventListener('abort', wake)
    try {
      await promise
    } finally {
      signal?.removeEventListener('abort', wake)
      this.#waitedMs += performance.now() - this.#waitingSince
      this.#waitingSince = undefined
      this.#wake = undefined
    }
  }
}
