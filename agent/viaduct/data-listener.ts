/**
 * Listens for the sockets of TLS lanes and hands each to whoever expects it, without speaking TLS itself.
 *
 * It reads no more than the ClientHello, takes the server name from it (transfer/lanes/server-name.ts), and
 * passes a duplicate of the descriptor on, which a lane worker adopts; so no payload crosses this thread.
 * Anyone on the network may connect: what a socket can cost before it is known is bounded here.
 */
import { closeSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import {
  CLIENT_HELLO_TIMEOUT_MS,
  MAX_CLIENT_HELLO_BYTES,
  MAX_WAITING_SOCKETS,
  MAX_WAITING_SOCKETS_PER_ADDRESS,
  TOKEN_BYTES,
} from '../../protocol/limits.ts'
import { descriptorOf, duplicateFd } from '../../transfer/linux.ts'
import { parseClientHello } from '../../transfer/lanes/client-hello.ts'
import { parseServerName } from '../../transfer/lanes/server-name.ts'
import { isOwnAddress, networkOf } from '../mesh/addresses.ts'

/** A socket that asked for an expected lane; fits the 'tls-accept' lane descriptor. */
export interface AcceptedSocket {
  /** A duplicate of the socket's descriptor; whoever takes it closes it. */
  readonly fd: number
  /** Who dialed is on this machine. */
  readonly sameMachine: boolean
  /** What was read from the socket: the ClientHello. */
  readonly head: Uint8Array
  readonly lane: number
}

/** Takes the socket over; false, or an error thrown, leaves it to the listener, which closes it. */
export type OnLane = (accepted: AcceptedSocket) => boolean | void

/** Why sockets were dropped, and how many for each reason since the start. */
export type Refusal =
  | 'closed' // by the other side, before its ClientHello was complete
  | 'crowded' // gave way to newer ones while it still had not shown its ClientHello
  | 'failed' // could not be handed on: out of descriptors
  | 'not-tls'
  | 'not-taken' // expected, but the handler did not want it
  | 'slow'
  | 'too-large'
  | 'unknown-name'

export interface DataListener extends AsyncDisposable {
  readonly address: { readonly host: string; readonly port: number }
  readonly refused: Readonly<Record<Refusal, number>>
  /** Passes lanes of this job attempt (TOKEN_BYTES of token) to `onLane` until disposed; several may be expected at a time. */
  expect(token: Uint8Array, onLane: OnLane): Disposable
}

/** Listens on `host` and `port` (0: any free one); dispose it to stop. Rejects with the system's error when it cannot. */
export async function openDataListener(options: { host: string; port: number }): Promise<DataListener> {
  const listener = new Listener()
  await listener.listen(options)
  return listener
}

class Listener implements DataListener {
  readonly refused: Record<Refusal, number> = {
    closed: 0,
    crowded: 0,
    failed: 0,
    'not-tls': 0,
    'not-taken': 0,
    slow: 0,
    'too-large': 0,
    'unknown-name': 0,
  }
  readonly #server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    this.#await(socket),
  )
  readonly #expected = new Map<string, OnLane>()
  /** Sockets that have not shown their ClientHello, oldest first. */
  readonly #waiting = new Map<
    Socket,
    { readonly network: string; readonly refuse: (reason: Refusal) => void }
  >()

  get address(): DataListener['address'] {
    const { address, port } = this.#server.address() as AddressInfo
    return { host: address, port }
  }

  async listen(options: { host: string; port: number }): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#server.once('error', reject)
    this.#server.listen(options, resolve)
    await promise
    // Later errors are of single accepts (too many open files); the listener goes on.
    this.#server.off('error', reject)
    this.#server.on('error', () => this.refused.failed++)
  }

  expect(token: Uint8Array, onLane: OnLane): Disposable {
    if (token.byteLength !== TOKEN_BYTES)
      throw new RangeError(`A lane token has ${TOKEN_BYTES} bytes, not ${token.byteLength}`)
    const key = Buffer.from(token).toString('hex')
    if (this.#expected.has(key)) throw new RangeError('This lane token is already expected')
    this.#expected.set(key, onLane)
    return {
      [Symbol.dispose]: () => {
        if (this.#expected.get(key) === onLane) this.#expected.delete(key)
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#expected.clear()
    for (const socket of this.#waiting.keys()) socket.destroy()
    this.#waiting.clear()
    if (!this.#server.listening) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    await promise
  }

  #await(socket: Socket): void {
    // Gone already: the other side reset it.
    if (socket.destroyed || socket.remoteAddress === undefined) {
      this.refused.closed++
      socket.destroy()
      return
    }
    let head: Buffer = Buffer.alloc(0)
    const leave = () => {
      clearTimeout(timer)
      this.#waiting.delete(socket)
      socket.removeAllListeners('data')
    }
    const refuse = (reason: Refusal) => {
      if (!this.#waiting.has(socket)) return
      leave()
      this.refused[reason]++
      socket.destroy()
    }
    const timer = setTimeout(() => refuse('slow'), CLIENT_HELLO_TIMEOUT_MS)
    const network = networkOf(socket.remoteAddress)
    this.#makeRoom(network)
    this.#waiting.set(socket, { network, refuse })
    socket.on('error', () => refuse('closed'))
    socket.on('end', () => refuse('closed'))
    socket.on('close', () => refuse('closed'))
    socket.on('data', (bytes: Buffer) => {
      head = head.length === 0 ? bytes : Buffer.concat([head, bytes])
      if (head.length > MAX_CLIENT_HELLO_BYTES) return refuse('too-large')
      const hello = parseClientHello(head)
      if (hello.kind === 'partial') return
      if (hello.kind === 'malformed') return refuse('not-tls')
      const name = parseServerName(hello.serverName ?? '')
      const onLane = name && this.#expected.get(name.token)
      if (!onLane) return refuse('unknown-name')
      const refusal = handOver(socket, head, name.lane, onLane)
      if (refusal) return refuse(refusal)
      leave()
      // Closes this descriptor only: the connection lives on in its duplicate.
      socket.destroy()
    })
  }

  /** The oldest gives way, since an honest socket shows its ClientHello at once. */
  #makeRoom(network: string): void {
    const others = [...this.#waiting.values()].filter((waiting) => waiting.network === network)
    if (others.length >= MAX_WAITING_SOCKETS_PER_ADDRESS) others[0].refuse('crowded')
    else if (this.#waiting.size >= MAX_WAITING_SOCKETS) this.#waiting.values().next().value?.refuse('crowded')
  }
}

/** Nothing is read from the socket between its last bytes and the duplicate: all of this happens within one event. */
function handOver(socket: Socket, head: Uint8Array, lane: number, onLane: OnLane): Refusal | undefined {
  const original = descriptorOf(socket)
  if (original === undefined) return 'failed'
  let fd: number
  try {
    fd = duplicateFd(original)
  } catch {
    return 'failed'
  }
  let taken: boolean | void = false
  try {
    // A copy of its own size: posted to a worker, a Buffer takes the whole slab it lies in along.
    taken = onLane({
      fd,
      sameMachine: isOwnAddress(socket.remoteAddress ?? ''),
      head: Uint8Array.from(head),
      lane,
    })
  } catch {
    taken = false
  }
  if (taken !== false) return undefined
  closeSync(fd)
  return 'not-taken'
}
