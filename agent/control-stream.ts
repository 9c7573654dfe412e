/**
 * The control stream of one viaduct: messages both ways, each checked against the state table, with heartbeats, a
 * deadline on silence and a bound on floods. Everything it carries is small; bulk rides on lanes.
 */
import type { Stream } from '@libp2p/interface'
import { decodeControl, encodeControl } from '../protocol/control-codec.ts'
import type { ControlMessage, ControlMessageOf } from '../protocol/control-message.ts'
import { asFluidError, FluidError } from '../protocol/errors.ts'
import { createFrameReader, frameControl } from '../protocol/frame-reader.ts'
import {
  CONTROL_SILENCE_TIMEOUT_MS,
  HANDSHAKE_TIMEOUT_MS,
  MAX_CONTROL_FRAME_BYTES,
  MAX_CONTROL_FRAMES_PER_SECOND,
  MAX_VOLUME_BYTES,
} from '../protocol/limits.ts'
import { eventOf, TERMINAL, transition, type Role, type State } from '../protocol/state.ts'
import { createTokenBucket } from '../protocol/token-bucket.ts'

/** Messages a reader of the stream has to deal with. */
export type Heard = Exclude<ControlMessage, { kind: 'heartbeat' | 'unknown' }>

export interface ControlStream extends AsyncDisposable {
  readonly peer: string
  readonly state: State
  /** Aborted when the stream is over, with the reason. */
  readonly signal: AbortSignal
  /** Bytes of control messages so far, both directions. */
  readonly wireBytes: number
  /** Changes with every message, and whenever work that shows in no message goes on, here or at the peer. */
  readonly progress: number
  /** How far such work is on this side, in bytes; heartbeats tell the peer. */
  working(doneBytes: number): void
  send(message: ControlMessage): Promise<void>
  /** The next message that means something. Rejects with the reason when the stream is over, a peer's fatal status included. */
  receive(options?: { timeoutMs?: number }): Promise<Heard>
  /** The next message, which must be of one of these kinds. */
  expect<K extends Heard['kind']>(...kinds: K[]): Promise<ControlMessageOf<K>>
  /** Resolves when the peer has ended the stream, or after `timeoutMs`: true when it has. */
  peerEnded(timeoutMs: number): Promise<boolean>
  /** Tells the peer why this ends, as far as it still listens, and closes. */
  fail(error: unknown): Promise<void>
}

/** Bytes waiting to be taken by the line before send() waits. */
const FLUSH_TIMEOUT_MS = 2_000

