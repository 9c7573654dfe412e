/**
 * Lanes over TLS 1.3 on TCP: the fast path. One side dials, the other adopts a socket its listener accepted.
 *
 * Authentication is the pinned certificate and nothing else: no authority, name or date is asked, both sides
 * compare the peer's certificate byte for byte, and TLS has proven that the peer holds its key.
 * The dialing side reads through `onread`, which puts decrypted bytes where the frame is assembled; Node has
 * it for dialed sockets only, so let the side that receives bulk dial where it can.
 */
import { closeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts, type TcpSocketConnectOpts } from 'node:net'
import {
  connect,
  createSecureContext,
  TLSSocket,
  type ConnectionOptions,
  type SecureContextOptions,
} from 'node:tls'
import { encodeLaneHeader } from '../../protocol/codec.ts'
import { FluidError } from '../../protocol/errors.ts'
import type { LaneMessage } from '../../protocol/lane-message.ts'
import { LANE_CONNECT_TIMEOUT_MS, LANE_STALL_TIMEOUT_MS } from '../../protocol/limits.ts'
import type { Lane, LaneDescriptor, LaneFrame, LaneIdentity } from '../lane.ts'
import { chooseCongestionControl } from './congestion.ts'
import { FrameInbox } from './frame-inbox.ts'
import { FrameOutbox } from './frame-outbox.ts'

/** Deadlines default to those in limits.ts. */
export interface OpenLaneOptions {
  /** Governs the opening and the whole life of the lane: an abort destroys it, and what waits throws the reason. */
  readonly signal?: AbortSignal
  readonly connectTimeoutMs?: number
  readonly stallTimeoutMs?: number
}

/** A TLS 1.3 record holds this much plaintext, and adds a header, a type byte and a tag (RFC 8446 section 5.2). */
const RECORD_BYTES = 16 * 1024
const RECORD_OVERHEAD_BYTES = 5 + 1 + 16
const KEEP_ALIVE_DELAY_MS = 15_000

/** Connects to a lane listener and proves both ends; throws LANE_FAILED, or the signal's reason. */
export async function dialTls(
  descriptor: Extract<LaneDescriptor, { kind: 'tls-dial' }>,
  options: OpenLaneOptions = {},
): Promise<Lane> {
  options.signal?.throwIfAborted()
  const inbox = new FrameInbox({ resume: () => socket.resume(), violation: (error) => lane.fail(error) })
  // Node's types leave out what tls.connect() hands on to the socket.
  const request: ConnectionOptions & TcpSocketConnectOpts & SocketConstructorOpts = {
    ...pinned(descriptor.identity),
    host: descriptor.host,
    port: descriptor.port,
    servername: descriptor.serverName,
    checkServerIdentity: () => undefined,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
    onread: readingInPlace(inbox, () => lane.requireProof()),
  }
  const socket = connect(request)
  const lane = new TlsLane(socket, inbox, options.stallTimeoutMs)
  await lane.prove(
    'secureConnect',
    descriptor.peerCertificate,
    `${descriptor.host}:${descriptor.port}`,
    options,
  )
  return lane
}

/** Adopts an accepted socket and proves both ends; owns `fd` from the call on. Throws LANE_FAILED, or the signal's reason. */
export async function acceptTls(
  descriptor: Extract<LaneDescriptor, { kind: 'tls-accept' }>,
  options: OpenLaneOptions = {},
): Promise<Lane> {
  const raw = adopt(descriptor.fd, options.signal)
  raw.setNoDelay(true)
  raw.setKeepAlive(true, KEEP_ALIVE_DELAY_MS)
  // What the listener read is read once more, by TLS.
  raw.unshift(Buffer.from(descriptor.head.buffer, descriptor.head.byteOffset, descriptor.head.byteLength))
  const inbox = new FrameInbox({ resume: () => socket.resume(), violation: (error) => lane.fail(error) })
  const { minVersion, maxVersion, rejectUnauthorized, ...context } = pinned(descriptor.identity)
  const socket = new TLSSocket(raw, {
    isServer: true,
    requestCert: true,
    rejectUnauthorized,
    secureContext: createSecureContext({ ...context, minVersion, maxVersion }),
  })
  const lane = new TlsLane(socket, inbox, options.stallTimeoutMs, raw)
  await lane.prove('secure', descriptor.peerCertificate, `${raw.remoteAddress}:${raw.remotePort}`, options)
  socket.on('data', (bytes) => {
    if (!inbox.push(bytes)) socket.pause()
  })
  return lane
}

