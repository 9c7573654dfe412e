/**
 * A lane whose bytes ride a libp2p stream that another thread owns and pumps (agent/viaduct/libp2p-lane.ts).
 *
 * The lane of last resort, for peers no socket reaches. Buffers are transferred, and at most
 * LANE_PORT_CREDIT_BYTES are between the threads each way, so neither queue grows with a slow neighbour.
 */
import type { MessagePort } from 'node:worker_threads'
import { encodeLaneHeader } from '../../protocol/codec.ts'
import { FluidError } from '../../protocol/errors.ts'
import type { LaneMessage } from '../../protocol/lane-message.ts'
import {
  LANE_PORT_CREDIT_BYTES,
  LANE_STALL_TIMEOUT_MS,
  LANE_STREAM_MESSAGE_BYTES,
} from '../../protocol/limits.ts'
import type { FramesOptions, Lane, LaneDescriptor, LaneFrame, LanePath } from '../lane.ts'
import { FrameInbox, LANE_END } from './frame-inbox.ts'
import type { PortMessage } from './port-message.ts'
import type { OpenLaneOptions } from './tls-lane.ts'

/** Noise tag and length, yamux header: what each message on the stream costs. */
const MESSAGE_OVERHEAD_BYTES = 16 + 2 + 12
/** A packet of data channels holds so many bytes of messages, with headers of SCTP (12 + 16) and a DTLS record (13 + 8 + 16). */
const PACKET_BYTES = 1144
const PACKET_OVERHEAD_BYTES = 28 + 37
/** Consumption is reported in steps of this many bytes: far below the credit, so that the rest never blocks. */
const REPORT_STEP_BYTES = LANE_PORT_CREDIT_BYTES / 16

/** A lane over a port; ready at once, since the stream was authenticated by libp2p. Owns the port. */
export async function openPortLane(
  descriptor: Extract<LaneDescriptor, { kind: 'port' }>,
  { signal, stallTimeoutMs = LANE_STALL_TIMEOUT_MS }: OpenLaneOptions = {},
): Promise<Lane> {
  if (signal?.aborted) {
    descriptor.port.close()
    throw signal.reason
  }
  return new PortLane(descriptor.port, descriptor.path, signal, stallTimeoutMs)
}

