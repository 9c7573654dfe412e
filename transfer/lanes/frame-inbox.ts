/**
 * Turns the bytes of a lane into frames, and holds the line when the consumer does not keep up.
 *
 * Two frames are held at most: one the consumer works on, one that fills meanwhile. A transport either asks
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

/** Where frames are assembled; reused for the life of the lane. */
class Slot {
  readonly prefix = new Uint8Array(LANE_PREFIX_BYTES)
  readonly header = new Uint8Array(MAX_LANE_HEADER_BYTES)
  message: LaneMessage | undefined
  payloadBytes = 0
  full = false
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
  readonly #slots = [new Slot(), new Slot()]
  readonly #events: InboxEvents
  #filling = 0
  #taking = 0
  /** The part of the filling slot's frame that is coming, and how much of it is there. */
  #part: Uint8Array
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
    this.#part = this.#slots[0].prefix
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
    return begun && !this.#slots[this.#filling].full && this.#spill.length === 0
  }

  /** Where the next bytes go, never empty; undefined while both slots are full. */
  room(): Uint8Array | undefined {
    if (this.#slots[this.#filling].full || this.#spill.length > 0) {
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
      while (this.#got === this.#part.length && !this.#slots[this.#filling].full) this.#nextPart()
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
      const slot = this.#slots[this.#taking]
      if (slot.full) {
        yield { message: slot.message!, payload: slot.payload }
        slot.full = false
        this.#taking ^= 1
        this.#refill()
      } else if (this.#ended) {
        return
      } else if (this.#failure) {
        throw this.#failure.error
      } else {
        await this.#change(signal)
      }
    }
  }

  #nextPart(): void {
    const slot = this.#slots[this.#filling]
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
        slot.full = true
        this.#filling ^= 1
        this.#partName = 'prefix'
        this.#part = this.#slots[this.#filling].prefix
        this.#wake?.()
    }
  }

  /** Takes what fits; returns the rest. */
  #copyIn(bytes: Uint8Array): Uint8Array {
    while (bytes.length > 0 && !this.#deaf) {
      if (this.#slots[this.#filling].full) return bytes
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