/** `rejectUnauthorized` is off because TlsLane.prove() compares the certificate itself, which no authority signed. */
function pinned(identity: LaneIdentity): SecureContextOptions & { readonly rejectUnauthorized: false } {
  return {
    key: identity.keyPem,
    cert: identity.certificatePem,
    ciphers: 'TLS_AES_128_GCM_SHA256',
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    rejectUnauthorized: false,
  }
}

function adopt(fd: number, signal: AbortSignal | undefined): Socket {
  try {
    signal?.throwIfAborted()
    return new Socket({ fd, allowHalfOpen: true, readable: true, writable: true })
  } catch (error) {
    closeSync(fd)
    throw signal?.aborted
      ? error
      : new FluidError('LANE_FAILED', 'Taking over an accepted socket failed', { cause: error })
  }
}

/**
 * The `onread` of a dialed socket: each buffer asked for is the room left in the part of a frame that is coming.
 * TLS hands out all it has decrypted even after reading was stopped; that little goes to a buffer of its own.
 */
function readingInPlace(inbox: FrameInbox, requireProof: () => boolean) {
  let spill: Uint8Array | undefined
  return {
    buffer(): Uint8Array {
      const room = inbox.room()
      spill = room ? undefined : new Uint8Array(RECORD_BYTES)
      return room ?? spill!
    },
    callback(bytes: number): boolean {
      if (!requireProof()) return false
      if (spill) return inbox.push(spill.subarray(0, bytes))
      inbox.filled(bytes)
      return inbox.room() !== undefined
    },
  }
}

class TlsLane implements Lane {
  readonly path = 'tls'
  readonly wire: Lane['wire']
  readonly waited: Lane['waited']
  readonly #socket: TLSSocket
  readonly #inbox: FrameInbox
  readonly #outbox: FrameOutbox
  readonly #closed: Promise<void>
  #proven = false
  #peerEnded = false

  /** `raw` is the socket under an adopted one; it counts what is really on the wire. */
  constructor(socket: TLSSocket, inbox: FrameInbox, stallTimeoutMs = LANE_STALL_TIMEOUT_MS, raw?: Socket) {
    const outbox = new FrameOutbox(socket)
    this.#socket = socket
    this.#inbox = inbox
    this.#outbox = outbox
    this.wire = {
      get sentBytes() {
        return raw ? raw.bytesWritten : sealedBytes(socket.bytesWritten)
      },
      get receivedBytes() {
        return raw ? raw.bytesRead : sealedBytes(socket.bytesRead)
      },
    }
    this.waited = {
      get writeMs() {
        return outbox.waitedMs
      },
      get readMs() {
        return inbox.waitedMs
      },
    }
    const fail = (error: unknown) => this.fail(error)
    raw?.on('error', fail)
    socket.on('error', fail)
    socket.on('end', () => {
      if (!this.#proven) return void socket.destroy()
      this.#peerEnded = true
      inbox.end()
    })
    this.#closed = new Promise((resolve) => {
      socket.on('close', () => {
        if (!this.#peerEnded || outbox.owes)
          fail(new FluidError('LANE_FAILED', 'Lane was closed by the other side or the line'))
        resolve()
      })
    })
    socket.setTimeout(stallTimeoutMs) // Its callback would be told once only, and idle times are many.
    socket.on('timeout', () => {
      // Silence is no fault while nothing is owed; Node counts every byte the kernel takes as activity.
      if (outbox.owes) fail(new FluidError('LANE_FAILED', `Lane took no byte for ${stallTimeoutMs} ms`))
      else if (inbox.lacks)
        fail(
          new FluidError(
            'LANE_FAILED',
            `Lane brought no byte of an unfinished frame for ${stallTimeoutMs} ms`,
          ),
        )
    })
  }

