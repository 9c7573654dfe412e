/**
 * The agent's end of the control socket: serves an AgentApi to the command line.
 *
 * Who may connect is decided by the file system (folder 0700, socket 0600). What comes through is still read
 * with suspicion: bounded lines, bounded calls, checked arguments; a bad line is answered, never fatal.
 */
import { once } from 'node:events'
import { chmod, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_SOCKET_CALLS, MAX_SOCKET_CLIENTS } from '../../protocol/limits.ts'
import type { AgentApi, CallOptions } from '../api.ts'
import type { Home } from '../home.ts'
import { socketPath, type SocketPath } from './socket-path.ts'
import { openControlSocket } from './client.ts'
import { readLines } from './lines.ts'
import { BadRequest, formatLine, isStreaming, parseRequest, toWireError, type Response } from './wire.ts'

/** A listening control socket; disposing it ends its clients and removes the file. */
export interface ControlServer extends AsyncDisposable {
  /** Clients connected now. */
  readonly clients: number
}

/** Any call, as the dispatcher sees it. */
type AnyCall = (args: Record<string, unknown>, call: CallOptions) => unknown

/**
 * Serves `api` on the socket of `home`. The caller holds the state lock of the home, so a file found there was left by
 * a dead agent and is replaced; if something does answer on it, throws STATE_LOCKED.
 */
export async function serveControl(api: AgentApi, home: Home): Promise<ControlServer> {
  await removeStale(home)
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    void serveClient(api, socket)
  })
  server.maxConnections = MAX_SOCKET_CLIENTS
  const path = await socketPath(home)
  try {
    server.listen(path.path)
    await once(server, 'listening')
    await chmod(home.socket, 0o600)
  } catch (error) {
    await close(server, sockets, path)
    throw error
  }
  let closing: Promise<void> | undefined
  return {
    get clients() {
      return sockets.size
    },
    [Symbol.asyncDispose]: () => (closing ??= close(server, sockets, path)),
  }
}

async function removeStale(home: Home): Promise<void> {
  const socket = await openControlSocket(home).catch(() => undefined)
  if (socket) {
    socket.destroy()
    throw new FluidError('STATE_LOCKED', `Another agent answers on ${home.socket}`)
  }
  await rm(home.socket, { force: true })
}

/** Node unlinks the socket file itself when the server closes. */
async function close(server: Server, sockets: Set<Socket>, path: SocketPath): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  for (const socket of sockets) socket.destroy()
  await closed
  await path[Symbol.asyncDispose]()
}

/** Reads one client's lines until it leaves; its open calls are aborted then. */
async function serveClient(api: AgentApi, socket: Socket): Promise<void> {
  const calls = new Map<number, AbortController>()
  const send = (message: Response): Promise<void> => write(socket, message)
  socket.on('error', () => socket.destroy())
  try {
    for await (const line of readLines(socket.iterator({ destroyOnReturn: false }))) {
      if (line.trim() !== '') await serveLine(api, line, calls, send)
    }
  } catch (error) {
    void send({ id: null, error: toWireError(error) }).catch(() => {})
  } finally {
    for (const call of calls.values()) call.abort(new FluidError('INTERRUPTED', 'The client went away'))
    socket.destroySoon()
  }
}

async function serveLine(
  api: AgentApi,
  line: string,
  calls: Map<number, AbortController>,
  send: (message: Response) => Promise<void>,
): Promise<void> {
  try {
    const request = parseRequest(line)
    if ('abort' in request) {
      calls.get(request.id)?.abort(new FluidError('INTERRUPTED', 'The client asked to stop'))
      return
    }
    const { id, call, args } = request
    if (calls.has(id)) throw new BadRequest(null, `The id ${id} is in use`)
    if (calls.size >= MAX_SOCKET_CALLS) {
      await send({
        id,
        error: toWireError(new FluidError('LIMIT_EXCEEDED', `More than ${MAX_SOCKET_CALLS} calls are open`)),
      })
      return
    }
    const controller = new AbortController()
    calls.set(id, controller)
    const invoke: AnyCall = (api[call] as unknown as AnyCall).bind(api)
    const serving = isStreaming(call)
      ? serveStream(invoke, id, args, controller.signal, send)
      : serveValue(invoke, id, args, controller.signal, send)
    void serving.catch(() => {}).finally(() => calls.delete(id))
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error
    await send({ id: error.id, error: toWireError(error) })
  }
}

async function serveValue(
  invoke: AnyCall,
  id: number,
  args: Record<string, unknown>,
  signal: AbortSignal,
  send: (message: Response) => Promise<void>,
): Promise<void> {
  try {
    await send({ id, value: (await invoke(args, { signal })) ?? null })
  } catch (error) {
    await send({ id, error: toWireError(error) })
  }
}

/** One item is asked for only when the last one has been handed to the kernel: a slow client holds nothing up but itself. */
async function serveStream(
  invoke: AnyCall,
  id: number,
  args: Record<string, unknown>,
  signal: AbortSignal,
  send: (message: Response) => Promise<void>,
): Promise<void> {
  const aborted = Promise.withResolvers<never>()
  aborted.promise.catch(() => {})
  const onAbort = (): void => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    const items = (invoke(args, { signal }) as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    try {
      for (;;) {
        const next = await Promise.race([items.next(), aborted.promise])
        if (next.done) break
        await send({ id, item: next.value })
      }
    } finally {
      // Not awaited: a generator that waits for its next item only returns once that has come.
      void items.return?.()?.catch(() => {})
    }
    await send({ id, end: true })
  } catch (error) {
    await send({ id, error: toWireError(error) })
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Resolves when the socket wants more; rejects when it is gone. */
async function write(socket: Socket, message: Response): Promise<void> {
  if (!socket.writable) throw new FluidError('INTERRUPTED', 'The client went away')
  let line: string
  try {
    line = formatLine(message)
  } catch (error) {
    line = formatLine({
      id: message.id,
      error: toWireError(new FluidError('LIMIT_EXCEEDED', (error as Error).message)),
    })
  }
  if (socket.write(line)) return
  const waiting = new AbortController()
  try {
    await Promise.race([
      once(socket, 'drain', { signal: waiting.signal }),
      once(socket, 'close', { signal: waiting.signal }).then(() => {
        throw new FluidError('INTERRUPTED', 'The client went away')
      }),
    ])
  } finally {
    waiting.abort()
  }
}
