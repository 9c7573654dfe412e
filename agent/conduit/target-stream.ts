/**
 * Frames of a relocation over one libp2p stream, both ways: heartbeats, a deadline on silence, a bound on floods and on
 * what is not read yet. Who may say what when is for client and host; spec relocation.md, Framing.
 */
import type { Stream } from '@libp2p/interface'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { createFrameReader, frameControl } from '../../protocol/frame-reader.ts'
import {
  MAX_RELOCATION_FRAME_BYTES,
  MAX_RELOCATION_FRAMES_PER_SECOND,
  MAX_RELOCATION_UNREAD_BYTES,
  RELOCATION_SILENCE_TIMEOUT_MS,
} from '../../protocol/limits.ts'
import { decodeRelocation, encodeRelocation } from '../../protocol/relocation-codec.ts'
import type { RelocationFrame, RelocationMessage } from '../../protocol/relocation-message.ts'
import { createTokenBucket } from '../../protocol/token-bucket.ts'

export interface RelocationStream extends AsyncDisposable {
  /** Aborted when the stream is over, with the reason. */
  readonly signal: AbortSignal
  /** Hands the frame to the line before it returns; rejects when the stream is over. */
  send(request: number, message: RelocationMessage): Promise<void>
  /**
   * What the other side says, heartbeats and unknown messages left out; read once. Ends by throwing: PEER_UNREACHABLE
   * when the peer has closed, TIMEOUT on silence, PROTOCOL_VIOLATION, LIMIT_EXCEEDED, INTERRUPTED when this side closed.
   */
  frames(): AsyncGenerator<RelocationFrame, never>
  /** Ends the stream at once. */
  abort(reason: unknown): void
}

export interface RelocationStreamOptions {
  readonly peer: string
  readonly silenceTimeoutMs?: number
  /** Bytes of whole messages that may wait unread; less at the target, which is asked little at a time. */
  readonly maxUnreadBytes?: number
}

/** Time for what was sent last to leave when the stream is closed. */
const FLUSH_TIMEOUT_MS = 2_000

/** Speaks over `stream`, which it owns from then on. */
export function openRelocationStream(stream: Stream, options: RelocationStreamOptions): RelocationStream {
  const { peer, silenceTimeoutMs = RELOCATION_SILENCE_TIMEOUT_MS } = options
  const { maxUnreadBytes = MAX_RELOCATION_UNREAD_BYTES } = options
  const over = new AbortController()
  const reader = createFrameReader(MAX_RELOCATION_FRAME_BYTES)
  const inbox: { readonly frame: RelocationFrame; readonly bytes: number }[] = []
  const bucket = createTokenBucket({
    burst: MAX_RELOCATION_FRAMES_PER_SECOND,
    perSecond: MAX_RELOCATION_FRAMES_PER_SECOND,
  })
  let unreadBytes = 0
  let heardAt = performance.now()
  let wake = Promise.withResolvers<void>()
  const stir = () => {
    wake.resolve()
    wake = Promise.withResolvers()
  }

  function end(reason: unknown): FluidError {
    const error = asFluidError(reason, 'PEER_UNREACHABLE')
    clearInterval(beating)
    if (!over.signal.aborted) over.abort(error)
    stir()
    return error
  }
  function abort(reason: unknown): void {
    stream.abort(end(reason))
  }

  const beating = setInterval(() => {
    const silentMs = performance.now() - heardAt
    if (silentMs > silenceTimeoutMs)
      abort(new FluidError('TIMEOUT', `The peer was silent for ${Math.round(silentMs / 1000)} s`, { peer }))
    else send(0, { kind: 'heartbeat' }).catch(() => {})
  }, silenceTimeoutMs / 4)

  function hear(bytes: Uint8Array): void {
    heardAt = performance.now()
    for (const body of reader.push(bytes)) {
      if (!bucket.take())
        throw new FluidError('LIMIT_EXCEEDED', 'The peer floods the relocation stream', { peer })
      const frame = decodeRelocation(body)
      if (frame.message.kind === 'heartbeat' || frame.message.kind === 'unknown') continue
      unreadBytes += body.length
      if (unreadBytes > maxUnreadBytes)
        throw new FluidError('LIMIT_EXCEEDED', 'The peer sends faster than it is answered', { peer })
      inbox.push({ frame, bytes: body.length })
    }
    stir()
  }

  void (async () => {
    try {
      for await (const bytes of stream) hear(bytes.subarray())
      end(new FluidError('PEER_UNREACHABLE', 'The peer closed the relocation stream', { peer }))
    } catch (error) {
      if (error instanceof FluidError) abort(error)
      else end(new FluidError('PEER_UNREACHABLE', 'The relocation stream broke', { cause: error, peer }))
    }
  })()

  async function send(request: number, message: RelocationMessage): Promise<void> {
    over.signal.throwIfAborted()
    try {
      stream.send(frameControl(encodeRelocation({ request, message })))
    } catch (cause) {
      if (cause instanceof FluidError) throw cause
      throw new FluidError('PEER_UNREACHABLE', 'The relocation stream is closed', { cause, peer })
    }
  }

  async function* frames(): AsyncGenerator<RelocationFrame, never> {
    for (;;) {
      const next = inbox.shift()
      if (next) {
        unreadBytes -= next.bytes
        yield next.frame
        continue
      }
      over.signal.throwIfAborted()
      await wake.promise
    }
  }

  return {
    signal: over.signal,
    send,
    frames,
    abort,
    async [Symbol.asyncDispose]() {
      clearInterval(beating)
      await stream
        .close({ signal: AbortSignal.timeout(FLUSH_TIMEOUT_MS) })
        .catch((error: unknown) => stream.abort(asFluidError(error)))
      // A stream left half open would be a leak.
      setTimeout(
        () => stream.abort(new Error('The peer left the stream half open')),
        FLUSH_TIMEOUT_MS,
      ).unref()
      end(new FluidError('INTERRUPTED', 'The relocation stream was closed', { peer }))
    },
  }
}
