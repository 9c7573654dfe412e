/**
 * One connection to an NBD server, many requests in flight. Payload goes from the socket straight into
 * the caller's buffer: the parser is a generator that names the next bytes it wants and where they belong.
 * No TLS: across machines the lanes carry the bytes, and NBD serves inside a host or a trusted network.
 */
import { connect, type Socket } from 'node:net'
import { NBD_CONNECT_TIMEOUT_MS, NBD_REQUEST_BYTES, NBD_STALL_TIMEOUT_MS } from '../../protocol/limits.ts'
import { descriptorOf, setBufferBytes } from '../linux.ts'
import { ALLOCATION, handshake, nbdError, type NbdExport } from './nbd-handshake.ts'
import {
  CMD_BLOCK_STATUS,
  CMD_DISC,
  CMD_FLUSH,
  CMD_READ,
  CMD_TRIM,
  CMD_WRITE,
  CMD_WRITE_ZEROES,
  createReplyHeads,
  reply,
  type NbdStatus,
  type Pending,
} from './nbd-reply.ts'
import type { NbdAddress } from './nbd-url.ts'

const REQUEST_MAGIC = 0x2560_9513
/** Status may end after the first extent; we want as many as the server gives. */
const NO_FLAGS = 0
/** What a Unix socket holds of ours: a request of 1 MiB wakes its server once, and not five times as with the usual 208 KiB. */
const UNIX_SEND_BUFFER_BYTES = 2 * NBD_REQUEST_BYTES
/** Time for the server to take our goodbye. */
const CLOSE_TIMEOUT_MS = 1_000

/** Waits until the server has agreed on the export. Errors carry a system's `code`: ECONNREFUSED, ENOENT, EPROTO, ETIMEDOUT... */
export async function openNbdClient(address: NbdAddress, options: NbdOptions = {}): Promise<NbdClient> {
  options.signal?.throwIfAborted()
  const client = new NbdClient(
    address,
    options.context ?? ALLOCATION,
    options.stallTimeoutMs ?? NBD_STALL_TIMEOUT_MS,
  )
  const deadline = AbortSignal.timeout(options.connectTimeoutMs ?? NBD_CONNECT_TIMEOUT_MS)
  const late = () => client.fail(nbdError('ETIMEDOUT', 'The NBD server did not answer in time'))
  const aborted = () => client.fail(options.signal?.reason as Error)
  deadline.addEventListener('abort', late)
  options.signal?.addEventListener('abort', aborted)
  try {
    await client.opened
    return client
  } finally {
    deadline.removeEventListener('abort', late)
    options.signal?.removeEventListener('abort', aborted)
  }
}

export interface NbdOptions {
  readonly signal?: AbortSignal
  readonly connectTimeoutMs?: number
  readonly stallTimeoutMs?: number
  /** The metadata context that blockStatus() tells of; ALLOCATION by default. */
  readonly context?: string
}

/** One connection. Lengths of single requests are the caller's care: see NbdExport and limits.ts. */
export class NbdClient implements AsyncDisposable {
  readonly #socket: Socket
  readonly #pending = new Map<number, Pending>()
  readonly #stallTimeoutMs: number
  readonly #parser: Generator<Uint8Array, void, void>
  readonly #opened = Promise.withResolvers<NbdExport>()
  readonly #closed = Promise.withResolvers<void>()
  #volume: NbdExport | undefined
  /** What the parser waits for, and how much of it has come. */
  #wanted: Uint8Array
  #filled = 0
  #cookie = 0
  #dead: Error | undefined

