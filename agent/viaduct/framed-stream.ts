/**
 * Length-prefixed messages over one libp2p stream, both ways, with heartbeats, a deadline on silence and a bound on floods.
 * What the messages mean, and how many may wait, is for whoever speaks a protocol over it.
 */
import type { Stream } from '@libp2p/interface'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { createFrameReader, frameControl } from '../../protocol/frame-reader.ts'
import { createTokenBucket } from '../../protocol/token-bucket.ts'
import { negotiated } from '../mesh/optimistic-select.ts'

export interface FramedStreamOptions {
  readonly peer: string
  /** For messages of errors, such as `control stream`. */
  readonly name: string
  readonly maxFrameBytes: number
  readonly framesPerSecond: number
  readonly silenceTimeoutMs: number
  /** The body of a frame; what it throws ends the stream. */
  onFrame(body: Uint8Array): void
  /** Time to say something: four times in `silenceTimeoutMs`. */
  onBeat(): void
}

export interface FramedStream {
  /** Aborted when the stream is over, with the reason. */
  readonly signal: AbortSignal
  /** The peer has ended it in order: it has read what was sent before, or does not want it. */
  readonly ended: boolean
  /** So far, both directions, prefixes included. */
  readonly wireBytes: number
  /** When the peer was heard last, heartbeats included; performance.now(). */
  readonly heardAt: number
  /** Hands a frame to the line. Throws when the stream is over, PEER_UNREACHABLE when it is closed. */
  send(body: Uint8Array): void
  /** Ends the stream at once. */
  abort(reason: unknown): void
  /** Ends it in order, with `reason` for whoever still waits here. */
  close(reason: FluidError): Promise<void>
}

/** Time for what was sent last to leave, and for the peer's end to follow. */
const FLUSH_TIMEOUT_MS = 2_000

/** Listens to `stream`, which it owns from then on. */
export function openFramedStream(stream: Stream, options: FramedStreamOptions): FramedStream {
  const { peer, name, maxFrameBytes, framesPerSecond, silenceTimeoutMs, onFrame, onBeat } = options
  const over = new AbortController()
  const reader = createFrameReader(maxFrameBytes)
  const frames = createTokenBucket({ burst: framesPerSecond, perSecond: framesPerSecond })
  let wireBytes = 0
  let heardAt = performance.now()
  let sawEnd = false

  const end = (reason: FluidError) => {
    clearInterval(beating)
    if (!over.signal.aborted) over.abort(reason)
  }
  const abort = (reason: unknown) => {
    const error = asFluidError(reason, 'PEER_UNREACHABLE')
    end(error)
    stream.abort(error)
  }

  const beating = setInterval(() => {
    const silentMs = performance.now() - heardAt
    if (silentMs > silenceTimeoutMs)
      abort(new FluidError('TIMEOUT', `The peer was silent for ${Math.round(silentMs / 1000)} s`, { peer }))
    else onBeat()
  }, silenceTimeoutMs / 4)

  function hear(bytes: Uint8Array): void {
    heardAt = performance.now()
    wireBytes += bytes.byteLength
    for (const body of reader.push(bytes)) {
      if (!frames.take()) throw new FluidError('LIMIT_EXCEEDED', `The peer floods the ${name}`, { peer })
      onFrame(body)
    }
  }

  // A connection that ends takes its streams along, and none of them has this event.
  stream.addEventListener('remoteCloseWrite', () => (sawEnd = true), { once: true })
  void (async () => {
    try {
      await negotiated(stream)
      for await (const bytes of stream) hear(bytes.subarray())
      end(new FluidError('PEER_UNREACHABLE', `The peer closed the ${name}`, { peer }))
    } catch (error) {
      if (error instanceof FluidError) abort(error)
      else end(new FluidError('PEER_UNREACHABLE', `The ${name} broke`, { cause: error, peer }))
    }
  })()

  return {
    signal: over.signal,
    get ended() {
      return sawEnd
    },
    get wireBytes() {
      return wireBytes
    },
    get heardAt() {
      return heardAt
    },
    send(body) {
      over.signal.throwIfAborted()
      const framed = frameControl(body)
      wireBytes += framed.length
      try {
        stream.send(framed)
      } catch (cause) {
        throw new FluidError('PEER_UNREACHABLE', `The ${name} is closed`, { cause, peer })
      }
    },
    abort,
    async close(reason) {
      clearInterval(beating)
      try {
        await stream.close({ signal: AbortSignal.timeout(FLUSH_TIMEOUT_MS) })
      } catch (error) {
        stream.abort(asFluidError(error))
      }
      // The peer's end follows once it has read ours; a stream left half open would be a leak.
      if (!sawEnd)
        setTimeout(
          () => sawEnd || stream.abort(new Error('The peer left the stream half open')),
          FLUSH_TIMEOUT_MS,
        ).unref()
      end(reason)
    },
  }
}
