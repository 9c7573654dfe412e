/** A lane over TLS 1.3 on TCP, whichever implementation of TLS is beneath: see tls.ts for what it promises. */
import type { Socket } from 'node:net'
import { encodeLaneHeader } from '../../protocol/codec.ts'
import { FluidError } from '../../protocol/errors.ts'
import type { LaneMessage } from '../../protocol/lane-message.ts'
import { LANE_CONNECT_TIMEOUT_MS, LANE_STALL_TIMEOUT_MS } from '../../protocol/limits.ts'
import type { FramesOptions, Lane, LaneFrame, LineState } from '../lane.ts'
import { descriptorOf, tcpState } from '../linux.ts'
import { CongestionControl } from './congestion.ts'
import type { FrameInbox } from './frame-inbox.ts'
import { FrameOutbox, type ByteWriter } from './frame-outbox.ts'
import { boundNearBuffers } from './near-buffers.ts'

/** Deadlines default to those in limits.ts. */
export interface OpenLaneOptions {
  /** Governs the opening and the whole life of the lane: an abort destroys it, and what waits throws the reason. */
  readonly signal?: AbortSignal
  readonly connectTimeoutMs?: number
  readonly stallTimeoutMs?: number
}

/** What a lane needs of TLS on a connected socket. */
export interface TlsTransport {
  /** Errors, its end and silence come from here; destroying it ends the lane. */
  readonly socket: Socket
  /** Seals what is written. */
  readonly writer: ByteWriter
  /** So far. */
  readonly wire: Lane['wire']
}

/** A lane over any TLS: proof, frames, deadlines. Its opener feeds the inbox and calls judge() after the handshake. */
export class TlsLane implements Lane {
  readonly path = 'tls'
  readonly wire: Lane['wire']
  readonly waited: Lane['waited']
  readonly #socket: Socket
  readonly #inbox: FrameInbox
  readonly #outbox: FrameOutbox
  readonly #closed: Promise<void>
  readonly #shown = Promise.withResolvers<Uint8Array | undefined>()
  readonly #pin: Uint8Array
  #congestion: CongestionControl | undefined
  #proven = false
  #peerEnded = false

  /** `pin` is the only certificate accepted from the peer, DER. */
  constructor(
    { socket, writer, wire }: TlsTransport,
    inbox: FrameInbox,
    pin: Uint8Array,
    stallTimeoutMs = LANE_STALL_TIMEOUT_MS,
  ) {
    const outbox = new FrameOutbox(writer)
    this.#socket = socket
    this.#inbox = inbox
    this.#outbox = outbox
    this.#pin = pin
    this.wire = wire
    this.waited = {
      get writeMs() {
        return outbox.waitedMs
      },
      get readMs() {
        return inbox.waitedMs
      },
    }
    const fail = (error: unknown) => this.fail(error)
    socket.on('error', fail)
    socket.on('end', () => {
      if (!this.#proven) return void socket.destroy()
      this.#peerEnded = true
      inbox.end()
    })
    this.#closed = new Promise((resolve) => {
      socket.on('close', () => {
        if (!this.#peerEnded || outbox.owes)
          fail(new FluidError('LANE_FAILED', 'Lane was closed by the other side or the line'))
        resolve()
      })
    })
    socket.setTimeout(stallTimeoutMs) // Its callback would be told once only, and idle times are many.
    socket.on('timeout', () => {
      // Silence is no fault while nothing is owed; Node counts every byte the kernel takes as activity.
      if (outbox.owes) fail(new FluidError('LANE_FAILED', `Lane took no byte for ${stallTimeoutMs} ms`))
      else if (inbox.lacks)
        fail(
          new FluidError(
            'LANE_FAILED',
            `Lane brought no byte of an unfinished frame for ${stallTimeoutMs} ms`,
          ),
        )
    })
  }

  /** The handshake is done, and the peer showed this certificate (DER): true when it is the one agreed on. */
  judge(shown: Uint8Array | undefined): boolean {
    this.#proven = shown !== undefined && Buffer.compare(shown, this.#pin) === 0
    this.#shown.resolve(shown)
    return this.#proven
  }

  /** Waits for judge(), before any frame is read or written. Throws LANE_FAILED, or the signal's reason. */
  async prove(
    address: string,
    { signal, connectTimeoutMs = LANE_CONNECT_TIMEOUT_MS }: OpenLaneOptions,
  ): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      reject(
        new FluidError(
          'LANE_FAILED',
          `Lane with ${address} was not established within ${connectTimeoutMs} ms`,
        ),
      )
    }, connectTimeoutMs)
    const onAbort = () => {
      this.#giveUp(signal!.reason)
      reject(signal!.reason)
    }
    signal?.addEventListener('abort', onAbort)
    void this.#closed.then(() => {
      signal?.removeEventListener('abort', onAbort)
      reject(new FluidError('LANE_FAILED', `Lane with ${address} was closed during its handshake`))
    })
    this.#socket.once('error', (cause) => {
      reject(
        new FluidError('LANE_FAILED', `Opening a lane with ${address} failed: ${cause.message}`, { cause }),
      )
    })
    try {
      const shown = await Promise.race([this.#shown.promise, promise])
      if (!this.#proven) {
        throw new FluidError(
          'LANE_FAILED',
          `Lane with ${address} shows ${shown ? 'another' : 'no'} certificate than the one agreed on`,
        )
      }
      const fd = descriptorOf(this.#socket)
      if (fd === undefined) return
      this.#congestion = new CongestionControl(fd)
      boundNearBuffers(fd)
    } catch (error) {
      this.#giveUp(error)
      await this.#closed
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** False, and the lane is given up, when bytes came from a peer that has not proven itself. */
  requireProof(): boolean {
    if (!this.#proven)
      this.fail(new FluidError('LANE_FAILED', 'Lane brought bytes before its peer was proven'))
    return this.#proven
  }

  async write(message: LaneMessage, payload?: Uint8Array): Promise<void> {
    return this.#outbox.write(encodeLaneHeader(message, payload?.byteLength ?? 0), payload)
  }

  frames(options?: FramesOptions): AsyncIterable<LaneFrame> {
    return this.#inbox.frames(options)
  }

  end(): Promise<void> {
    return this.#outbox.end()
  }

  observeLine(): LineState {
    if (this.#socket.destroyed || !this.#congestion) return { full: false, loses: false, near: false }
    return this.#congestion.observe()
  }

  busyMs(): number | undefined {
    const fd = this.#socket.destroyed ? undefined : descriptorOf(this.#socket)
    return fd === undefined ? undefined : tcpState(fd)?.busyMs
  }

  expectLosses(): void {
    if (!this.#socket.destroyed) this.#congestion?.expectLosses()
  }

  /** The line or the peer broke: whole frames that came before are still given out. */
  fail(cause: unknown): void {
    const error = laneError(cause)
    this.#inbox.fail(error)
    this.#outbox.fail(error)
    this.#socket.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#giveUp(new FluidError('LANE_FAILED', 'Lane was closed on this side'))
    await this.#closed
  }

  #giveUp(reason: unknown): void {
    this.#inbox.stop(reason)
    this.#outbox.fail(reason)
    this.#socket.destroy()
  }
}

function laneError(cause: unknown): FluidError {
  if (cause instanceof FluidError) return cause
  const message = cause instanceof Error ? cause.message : String(cause)
  return new FluidError('LANE_FAILED', `Lane broke: ${message}`, { cause })
}