  constructor(address: NbdAddress, context: string, stallTimeoutMs: number) {
    this.#opened.promise.catch(() => {})
    this.#parser = this.#conversation(address.exportName, context)
    this.#wanted = this.#parser.next().value as Uint8Array
    this.#socket = connect({
      ...address.socket,
      noDelay: true,
      onread: { buffer: () => this.#room(), callback: (count) => this.#arrived(count) },
    })
    if ('path' in address.socket) this.#socket.on('connect', () => this.#widen())
    this.#socket.on('error', (error) => this.fail(error))
    this.#socket.on('end', () => this.fail(nbdError('ECONNRESET', 'The NBD server closed the connection')))
    this.#socket.on('close', () => {
      this.fail(nbdError('ECONNRESET', 'The NBD server closed the connection'))
      this.#closed.resolve()
    })
    this.#stallTimeoutMs = stallTimeoutMs
    this.#socket.on('timeout', () => {
      if (this.#pending.size > 0)
        this.fail(nbdError('ETIMEDOUT', `The NBD server was silent for ${stallTimeoutMs} ms`))
    })
  }

  /** Settles when the handshake is over. */
  get opened(): Promise<NbdExport> {
    return this.#opened.promise
  }

  /** What the server said of the volume. */
  get volume(): NbdExport {
    if (!this.#volume) throw new TypeError('The NBD connection is not open yet')
    return this.#volume
  }

  /** Fills `target`, which must stay untouched until then. */
  async read(target: Uint8Array, offset: number): Promise<void> {
    await this.#request(CMD_READ, offset, target.length, { target })
  }

  /** Writes `bytes`, which must not change until then. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    await this.#request(CMD_WRITE, offset, bytes.length, { payload: bytes })
  }

  /** Makes a range read as zeros; the server may deallocate it. */
  async writeZeroes(offset: number, lengthBytes: number): Promise<void> {
    await this.#request(CMD_WRITE_ZEROES, offset, lengthBytes)
  }

  /** Gives a range back; what it reads as afterwards is the server's choice. */
  async trim(offset: number, lengthBytes: number): Promise<void> {
    await this.#request(CMD_TRIM, offset, lengthBytes)
  }

  /** Waits until everything answered before is on stable storage; only where the export says `canFlush`. */
  async flush(): Promise<void> {
    await this.#request(CMD_FLUSH, 0, 0)
  }

  /** What is known from `offset` on: at least one extent, perhaps fewer bytes than asked. */
  async blockStatus(offset: number, lengthBytes: number): Promise<NbdStatus[]> {
    const answered = await this.#request(CMD_BLOCK_STATUS, offset, lengthBytes)
    return answered.status ?? []
  }

  /** Ends the connection now; every request in flight throws `error`. */
  fail(error: Error): void {
    if (this.#dead) return
    this.#dead = error
    this.#opened.reject(error)
    this.#socket.destroy()
    // The parser may still name a buffer of a caller: nothing may be written there from here on.
    this.#wanted = Buffer.alloc(1)
    this.#filled = 0
    const waiting = [...this.#pending.values()]
    this.#pending.clear()
    for (const request of waiting) request.done(error)
  }

  /** Says goodbye and waits for the connection to close; requests in flight throw. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#dead) {
      this.#socket.end(header(CMD_DISC, 0, 0, 0))
      const timer = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS)
      await this.#closed.promise
      clearTimeout(timer)
    }
    await this.#closed.promise
  }

  #widen(): void {
    const fd = descriptorOf(this.#socket)
    if (fd !== undefined) setBufferBytes(fd, 'send', UNIX_SEND_BUFFER_BYTES)
  }

  #request(
    command: number,
    offset: number,
    length: number,
    { target, payload }: { target?: Uint8Array; payload?: Uint8Array } = {},
  ): Promise<Pending> {
    if (this.#dead) return Promise.reject(this.#dead)
    // A timer of a socket that went off while nothing was owed does not start again by itself.
    if (this.#pending.size === 0) this.#socket.setTimeout(this.#stallTimeoutMs)
    const cookie = ++this.#cookie
    const { promise, resolve, reject } = Promise.withResolvers<Pending>()
    const done = (failure: Error | undefined) => (failure ? reject(failure) : resolve(request))
    const request: Pending = { command, offset, length, target, covered: [], done }
    this.#pending.set(cookie, request)
    this.#socket.cork()
    this.#socket.write(header(command, cookie, offset, length))
    if (payload) this.#socket.write(payload)
    this.#socket.uncork()
    return promise
  }

  *#conversation(exportName: string, context: string): Generator<Uint8Array, void, void> {
    this.#volume = yield* handshake(exportName, context, (bytes) => this.#socket.write(bytes))
    this.#opened.resolve(this.#volume)
    const heads = createReplyHeads()
    while (true) yield* reply(this.#pending, this.#volume, heads)
  }

  /** Where the next bytes go; asked before every read of the socket. */
  #room(): Uint8Array {
    return this.#filled === 0 ? this.#wanted : this.#wanted.subarray(this.#filled)
  }

  #arrived(count: number): boolean {
    if (this.#dead) return false
    this.#filled += count
    try {
      while (!this.#dead && this.#filled === this.#wanted.length) {
        this.#wanted = this.#parser.next().value as Uint8Array
        this.#filled = 0
      }
    } catch (error) {
      this.fail(error as Error)
    }
    return !this.#dead
  }
}

function header(command: number, cookie: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(28)
  bytes.writeUInt32BE(REQUEST_MAGIC, 0)
  bytes.writeUInt16BE(NO_FLAGS, 4)
  bytes.writeUInt16BE(command, 6)
  bytes.writeBigUInt64BE(BigInt(cookie), 8)
  bytes.writeBigUInt64BE(BigInt(offset), 16)
  bytes.writeUInt32BE(length, 24)
  return bytes
}