/** Speaks the viaduct protocol over a libp2p stream, which it owns from then on. */
export function openControlStream(
  stream: Stream,
  options: { role: Role; peer: string; silenceTimeoutMs?: number },
): ControlStream {
  const { role, peer, silenceTimeoutMs = CONTROL_SILENCE_TIMEOUT_MS } = options
  const over = new AbortController()
  const inbox: Heard[] = []
  const reader = createFrameReader(MAX_CONTROL_FRAME_BYTES)
  let state: State = 'connected'
  let wake = Promise.withResolvers<void>()
  let wireBytes = 0
  let heardAt = performance.now()
  const frames = createTokenBucket({
    burst: MAX_CONTROL_FRAMES_PER_SECOND,
    perSecond: MAX_CONTROL_FRAMES_PER_SECOND,
  })
  let sawEnd = false
  let messages = 0
  let workedBytes = 0
  let peerWorkedBytes = 0

  const stir = () => {
    wake.resolve()
    wake = Promise.withResolvers()
  }
  const end = (reason: FluidError) => {
    if (over.signal.aborted) return
    over.abort(reason)
    clearInterval(beating)
    stir()
  }
  const violate = (error: unknown) => {
    end(asFluidError(error, 'PROTOCOL_VIOLATION'))
    stream.abort(asFluidError(error))
  }

  function take(body: Uint8Array): void {
    const message = decodeControl(body)
    state = transition(role, state, eventOf('received', message))
    if (message.kind === 'heartbeat') peerWorkedBytes = Math.max(peerWorkedBytes, message.doneBytes)
    if (message.kind === 'heartbeat' || message.kind === 'unknown') return
    messages++
    if (inbox.length >= MAX_CONTROL_FRAMES_PER_SECOND)
      throw new FluidError('LIMIT_EXCEEDED', 'The peer sends faster than it is answered', { peer })
    inbox.push(message)
    stir()
  }

  function hear(bytes: Uint8Array): void {
    heardAt = performance.now()
    wireBytes += bytes.byteLength
    for (const body of reader.push(bytes)) {
      if (!frames.take())
        throw new FluidError('LIMIT_EXCEEDED', 'The peer floods the control stream', { peer })
      take(body)
    }
  }

  void (async () => {
    try {
      for await (const bytes of stream) hear(bytes.subarray())
      sawEnd = true
      end(new FluidError('PEER_UNREACHABLE', 'The peer closed the control stream', { peer }))
    } catch (error) {
      if (error instanceof FluidError) violate(error)
      else end(new FluidError('PEER_UNREACHABLE', 'The control stream broke', { cause: error, peer }))
    }
  })()

  const beating = setInterval(() => {
    const silentMs = performance.now() - heardAt
    if (silentMs > silenceTimeoutMs) {
      const error = new FluidError('TIMEOUT', `The peer was silent for ${Math.round(silentMs / 1000)} s`, {
        peer,
      })
      end(error)
      stream.abort(error)
    } else if (!TERMINAL.has(state) && state !== 'connected')
      void write({ kind: 'heartbeat', doneBytes: workedBytes }).catch(() => {})
  }, silenceTimeoutMs / 4)

  async function write(message: ControlMessage): Promise<void> {
    over.signal.throwIfAborted()
    state = transition(role, state, eventOf('sent', message))
    const framed = frameControl(encodeControl(message))
    wireBytes += framed.length
    try {
      stream.send(framed)
    } catch (cause) {
      throw new FluidError('PEER_UNREACHABLE', 'The control stream is closed', { cause, peer })
    }
  }

  async function receive({ timeoutMs }: { timeoutMs?: number } = {}): Promise<Heard> {
    const deadline = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs)
    for (;;) {
      const message = inbox.shift()
      if (message) {
        if (message.kind === 'status' && message.fatal) {
          const { code, message: text, offset } = message
          throw new FluidError(code, text, { peer, offset })
        }
        return message
      }
      over.signal.throwIfAborted()
      if (deadline?.aborted)
        throw new FluidError('TIMEOUT', `The peer did not answer within ${timeoutMs} ms`, { peer })
      const timer =
        deadline &&
        new Promise<void>((resolve) => deadline.addEventListener('abort', () => resolve(), { once: true }))
      await (timer ? Promise.race([wake.promise, timer]) : wake.promise)
    }
  }

  return {
    peer,
    signal: over.signal,
    get state() {
      return state
    },
    get wireBytes() {
      return wireBytes
    },
    get progress() {
      return messages + workedBytes + peerWorkedBytes
    },
    working(doneBytes) {
      workedBytes = Math.max(workedBytes, Math.min(doneBytes, MAX_VOLUME_BYTES))
    },
    send: write,
    receive,
    async expect(...kinds) {
      const message = await receive({ timeoutMs: HANDSHAKE_TIMEOUT_MS })
      if ((kinds as readonly string[]).includes(message.kind)) return message as never
      throw new FluidError(
        'PROTOCOL_VIOLATION',
        `The peer sent ${message.kind} where ${kinds.join(' or ')} was due`,
        { peer },
      )
    },
    async peerEnded(timeoutMs) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, timeoutMs)
      over.signal.addEventListener('abort', () => resolve(), { once: true })
      if (!over.signal.aborted) await promise
      clearTimeout(timer)
      return over.signal.aborted
    },
    async fail(error) {
      const { code, message, details } = asFluidError(error)
      if (!over.signal.aborted && !TERMINAL.has(state)) {
        await write({
          kind: 'status',
          code,
          message: message.slice(0, 500),
          fatal: true,
          offset: details.offset,
        }).catch(() => {})
      }
      await close()
    },
    [Symbol.asyncDispose]: close,
  }

  async function close(): Promise<void> {
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
    end(new FluidError('INTERRUPTED', 'The viaduct is closed', { peer }))
  }
}
