/**
 * Pumps the bytes of a lane between a libp2p stream, which belongs to the thread of its connection, and the
 * MessagePort of a lane worker (transfer/lanes/port.ts). Also tells and reads which lane a stream is for.
 *
 * Three traps of libp2p 3 streams shape it. Reading: yamux replenishes its window as data arrives, so only
 * pause() holds the peer; and pause() inside resume() is undone when resume() returns. Writing: a full stream is
 * told by the `drain` event, and a closed one by `close`. Ending: a cut connection closes streams without an error,
 * so only `remoteCloseWrite` is a clean end.
 */
import type { MessagePort } from 'node:worker_threads'
import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import {
  decodeLaneHeader,
  encodeLaneHeader,
  LANE_PREFIX_BYTES,
  parseLanePrefix,
} from '../../protocol/codec.ts'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import {
  LANE_CONNECT_TIMEOUT_MS,
  LANE_PORT_CREDIT_BYTES,
  LANE_STALL_TIMEOUT_MS,
  LANE_STREAM_BUFFER_BYTES,
  LANE_STREAM_MESSAGE_BYTES,
} from '../../protocol/limits.ts'
import type { PortMessage } from '../../transfer/lanes/port-message.ts'

/** Most bytes posted to the worker in one message. */
const POST_BYTES = LANE_PORT_CREDIT_BYTES / 16
/** A peer that marked its end among the frames ends its stream at once. */
const LINGER_MS = 2_000

/** Which lane a stream is for, and what was read beyond that: the beginning of its frames. */
export interface LaneAnnouncement {
  readonly token: Uint8Array
  readonly lane: number
  readonly rest: Uint8Array
}

/** A running pump; disposing it aborts the stream and closes the port. */
export interface LanePump extends AsyncDisposable {
  /** Resolves when the lane is over, cleanly or not; the worker's end of the port knows which. */
  readonly done: Promise<void>
}

/** Says on a fresh stream which lane it is for; the first thing the sender does with it. */
export function announceLane(stream: Stream, token: Uint8Array, lane: number): void {
  stream.send(encodeLaneHeader({ kind: 'open', token, lane }, 0))
}

/**
 * Reads which lane a fresh stream is for and leaves the stream paused, to be given to pumpLane() with `rest`.
 * Throws PROTOCOL_VIOLATION, TIMEOUT after LANE_CONNECT_TIMEOUT_MS, or LANE_FAILED, and aborts the stream then.
 */
export async function readAnnouncement(
  stream: Stream,
  { signal }: { signal?: AbortSignal } = {},
): Promise<LaneAnnouncement> {
  const { promise, resolve, reject } = Promise.withResolvers<LaneAnnouncement>()
  let bytes = Buffer.alloc(0)
  stream.maxReadBufferLength = LANE_STREAM_BUFFER_BYTES
  const onMessage = (event: StreamMessageEvent) => {
    bytes = Buffer.concat([bytes, event.data.subarray()])
    try {
      const announcement = parseAnnouncement(bytes)
      if (!announcement) return
      stream.removeEventListener('message', onMessage)
      stream.pause()
      resolve(announcement)
    } catch (error) {
      reject(error)
    }
  }
  const onClose = () =>
    reject(new FluidError('LANE_FAILED', 'Stream of a lane was closed before it said which'))
  const onAbort = () => reject(signal!.reason)
  const timer = setTimeout(() => {
    reject(
      new FluidError('TIMEOUT', `Stream of a lane did not say which within ${LANE_CONNECT_TIMEOUT_MS} ms`),
    )
  }, LANE_CONNECT_TIMEOUT_MS)
  try {
    signal?.throwIfAborted()
    signal?.addEventListener('abort', onAbort)
    stream.addEventListener('close', onClose)
    stream.addEventListener('message', onMessage)
    if (stream.status !== 'open') onClose()
    return await promise
  } catch (error) {
    stream.abort(asFluidError(error))
    throw error
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
    stream.removeEventListener('close', onClose)
    stream.removeEventListener('message', onMessage)
  }
}

