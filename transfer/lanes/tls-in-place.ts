/**
 * Lanes over TLS 1.3 on TCP that decrypt where frames are assembled, and seal a piece at a time (sealing-writer.ts).
 *
 * The same on the wire as tls.ts. node:tls hands out each record of 16 KiB by a call into JavaScript and copies it three
 * times; here one call brings what the socket has, up to SEALED_BYTES, and a record is copied twice: 0.33 instead of 0.46
 * CPU seconds a GiB, and it does not matter who dialed.
 */
import { connect, type Socket } from 'node:net'
import type { Lane, LaneDescriptor } from '../lane.ts'
import { adoptSocket, DIAL_OPTIONS } from './adopt-socket.ts'
import { FrameInbox } from './frame-inbox.ts'
import type { Openssl } from './openssl.ts'
import { SealingWriter } from './sealing-writer.ts'
import { TlsLane, type OpenLaneOptions } from './tls-lane.ts'
import { TlsSession, type TlsRole } from './tls-session.ts'

/** Read from a socket at once. */
const SEALED_BYTES = 256 * 1024

type Tls = Extract<LaneDescriptor, { kind: 'tls-dial' | 'tls-accept' }>

/** Dials or adopts, and proves both ends; owns what the descriptor carries. Throws LANE_FAILED, or the signal's reason. */
export async function openTlsInPlace(
  openssl: Openssl,
  descriptor: Tls,
  options: OpenLaneOptions = {},
): Promise<Lane> {
  const sealed = new Uint8Array(SEALED_BYTES)
  // A socket may have bytes before the lane is there only if it is asked for them, and that is later.
  const onread = { buffer: sealed, callback: (bytes: number) => inPlace.receive(sealed.subarray(0, bytes)) }
  const socket =
    descriptor.kind === 'tls-accept'
      ? adoptSocket(descriptor.fd, options.signal, { onread })
      : dial(descriptor, onread, options.signal)
  const role: TlsRole =
    descriptor.kind === 'tls-accept'
      ? { end: 'server' }
      : { end: 'client', serverName: descriptor.serverName }
  let session: TlsSession
  try {
    session = new TlsSession(openssl, role, descriptor.identity)
  } catch (error) {
    socket.destroy()
    throw error
  }
  const inPlace = new InPlace(socket, session, descriptor.peerCertificate, options)
  if (descriptor.kind === 'tls-accept') inPlace.receive(descriptor.head)
  else inPlace.receive()
  const address =
    descriptor.kind === 'tls-accept'
      ? `${socket.remoteAddress}:${socket.remotePort}`
      : `${descriptor.host}:${descriptor.port}`
  await inPlace.lane.prove(address, options)
  return inPlace.lane
}

function dial(
  { host, port, fd }: Extract<LaneDescriptor, { kind: 'tls-dial' }>,
  onread: { buffer: Uint8Array; callback: (bytes: number) => boolean },
  signal: AbortSignal | undefined,
): Socket {
  if (fd !== undefined) return adoptSocket(fd, signal, { onread })
  signal?.throwIfAborted()
  return connect({ host, port, ...DIAL_OPTIONS, onread })
}

/** Carries bytes between the socket, the session and the inbox of one lane. */
class InPlace {
  readonly lane: TlsLane
  readonly #socket: Socket
  readonly #session: TlsSession
  readonly #inbox: FrameInbox
  readonly #writer: SealingWriter
  #established = false
  /** The inbox had no room: what was read last is not used up. */
  #held = false
  /** Nothing is read or written any more. */
  #over = false

  constructor(socket: Socket, session: TlsSession, pin: Uint8Array, options: OpenLaneOptions) {
    this.#socket = socket
    this.#session = session
    this.#inbox = new FrameInbox({
      resume: () => this.#resume(),
      violation: (error) => this.lane.fail(error),
    })
    const writer = new SealingWriter(socket, session, (error) => this.lane.fail(error))
    this.#writer = writer
    const wire = {
      get sentBytes() {
        return writer.sentBytes
      },
      get receivedBytes() {
        return socket.bytesRead
      },
    }
    this.lane = new TlsLane({ socket, writer, wire }, this.#inbox, pin, options.stallTimeoutMs)
    socket.once('close', () => {
      this.#over = true
      session[Symbol.dispose]()
    })
  }

  /** What the socket read, or nothing at the start; false when it is to stop. `bytes` stay as they are until then. */
  receive(bytes?: Uint8Array): boolean {
    if (this.#over) return false
    try {
      if (bytes) this.#session.feed(bytes)
      if (!this.#established && !this.#shake()) return !this.#over
      return this.#decrypt()
    } catch (error) {
      this.lane.fail(error)
      return false
    }
  }

  /** True when frames may follow. */
  #shake(): boolean {
    const done = this.#session.shake()
    this.#writer.flush()
    if (!done) return false
    this.#established = true
    // Not a byte is decrypted for a peer that is not the one agreed on; prove() ends the lane.
    if (this.lane.judge(this.#session.peerCertificate())) return true
    this.#over = true
    return false
  }

  /** Fills the inbox; false when it has no room for all that is here. */
  #decrypt(): boolean {
    for (;;) {
      const room = this.#inbox.room()
      if (!room) {
        this.#held = true
        return false
      }
      const count = this.#session.read(room)
      if (count === undefined) {
        // The peer's word that no more comes; the end of the socket follows.
        this.#writer.flush()
        return true
      }
      if (count === 0) break
      this.#inbox.filled(count)
      if (this.#over || this.#socket.destroyed) return false
    }
    this.#writer.flush()
    return true
  }

  #resume(): void {
    if (this.#held) {
      this.#held = false
      if (!this.receive()) return
    }
    this.#socket.resume()
  }
}