class PortLane implements Lane {
  readonly path: LanePath
  readonly #port: MessagePort
  readonly #stallTimeoutMs: number
  readonly #closed: Promise<void>
  readonly #inbox = new FrameInbox({
    resume: () => {}, // The pump stops by itself when its credit is spent.
    violation: (error) => this.#fail(error),
    taken: (bytes) => this.#report(bytes),
  })
  /** Writers wait for their turn here; each frame is posted whole. */
  #turn: Promise<void> = Promise.resolve()
  #room: (() => void) | undefined
  #untakenBytes = 0
  #unreportedBytes = 0
  #sentBytes = 0
  #receivedBytes = 0
  #waitedMs = 0
  #blockedSince: number | undefined
  #failure: { readonly error: unknown } | undefined
  #ended: PromiseWithResolvers<void> | undefined
  #stall: NodeJS.Timeout | undefined
  /** Runs from the last byte that came. */
  readonly #silence: NodeJS.Timeout

  constructor(port: MessagePort, path: LanePath, signal: AbortSignal | undefined, stallTimeoutMs: number) {
    this.#port = port
    this.path = path
    this.#stallTimeoutMs = stallTimeoutMs
    const onAbort = () => this.#giveUp(signal!.reason)
    signal?.addEventListener('abort', onAbort)
    this.#closed = new Promise((resolve) => {
      port.on('close', () => {
        signal?.removeEventListener('abort', onAbort)
        this.#fail(new FluidError('LANE_FAILED', 'Lane was closed by the thread that pumps it'))
        resolve()
      })
    })
    port.on('message', (message: PortMessage) => this.#receive(message))
    this.#silence = setTimeout(() => this.#endSilence(), stallTimeoutMs)
  }

  get wire(): Lane['wire'] {
    return {
      sentBytes: streamBytes(this.#sentBytes - this.#untakenBytes, this.path),
      receivedBytes: streamBytes(this.#receivedBytes, this.path),
    }
  }

  get waited(): Lane['waited'] {
    const since = this.#blockedSince
    return {
      writeMs: since === undefined ? this.#waitedMs : this.#waitedMs + performance.now() - since,
      readMs: this.#inbox.waitedMs,
    }
  }

  async write(message: LaneMessage, payload: Uint8Array = new Uint8Array(0)): Promise<void> {
    if (this.#failure) throw this.#failure.error
    if (this.#ended) throw new TypeError('The lane was ended; nothing more can be written')
    const head = encodeLaneHeader(message, payload.byteLength)
    const posted = this.#turn.then(() => this.#post(head, payload))
    this.#turn = posted.catch(() => {})
    return posted
  }

  frames(options?: FramesOptions): AsyncIterable<LaneFrame> {
    return this.#inbox.frames(options)
  }

  end(): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure.error)
    if (!this.#ended) {
      this.#ended = Promise.withResolvers()
      this.#turn
        .then(() => this.#post(LANE_END, new Uint8Array(0)))
        .then(() => this.#port.postMessage({ kind: 'end' } satisfies PortMessage))
        .catch(() => {}) // A failure rejects the end by itself.
    }
    return this.#ended.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#giveUp(new FluidError('LANE_FAILED', 'Lane was closed on this side'))
    await this.#closed
  }

  async #post(head: Uint8Array, payload: Uint8Array): Promise<void> {
    const size = head.byteLength + payload.byteLength
    while (!this.#failure && this.#untakenBytes > 0 && this.#untakenBytes + size > LANE_PORT_CREDIT_BYTES) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#room = resolve
      this.#blockedSince ??= performance.now()
      await promise
    }
    this.#unblocked()
    if (this.#failure) throw this.#failure.error
    // The payload stays with its owner, who may hold it in memory that cannot be transferred.
    const bytes = new Uint8Array(size)
    bytes.set(head)
    bytes.set(payload, head.byteLength)
    this.#sentBytes += size
    this.#untakenBytes += size
    this.#watch()
    this.#port.postMessage({ kind: 'bytes', bytes } satisfies PortMessage, [bytes.buffer])
  }

  #receive(message: PortMessage): void {
    switch (message.kind) {
      case 'bytes':
        this.#receivedBytes += message.bytes.byteLength
        this.#silence.refresh()
        this.#inbox.push(message.bytes)
        return
      case 'taken':
        this.#untakenBytes -= message.bytes
        this.#watch()
        this.#room?.()
        return
      case 'end':
        this.#inbox.end()
        return
      case 'ended':
        this.#ended?.resolve()
        return
      case 'failed':
        this.#fail(new FluidError(message.code, message.message))
    }
  }

  #report(bytes: number): void {
    this.#unreportedBytes += bytes
    if (this.#unreportedBytes < REPORT_STEP_BYTES) return
    this.#port.postMessage({ kind: 'taken', bytes: this.#unreportedBytes } satisfies PortMessage)
    this.#unreportedBytes = 0
  }

  /** Starts the stall deadline anew while bytes are owed, and stops it when none are. */
  #watch(): void {
    clearTimeout(this.#stall)
    if (this.#untakenBytes <= 0 || this.#failure) return
    this.#stall = setTimeout(() => {
      this.#fail(new FluidError('LANE_FAILED', `Lane took no byte for ${this.#stallTimeoutMs} ms`))
    }, this.#stallTimeoutMs)
  }

  /** Silence is no fault between frames, nor while this side is the one that does not read. */
  #endSilence(): void {
    if (this.#failure) return
    this.#silence.refresh()
    if (!this.#inbox.lacks) return
    this.#fail(
      new FluidError(
        'LANE_FAILED',
        `Lane brought no byte of an unfinished frame for ${this.#stallTimeoutMs} ms`,
      ),
    )
  }

  #unblocked(): void {
    if (this.#blockedSince === undefined) return
    this.#waitedMs += performance.now() - this.#blockedSince
    this.#blockedSince = undefined
  }

  /** The line or the peer broke: whole frames that came before are still given out. */
  #fail(error: unknown): void {
    this.#inbox.fail(error)
    if (this.#failure) return
    this.#failure = { error }
    clearTimeout(this.#stall)
    clearTimeout(this.#silence)
    this.#room?.()
    // Without a reader of its own, a failed end is told by the frames and writes that fail.
    this.#ended?.promise.catch(() => {})
    this.#ended?.reject(error)
    this.#port.close()
  }

  #giveUp(reason: unknown): void {
    this.#inbox.stop(reason)
    this.#fail(reason)
    this.#port.close()
  }
}

function streamBytes(frameBytes: number, path: LanePath): number {
  if (path === 'webrtc') return frameBytes + Math.ceil(frameBytes / PACKET_BYTES) * PACKET_OVERHEAD_BYTES
  return frameBytes + Math.ceil(frameBytes / LANE_STREAM_MESSAGE_BYTES) * MESSAGE_OVERHEAD_BYTES
}