function parseAnnouncement(bytes: Uint8Array): LaneAnnouncement | undefined {
  if (bytes.byteLength < LANE_PREFIX_BYTES) return undefined
  const { headerBytes, payloadBytes } = parseLanePrefix(bytes)
  if (payloadBytes !== 0)
    throw new FluidError('PROTOCOL_VIOLATION', `First frame of a lane carries ${payloadBytes} bytes`)
  const frameBytes = LANE_PREFIX_BYTES + headerBytes
  if (bytes.byteLength < frameBytes) return undefined
  const message = decodeLaneHeader(bytes.subarray(LANE_PREFIX_BYTES, frameBytes))
  if (message.kind !== 'open')
    throw new FluidError('PROTOCOL_VIOLATION', `First frame of a lane is ${message.kind}, not open`)
  return { token: message.token, lane: message.lane, rest: bytes.subarray(frameBytes) }
}

/**
 * Carries bytes both ways until both sides have ended or one breaks. Owns stream and port from then on.
 * Memory: the peer's yamux window, and LANE_PORT_CREDIT_BYTES each way.
 */
export function pumpLane(stream: Stream, port: MessagePort, { rest }: { rest?: Uint8Array } = {}): LanePump {
  const pump = new Pump(stream, port)
  pump.start(rest)
  return pump
}

class Pump implements LanePump {
  readonly done: Promise<void>
  readonly #stream: Stream
  readonly #port: MessagePort
  readonly #finished = Promise.withResolvers<void>()
  /** Read from the stream, waiting for the worker's credit; copies of our own, since libp2p's buffers share memory. */
  #unread: Uint8Array<ArrayBuffer>[] = []
  #untakenBytes = 0
  #resuming = false
  #peerEnded = false
  #endPosted = false
  /** Work on the writing side, in order. */
  #writing: Promise<void> = Promise.resolve()
  #wakeWriter: (() => void) | undefined
  #ended = false
  /** Waits for the peer's end, of which the worker has read the mark; whatever else comes is dropped. */
  #lingering: NodeJS.Timeout | undefined
  #over = false

  constructor(stream: Stream, port: MessagePort) {
    this.#stream = stream
    this.#port = port
    this.done = this.#finished.promise
  }

