/**
 * Length-prefixed messages over one libp2p stream, both ways, each wait with a deadline. What is not read yet is bounded:
 * a stream gives its sender no back-pressure (field of libp2p 3), so one that sends ahead of its answers is ended.
 */
import type { Stream } from '@libp2p/interface'
import { FluidError } from '../protocol/errors.ts'
import { createFrameReader, frameControl } from '../protocol/frame-reader.ts'

export interface MessageStreamOptions {
  /** Longest message either side may send. */
  readonly maxFrameBytes: number
  /** Bytes of whole messages that may wait to be read. */
  readonly maxUnreadBytes: number
  /** Longest wait of one receive() or send(), ms, unless it is given another. */
  readonly timeoutMs: number
}

export interface Waits {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface MessageStream extends AsyncDisposable {
  /** Bytes sent and received so far, with their prefixes. */
  readonly wireBytes: { readonly sent: number; readonly received: number }
  /** Resolves when the line takes more. Throws TIMEOUT, PEER_UNREACHABLE. */
  send(body: Uint8Array, waits?: Waits): Promise<void>
  /** The next message, or undefined when the other side has ended. Throws TIMEOUT, PEER_UNREACHABLE, PROTOCOL_VIOLATION, LIMIT_EXCEEDED. */
  receive(waits?: Waits): Promise<Uint8Array | undefined>
  /** Ends the stream at once, telling the other side nothing. */
  abort(reason: Error): void
}

/** Speaks over `stream`, which it owns from then on; disposing it closes the stream in order. */
export function openMessageStream(stream: Stream, options: MessageStreamOptions): MessageStream {
  const { maxFrameBytes, maxUnreadBytes, timeoutMs } = options
  const reader = createFrameReader(maxFrameBytes)
  const inbox: Uint8Array[] = []
  let unread = 0
  let [sent, received] = [0, 0]
  let over: { readonly error?: FluidError } | undefined
  let changed = Promise.withResolvers<void>()

  stream.maxReadBufferLength = Math.max(stream.maxReadBufferLength, maxUnreadBytes + maxFrameBytes)

  const stir = (): void => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const end = (error?: FluidError): void => {
    over ??= { error }
    stir()
  }
  const abort = (reason: Error): void => {
    end(reason instanceof FluidError ? reason : unreachable('The stream was ended', reason))
    stream.abort(reason)
  }

  stream.addEventListener('message', ({ data }) => {
    if (over) return
    received += data.byteLength
    try {
      for (const body of reader.push(data.subarray())) {
        inbox.push(body)
        unread += body.length
      }
      if (unread > maxUnreadBytes)
        throw new FluidError('LIMIT_EXCEEDED', `The peer sends more than ${maxUnreadBytes} bytes ahead`)
      stir()
    } catch (error) {
      inbox.length = 0
      abort(error as FluidError)
    }
  })
  stream.addEventListener('drain', stir)
  // Data that came in the same yamux frame as the end is dispatched behind it.
  stream.addEventListener('remoteCloseWrite', () => queueMicrotask(() => end(cutShort())))
  stream.addEventListener('close', ({ error }) => {
    if (stream.remoteWriteStatus === 'closed' && !error) end(cutShort())
    else end(unreachable('The connection was cut', error))
  })

  function cutShort(): FluidError | undefined {
    return reader.heldBytes > 0 ? unreachable('The stream ended within a message') : undefined
  }

  /** Waits until `ready` gives something. */
  async function wait<T>(what: string, waits: Waits, ready: () => T | undefined): Promise<T> {
    const ms = waits.timeoutMs ?? timeoutMs
    const stopped = Promise.withResolvers<void>()
    let late = false
    const timer = setTimeout(() => {
      late = true
      stopped.resolve()
    }, ms)
    const onAbort = (): void => stopped.resolve()
    waits.signal?.addEventListener('abort', onAbort, { once: true })
    try {
      for (;;) {
        waits.signal?.throwIfAborted()
        const found = ready()
        if (found !== undefined) return found
        if (late) throw new FluidError('TIMEOUT', `${what} took longer than ${ms} ms`)
        await Promise.race([changed.promise, stopped.promise])
      }
    } finally {
      clearTimeout(timer)
      waits.signal?.removeEventListener('abort', onAbort)
    }
  }

  return {
    get wireBytes() {
      return { sent, received }
    },
    async send(body, waits = {}) {
      if (stream.status !== 'open') throw over?.error ?? unreachable('The stream is closed')
      const framed = frameControl(body)
      sent += framed.length
      try {
        if (stream.send(framed)) return
      } catch (cause) {
        throw unreachable('The stream is closed', cause)
      }
      await wait('Sending', waits, () => {
        if (stream.status !== 'open') throw over?.error ?? unreachable('The stream was closed')
        return stream.writableNeedsDrain ? undefined : true
      })
    },
    async receive(waits = {}) {
      const next = await wait('An answer', waits, () => {
        const body = inbox.shift()
        if (body) return { body }
        if (over?.error) throw over.error
        return over ? {} : undefined
      })
      if (next.body) unread -= next.body.length
      return next.body
    },
    abort,
    [Symbol.asyncDispose]: async () => {
      if (stream.status === 'open') {
        await stream.close({ signal: AbortSignal.timeout(timeoutMs) }).catch((error) => stream.abort(error))
      }
      end()
    },
  }
}

function unreachable(message: string, cause?: unknown): FluidError {
  return new FluidError('PEER_UNREACHABLE', message, { cause })
}
