/**
 * The control stream of one viaduct: messages both ways, each checked against the state table, with heartbeats, a
 * deadline on silence and a bound on floods. Everything it carries is small; bulk rides on lanes.
 */
import type { Stream } from '@libp2p/interface'
import { decodeControl, encodeControl } from '../../protocol/control-codec.ts'
import type { ControlMessage, ControlMessageOf } from '../../protocol/control-message.ts'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import {
  CONTROL_SILENCE_TIMEOUT_MS,
  HANDSHAKE_TIMEOUT_MS,
  MAX_CONTROL_FRAME_BYTES,
  MAX_CONTROL_FRAMES_PER_SECOND,
  MAX_VOLUME_BYTES,
} from '../../protocol/limits.ts'
import { eventOf, TERMINAL, transition, type Role, type State } from '../../protocol/state.ts'
import { openFramedStream } from './framed-stream.ts'

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
  /**
   * The next message that means something. Rejects with the reason when the stream is over, a peer's fatal status included;
   * and with that of `signal`, when the message is left to whoever asks next.
   */
  receive(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<Heard>
  /** The next message, which must be of one of these kinds. */
  expect<K extends Heard['kind']>(...kinds: K[]): Promise<ControlMessageOf<K>>
  /** Resolves when the stream is over, or after `timeoutMs`: true when the peer has ended it in order. */
  peerEnded(timeoutMs: number): Promise<boolean>
  /** Tells the peer why this ends, as far as it still listens, and closes. */
  fail(error: unknown): Promise<void>
}

/** Speaks the viaduct protocol over a libp2p stream, which it owns from then on. */
export function openControlStream(
  stream: Stream,
  options: { role: Role; peer: string; silenceTimeoutMs?: number },
): ControlStream {
  const { role, peer, silenceTimeoutMs = CONTROL_SILENCE_TIMEOUT_MS } = options
  const inbox: Heard[] = []
  let state: State = 'connected'
  let wake = Promise.withResolvers<void>()
  let messages = 0
  let workedBytes = 0
  let peerWorkedBytes = 0

  const stir = () => {
    wake.resolve()
    wake = Promise.withResolvers()
  }
  const line = openFramedStream(stream, {
    peer,
    name: 'control stream',
    maxFrameBytes: MAX_CONTROL_FRAME_BYTES,
    framesPerSecond: MAX_CONTROL_FRAMES_PER_SECOND,
    silenceTimeoutMs,
    onFrame: take,
    onBeat() {
      if (!TERMINAL.has(state) && state !== 'connected')
        void write({ kind: 'heartbeat', doneBytes: workedBytes }).catch(() => {})
    },
  })
  const over = line.signal
  over.addEventListener('abort', stir)

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

  async function write(message: ControlMessage): Promise<void> {
    over.throwIfAborted()
    state = transition(role, state, eventOf('sent', message))
    line.send(encodeControl(message))
  }

  async function receive(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<Heard> {
    const { signal } = options
    signal?.addEventListener('abort', stir)
    try {
      return await next(options)
    } finally {
      signal?.removeEventListener('abort', stir)
    }
  }

  /** `signal` wakes it by stir(). */
  async function next({ timeoutMs, signal }: { timeoutMs?: number; signal?: AbortSignal }): Promise<Heard> {
    const deadline = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs)
    for (;;) {
      signal?.throwIfAborted()
      const message = inbox.shift()
      if (message) {
        if (message.kind === 'status' && message.fatal) {
          const { code, message: text, offset } = message
          throw new FluidError(code, text, { peer, offset })
        }
        return message
      }
      over.throwIfAborted()
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
    signal: over,
    get state() {
      return state
    },
    get wireBytes() {
      return line.wireBytes
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
      over.addEventListener('abort', () => resolve(), { once: true })
      if (!over.aborted) await promise
      clearTimeout(timer)
      return line.ended
    },
    async fail(error) {
      const { code, message, details } = asFluidError(error)
      if (!over.aborted && !TERMINAL.has(state)) {
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
    await line.close(new FluidError('INTERRUPTED', 'The viaduct is closed', { peer }))
  }
}