  start(rest: Uint8Array = new Uint8Array(0)): void {
    const stream = this.#stream
    if (stream.status !== 'open' && stream.status !== 'closing') {
      this.#fail(new FluidError('LANE_FAILED', `Stream of a lane is ${stream.status}`))
      return
    }
    stream.maxReadBufferLength = LANE_STREAM_BUFFER_BYTES
    this.#peerEnded = stream.remoteWriteStatus === 'closed'
    stream.addEventListener('remoteCloseWrite', this.#onPeerEnd)
    stream.addEventListener('close', this.#onStreamClose)
    stream.addEventListener('drain', this.#onStreamDrain)
    stream.addEventListener('message', this.#onStreamMessage)
    this.#port.on('message', (message: PortMessage) => this.#onPortMessage(message))
    this.#port.on('close', () => this.#onPortClose())
    this.#read(rest)
  }

  #read(bytes: StreamMessageEvent['data']): void {
    if (this.#lingering) return
    for (let at = 0; at < bytes.byteLength; at += POST_BYTES) {
      const piece = bytes.subarray(at, Math.min(at + POST_BYTES, bytes.byteLength))
      const copy = new Uint8Array(piece.byteLength)
      copy.set(piece)
      this.#unread.push(copy)
    }
    this.#flow()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#fail(new FluidError('LANE_FAILED', 'Lane was closed on this side'))
    await this.done
  }

  readonly #onStreamMessage = (event: StreamMessageEvent): void => this.#read(event.data)

  readonly #onStreamDrain = (): void => this.#wakeWriter?.()

  readonly #onPeerEnd = (): void => {
    this.#peerEnded = true
    if (this.#lingering) return this.#finish()
    // Data that came in the same yamux frame as the end is dispatched behind it.
    queueMicrotask(() => this.#flow())
  }

  readonly #onStreamClose = (event: StreamCloseEvent): void => {
    if (event.error || !this.#peerEnded || !this.#ended) {
      const cause = event.error ?? new Error('connection closed')
      this.#fail(new FluidError('LANE_FAILED', `Stream of a lane broke: ${cause.message}`, { cause }))
    }
  }

  /** Hands on what the credit allows, then pauses or resumes the stream, then tells the end. */
  #flow(): void {
    if (this.#over) return
    while (this.#unread.length > 0 && this.#untakenBytes < LANE_PORT_CREDIT_BYTES) {
      const bytes = this.#unread.shift()!
      this.#untakenBytes += bytes.byteLength
      this.#post({ kind: 'bytes', bytes }, bytes.buffer)
    }
    if (this.#resuming) return
    const { readStatus } = this.#stream
    if (this.#unread.length > 0) {
      if (readStatus === 'readable') this.#stream.pause()
    } else if (readStatus === 'paused') {
      this.#resuming = true
      this.#stream.resume()
      this.#resuming = false
      this.#flow()
      return
    }
    if (
      this.#peerEnded &&
      !this.#endPosted &&
      this.#unread.length === 0 &&
      this.#stream.readBufferLength === 0
    ) {
      this.#endPosted = true
      this.#post({ kind: 'end' })
      this.#finishIfEnded()
    }
  }

  /** The worker is done, or gave up. A stream that is reset takes along what its peer has not read, the end included. */
  #onPortClose(): void {
    if (this.#over) return
    if (!this.#ended || this.#stream.writeStatus !== 'closed')
      return this.#fail(new FluidError('LANE_FAILED', 'Lane worker closed its lane'))
    if (this.#peerEnded) return this.#finish()
    this.#unread = []
    this.#lingering = setTimeout(() => {
      this.#fail(new FluidError('LANE_FAILED', `The peer did not end its lane within ${LINGER_MS} ms`))
    }, LINGER_MS).unref()
    if (this.#stream.readStatus === 'paused') this.#stream.resume()
  }

  #onPortMessage(message: PortMessage): void {
    switch (message.kind) {
      case 'bytes':
        this.#write(() => this.#sendAll(message.bytes))
        return
      case 'taken':
        this.#untakenBytes -= message.bytes
        this.#flow()
        return
      case 'end':
        this.#write(() => this.#endStream())
        break
      case 'ended':
      case 'failed':
        break // Said by pumps only; a lane that fails closes its port.
    }
  }

  #write(work: () => Promise<void>): void {
    this.#writing = this.#writing.then(work).catch((error: unknown) => {
      this.#fail(new FluidError('LANE_FAILED', 'Writing to the stream of a lane failed', { cause: error }))
    })
  }

  async #sendAll(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength && !this.#over;) {
      const piece = bytes.subarray(at, at + LANE_STREAM_MESSAGE_BYTES)
      this.#stream.send(piece)
      if (this.#stream.writableNeedsDrain) await this.#drained()
      at += piece.byteLength
      this.#post({ kind: 'taken', bytes: piece.byteLength })
    }
  }

  /** Resolves when the stream can be written again, or is over. */
  async #drained(): Promise<void> {
    while (this.#stream.writableNeedsDrain && !this.#over) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wakeWriter = resolve
      await promise
    }
  }

  async #endStream(): Promise<void> {
    this.#ended = true
    await this.#stream.close({ signal: AbortSignal.timeout(LANE_STALL_TIMEOUT_MS) })
    this.#post({ kind: 'ended' })
    this.#finishIfEnded()
  }

  #post(message: PortMessage, ...transfer: ArrayBuffer[]): void {
    if (!this.#over) this.#port.postMessage(message, transfer)
  }

  #finishIfEnded(): void {
    if (this.#endPosted && this.#stream.writeStatus === 'closed') this.#finish()
  }

  #fail(error: FluidError): void {
    if (this.#over) return
    this.#post({ kind: 'failed', code: error.code, message: error.message })
    this.#over = true // abort() tells its listeners at once
    this.#stream.abort(error)
    this.#finish()
  }

  #finish(): void {
    this.#over = true
    clearTimeout(this.#lingering)
    this.#stream.removeEventListener('remoteCloseWrite', this.#onPeerEnd)
    this.#stream.removeEventListener('close', this.#onStreamClose)
    this.#stream.removeEventListener('message', this.#onStreamMessage)
    this.#stream.removeEventListener('drain', this.#onStreamDrain)
    this.#unread = []
    this.#wakeWriter?.()
    this.#finished.resolve()
    this.#port.close()
  }
}
