/** The command line's end of the control socket: an AgentApi whose calls are answered by the running agent. */
import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { FluidError } from '../../protocol/errors.ts'
import { SOCKET_CONNECT_TIMEOUT_MS } from '../../protocol/limits.ts'
import type { AgentApi, CallOptions } from '../api.ts'
import { homeAt, type Home } from '../home.ts'
import { socketPath } from './socket-path.ts'
import { readLines } from './lines.ts'
import { CALLS, formatLine, fromWireError, isStreaming, type CallName, type Response } from './wire.ts'

/** A connection to the agent; disposing it ends streams, never jobs. */
export type AgentClient = AgentApi & AsyncDisposable

/** One unfinished call. */
interface Open {
  next(item: unknown): void
  end(value: unknown): void
  fail(error: unknown): void
}

type Args = Record<string, unknown> | undefined

/**
 * Connects to the agent of `home` (its absolute path, or its paths). Throws AGENT_NOT_RUNNING when nobody listens there; the same error ends every open
 * call when the agent goes away.
 */
export async function connectAgent(home: Home | string, { signal }: CallOptions = {}): Promise<AgentClient> {
  return new Connection(
    await openControlSocket(typeof home === 'string' ? homeAt(home) : home, { signal }),
  ).client()
}

/** A connected socket; AGENT_NOT_RUNNING when there is no file, or nobody behind it. */
export async function openControlSocket(home: Home, { signal }: CallOptions = {}): Promise<Socket> {
  signal?.throwIfAborted()
  const deadline = AbortSignal.timeout(SOCKET_CONNECT_TIMEOUT_MS)
  let socket: Socket | undefined
  try {
    await using path = await socketPath(home)
    socket = createConnection(path.path)
    await once(socket, 'connect', { signal: signal ? AbortSignal.any([signal, deadline]) : deadline })
    return socket
  } catch (cause) {
    socket?.destroy()
    signal?.throwIfAborted()
    if ((cause as NodeJS.ErrnoException).code === 'EACCES') {
      throw new FluidError('AGENT_NOT_RUNNING', `The socket ${home.socket} belongs to another user`, {
        cause,
        hint: 'Run the command as the user the agent runs as',
      })
    }
    throw new FluidError('AGENT_NOT_RUNNING', `No agent answers on ${home.socket}`, { cause })
  }
}

class Connection {
  readonly #socket: Socket
  readonly #open = new Map<number, Open>()
  #lastId = 0
  #gone: FluidError | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => socket.destroy())
    void this.#read()
  }

  /** One method for each call in {@link CALLS}. */
  client(): AgentClient {
    const calls: Record<string, unknown> = {}
    for (const call of Object.keys(CALLS) as CallName[]) {
      calls[call] = isStreaming(call)
        ? (args: Args, options: CallOptions = {}) => this.#stream(call, args, options)
        : (args: Args, options: CallOptions = {}) => this.#value(call, args, options)
    }
    return Object.assign(calls as unknown as AgentApi, { [Symbol.asyncDispose]: () => this.#close() })
  }

  async #close(): Promise<void> {
    this.#gone ??= new FluidError('INTERRUPTED', 'The connection to the agent was closed')
    this.#socket.destroy()
    if (!this.#socket.closed) await once(this.#socket, 'close')
  }

  async #read(): Promise<void> {
    let cause: unknown
    try {
      for await (const line of readLines(this.#socket)) this.#answer(JSON.parse(line) as Response)
    } catch (error) {
      cause = error
      this.#socket.destroy()
    }
    this.#gone ??= new FluidError('AGENT_NOT_RUNNING', 'The agent closed the connection', { cause })
    for (const call of this.#open.values()) call.fail(this.#gone)
    this.#open.clear()
  }

  #answer(message: Response): void {
    const call = message.id === null ? undefined : this.#open.get(message.id)
    if (!call || message.id === null) {
      // An answer to no request of ours: the agent could not read a line, and ends the connection.
      if ('error' in message && message.id === null) throw fromWireError(message.error)
      return
    }
    if ('item' in message) return call.next(message.item)
    this.#open.delete(message.id)
    if ('error' in message) call.fail(fromWireError(message.error))
    else call.end('value' in message ? message.value : undefined)
  }

  /** Sends a request; the answer goes to `open`. Returns what abandons the call. */
  #request(call: CallName, args: Args, open: Open): () => void {
    const id = ++this.#lastId
    if (this.#gone) {
      open.fail(this.#gone)
      return () => {}
    }
    this.#open.set(id, open)
    this.#socket.write(formatLine({ id, call, args }))
    return () => {
      if (this.#open.delete(id) && this.#socket.writable) this.#socket.write(formatLine({ id, abort: true }))
    }
  }

  async #value(call: CallName, args: Args, { signal }: CallOptions): Promise<unknown> {
    signal?.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const abandon = this.#request(call, args, { next() {}, end: resolve, fail: reject })
    const onAbort = (): void => {
      abandon()
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async *#stream(call: CallName, args: Args, { signal }: CallOptions): AsyncGenerator<unknown> {
    signal?.throwIfAborted()
    const items: unknown[] = []
    let ended = false
    let failure: { readonly error: unknown } | undefined
    let wake = (): void => {}
    const finish = (error?: { readonly error: unknown }): void => {
      ended = true
      failure ??= error
      wake()
    }
    const abandon = this.#request(call, args, {
      next: (item) => {
        items.push(item)
        wake()
      },
      end: () => finish(),
      fail: (error) => finish({ error }),
    })
    const onAbort = (): void => finish({ error: signal?.reason })
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      for (;;) {
        while (items.length > 0 && !signal?.aborted) yield items.shift()
        if (failure) throw failure.error
        if (ended) return
        await new Promise<void>((resolve) => (wake = resolve))
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      abandon()
    }
  }
}
