/**
 * Frames of a relocation over one libp2p stream, both ways: heartbeats, a deadline on silence, a bound on floods and on
 * what is not read yet. Who may say what when is for client and host; spec relocation.md, Framing.
 */
import type { Stream } from '@libp2p/interface'
import { FluidError } from '../../protocol/errors.ts'
import {
  MAX_RELOCATION_FRAME_BYTES,
  MAX_RELOCATION_FRAMES_PER_SECOND,
  MAX_RELOCATION_UNREAD_BYTES,
  RELOCATION_SILENCE_TIMEOUT_MS,
} from '../../protocol/limits.ts'
import { decodeRelocation, encodeRelocation } from '../../protocol/relocation-codec.ts'
import type { RelocationFrame, RelocationMessage } from '../../protocol/relocation-message.ts'
import { openFramedStream } from '../viaduct/framed-stream.ts'

export interface RelocationStream extends AsyncDisposable {
  /** Aborted when the stream is over, with the reason. */
  readonly signal: AbortSignal
  /** When the peer was heard last, heartbeats included; performance.now(). */
  readonly heardAt: number
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

/** Speaks over `stream`, which it owns from then on. */
export function openRelocationStream(stream: Stream, options: RelocationStreamOptions): RelocationStream {
  const { peer, silenceTimeoutMs = RELOCATION_SILENCE_TIMEOUT_MS } = options
  const { maxUnreadBytes = MAX_RELOCATION_UNREAD_BYTES } = options
  const inbox: { readonly frame: RelocationFrame; readonly bytes: number }[] = []
  let unreadBytes = 0
  let wake = Promise.withResolvers<void>()
  const stir = () => {
    wake.resolve()
    wake = Promise.withResolvers()
  }

  const line = openFramedStream(stream, {
    peer,
    name: 'relocation stream',
    maxFrameBytes: MAX_RELOCATION_FRAME_BYTES,
    framesPerSecond: MAX_RELOCATION_FRAMES_PER_SECOND,
    silenceTimeoutMs,
    onFrame: take,
    onBeat: () => void send(0, { kind: 'heartbeat' }).catch(() => {}),
  })
  const { signal } = line
  signal.addEventListener('abort', stir)

  function take(body: Uint8Array): void {
    const frame = decodeRelocation(body)
    if (frame.message.kind === 'heartbeat' || frame.message.kind === 'unknown') return
    unreadBytes += body.length
    if (unreadBytes > maxUnreadBytes)
      throw new FluidError('LIMIT_EXCEEDED', 'The peer sends faster than it is answered', { peer })
    inbox.push({ frame, bytes: body.length })
    stir()
  }

  async function send(request: number, message: RelocationMessage): Promise<void> {
    signal.throwIfAborted()
    line.send(encodeRelocation({ request, message }))
  }

  async function* frames(): AsyncGenerator<RelocationFrame, never> {
    for (;;) {
      const next = inbox.shift()
      if (next) {
        unreadBytes -= next.bytes
        yield next.frame
        continue
      }
      signal.throwIfAborted()
      await wake.promise
    }
  }

  return {
    signal,
    get heardAt() {
      return line.heardAt
    },
    send,
    frames,
    abort: line.abort,
    [Symbol.asyncDispose]: () =>
      line.close(new FluidError('INTERRUPTED', 'The relocation stream was closed', { peer })),
  }
}