  /** Waits for the handshake and compares the peer's certificate, before any frame is read or written. */
  async prove(
    event: 'secure' | 'secureConnect',
    peerCertificate: Uint8Array,
    address: string,
    { signal, connectTimeoutMs = LANE_CONNECT_TIMEOUT_MS }: OpenLaneOptions,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      reject(
        new FluidError(
          'LANE_FAILED',
          `Lane with ${address} was not established within ${connectTimeoutMs} ms`,
        ),
      )
    }, connectTimeoutMs)
    const onAbort = () => {
      this.#giveUp(signal!.reason)
      reject(signal!.reason)
    }
    signal?.addEventListener('abort', onAbort)
    void this.#closed.then(() => {
      signal?.removeEventListener('abort', onAbort)
      reject(new FluidError('LANE_FAILED', `Lane with ${address} was closed during its handshake`))
    })
    this.#socket.once('error', (cause) => {
      reject(
        new FluidError('LANE_FAILED', `Opening a lane with ${address} failed: ${cause.message}`, { cause }),
      )
    })
    this.#socket.once(event, () => {
      const shown = this.#socket.getPeerX509Certificate()?.raw
      this.#proven = shown !== undefined && shown.equals(peerCertificate)
      if (this.#proven) resolve()
      else
        reject(
          new FluidError(
            'LANE_FAILED',
            `Lane with ${address} shows ${shown ? 'another' : 'no'} certificate than the one agreed on`,
          ),
        )
    })
    try {
      await promise
      chooseCongestionControl(descriptorOf(this.#socket))
    } catch (error) {
      this.#giveUp(error)
      await this.#closed
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** False, and the lane is given up, when bytes came from a peer that has not proven itself. */
  requireProof(): boolean {
    if (!this.#proven)
      this.fail(new FluidError('LANE_FAILED', 'Lane brought bytes before its peer was proven'))
    return this.#proven
  }

  async write(message: LaneMessage, payload?: Uint8Array): Promise<void> {
    return this.#outbox.write(encodeLaneHeader(message, payload?.byteLength ?? 0), payload)
  }

  frames(options?: { signal?: AbortSignal }): AsyncIterable<LaneFrame> {
    return this.#inbox.frames(options)
  }

  end(): Promise<void> {
    return this.#outbox.end()
  }

  /** The line or the peer broke: whole frames that came before are still given out. */
  fail(cause: unknown): void {
    const error = laneError(cause)
    this.#inbox.fail(error)
    this.#outbox.fail(error)
    this.#socket.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#giveUp(new FluidError('LANE_FAILED', 'Lane was closed on this side'))
    await this.#closed
  }

  #giveUp(reason: unknown): void {
    this.#inbox.stop(reason)
    this.#outbox.fail(reason)
    this.#socket.destroy()
  }
}

/** Bytes on the wire for so much plaintext; a little low, since records are not always full, and without the handshake. */
function sealedBytes(plainBytes: number): number {
  return plainBytes + Math.ceil(plainBytes / RECORD_BYTES) * RECORD_OVERHEAD_BYTES
}

/** The socket's descriptor, which Node keeps beneath; undefined where it does not. */
function descriptorOf(socket: TLSSocket): number | undefined {
  return (socket as unknown as { _handle?: { fd?: number } })._handle?.fd
}

function laneError(cause: unknown): FluidError {
  if (cause instanceof FluidError) return cause
  const message = cause instanceof Error ? cause.message : String(cause)
  return new FluidError('LANE_FAILED', `Lane broke: ${message}`, { cause })
}
