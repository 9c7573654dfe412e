/** A TCP proxy on 127.0.0.1 that tests tell to cut, delay, corrupt, throttle, freeze and count what passes, each way. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** Bytes that wait in the proxy, each way of a connection: room for a line of 64 MB/s and 60 ms. */
const LINE_BYTES = 4 * 1024 * 1024

/** One direction of all connections of a proxy. Faults may be set and cleared at any time. */
export class Flow {
  /** Bytes handed on so far, all connections together. */
  bytes = 0
  /** Held back this long before they go on. */
  delayMs = 0
  /** 0: as fast as they come. */
  bytesPerSecond = 0
  /** While true nothing goes on, and nothing is read once buffers are full. */
  frozen = false
  /** The byte at this count of `bytes` gets its lowest bit flipped, once. */
  corruptAt: number | undefined
  /** All connections are reset when this count of `bytes` is reached, once. */
  cutAt: number | undefined
  readonly #thaws = new Set<() => void>()

  thaw(): void {
    this.frozen = false
    for (const thaw of this.#thaws) thaw()
    this.#thaws.clear()
  }

  async thawed(): Promise<void> {
    while (this.frozen) await new Promise<void>((resolve) => this.#thaws.add(resolve))
  }
}

/** A running proxy; `up` is from who dials it to the target. */
export class BrokenProxy implements AsyncDisposable {
  readonly up = new Flow()
  readonly down = new Flow()
  /** New connections are reset at once. */
  refusing = false
  /** Connections accepted so far. */
  accepted = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(server: Server) {
    this.#server = server
  }

  get host(): string {
    return '127.0.0.1'
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Connections open now. */
  get open(): number {
    return this.#sockets.size / 2
  }

  /** Resets every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** Ends every connection in good order of TCP, but in the midst of what it carried. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroySoon()
  }

  join(from: Socket, to: Socket): void {
    for (const [socket, other, flow] of [[from, to, this.up] as const, [to, from, this.down] as const]) {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        this.#sockets.delete(socket)
        // A close in good order is told behind the bytes still on the line.
        if (socket.errored) other.resetAndDestroy()
      })
      void this.#carry(socket, other, flow)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.up.thaw()
    this.down.thaw()
    for (const socket of this.#sockets) socket.destroy()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }

  async #carry(from: Socket, to: Socket, flow: Flow): Promise<void> {
    try {
      for await (const chunk of delayed(from, flow)) {
        for (const piece of this.#pieces(chunk, flow)) {
          await flow.thawed()
          if (flow.bytesPerSecond > 0) await wait((piece.length / flow.bytesPerSecond) * 1000)
          if (flow.cutAt !== undefined && flow.bytes + piece.length >= flow.cutAt) {
            flow.cutAt = undefined
            this.cut()
            return
          }
          if (flow.corruptAt !== undefined && flow.bytes + piece.length > flow.corruptAt) {
            piece[Math.max(0, flow.corruptAt - flow.bytes)] ^= 1
            flow.corruptAt = undefined
          }
          flow.bytes += piece.length
          if (!to.write(piece)) await drained(to)
          if (to.destroyed) return void from.destroy()
        }
      }
      to.end()
    } catch {
      to.destroy() // The other side was cut: told by its own 'close'.
    }
  }

  /** A throttled flow goes on in small pieces, a hundred a second at most. */
  *#pieces(chunk: Buffer, flow: Flow): Iterable<Buffer> {
    const size = flow.bytesPerSecond > 0 ? Math.max(1024, Math.ceil(flow.bytesPerSecond / 100)) : chunk.length
    for (let at = 0; at < chunk.length; at += size) yield chunk.subarray(at, at + size)
  }
}

/** A proxy before `target`; dispose it to close every connection. */
export async function openBrokenProxy(target: { host: string; port: number }): Promise<BrokenProxy> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (from) => {
    proxy.accepted++
    if (proxy.refusing) {
      from.on('error', () => {})
      from.resetAndDestroy()
      return
    }
    proxy.join(from, connect({ ...target, allowHalfOpen: true, noDelay: true }))
  })
  const proxy = new BrokenProxy(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return proxy
}

/** Chunks when their time has come; those that come meanwhile wait beside them, as on a long line. */
async function* delayed(from: Socket, flow: Flow): AsyncGenerator<Buffer> {
  const line: { readonly chunk: Buffer; readonly due: number }[] = []
  let [queued, ended] = [0, false]
  let wake = () => {}
  from.on('data', (chunk: Buffer) => {
    line.push({ chunk, due: performance.now() + flow.delayMs })
    queued += chunk.length
    if (queued > LINE_BYTES) from.pause()
    wake()
  })
  const stop = () => {
    ended = true
    wake()
  }
  from.on('end', stop)
  from.on('close', stop)
  for (;;) {
    const next = line.shift()
    if (next) {
      const rest = next.due - performance.now()
      if (rest > 0) await wait(rest)
      yield next.chunk
      queued -= next.chunk.length
      if (queued <= LINE_BYTES) from.resume()
    } else if (from.errored) {
      throw from.errored
    } else if (ended) {
      return
    } else {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function drained(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done)
      socket.off('close', done)
      resolve()
    }
    socket.on('drain', done)
    socket.on('close', done)
  })
}
