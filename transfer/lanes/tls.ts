/**
 * Lanes over TLS 1.3 on TCP: one side dials, the other adopts a socket its listener accepted.
 *
 * Authentication is the pinned certificate and nothing else: no authority, name or date is asked, both sides
 * compare the peer's certificate byte for byte, and TLS has proven that the peer holds its key.
 * Here TLS is node:tls, for a Node that does not let its OpenSSL be called; tls-in-place.ts does the same for less.
 */
import { closeSync } from 'node:fs'
import type { Socket, SocketConstructorOpts, TcpSocketConnectOpts } from 'node:net'
import {
  connect,
  createSecureContext,
  TLSSocket,
  type ConnectionOptions,
  type SecureContextOptions,
} from 'node:tls'
import type { Lane, LaneDescriptor, LaneIdentity } from '../lane.ts'
import { adoptSocket, DIAL_OPTIONS } from './adopt-socket.ts'
import { FrameInbox } from './frame-inbox.ts'
import { TlsLane, type OpenLaneOptions } from './tls-lane.ts'

/** A TLS 1.3 record holds this much plaintext, and adds a header, a type byte and a tag (RFC 8446 section 5.2). */
const RECORD_BYTES = 16 * 1024
const RECORD_OVERHEAD_BYTES = 5 + 1 + 16

/** Connects to a lane listener and proves both ends; throws LANE_FAILED, or the signal's reason. */
export async function dialTls(
  descriptor: Extract<LaneDescriptor, { kind: 'tls-dial' }>,
  options: OpenLaneOptions = {},
): Promise<Lane> {
  // node:tls reads in place only from a socket that it connects itself.
  if (descriptor.fd !== undefined) closeSync(descriptor.fd)
  options.signal?.throwIfAborted()
  const inbox = new FrameInbox({ resume: () => socket.resume(), violation: (error) => lane.fail(error) })
  // Node's types leave out what tls.connect() hands on to the socket.
  const request: ConnectionOptions & TcpSocketConnectOpts & SocketConstructorOpts = {
    ...pinned(descriptor.identity),
    host: descriptor.host,
    port: descriptor.port,
    servername: descriptor.serverName,
    checkServerIdentity: () => undefined,
    ...DIAL_OPTIONS,
    onread: readingInPlace(inbox, () => lane.requireProof()),
  }
  const socket = connect(request)
  const wire = {
    get sentBytes() {
      return sealedBytes(socket.bytesWritten)
    },
    get receivedBytes() {
      return sealedBytes(socket.bytesRead)
    },
  }
  const { peerCertificate } = descriptor
  const lane = new TlsLane({ socket, writer: socket, wire }, inbox, peerCertificate, options.stallTimeoutMs)
  socket.once('secureConnect', () => lane.judge(socket.getPeerX509Certificate()?.raw))
  await lane.prove(`${descriptor.host}:${descriptor.port}`, options)
  return lane
}

/** Adopts an accepted socket and proves both ends; owns `fd` from the call on. Throws LANE_FAILED, or the signal's reason. */
export async function acceptTls(
  descriptor: Extract<LaneDescriptor, { kind: 'tls-accept' }>,
  options: OpenLaneOptions = {},
): Promise<Lane> {
  const raw = adoptSocket(descriptor.fd, options.signal)
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
  const { peerCertificate } = descriptor
  const transport = { socket, writer: socket, wire: countedBy(raw) }
  const lane = new TlsLane(transport, inbox, peerCertificate, options.stallTimeoutMs)
  raw.on('error', (error) => lane.fail(error))
  socket.once('secure', () => lane.judge(socket.getPeerX509Certificate()?.raw))
  await lane.prove(`${raw.remoteAddress}:${raw.remotePort}`, options)
  socket.on('data', (bytes) => {
    if (!inbox.push(bytes)) socket.pause()
  })
  return lane
}

/** `rejectUnauthorized` is off because TlsLane.judge() compares the certificate itself, which no authority signed. */
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

/** Bytes on the wire for so much plaintext; a little low, since records are not always full, and without the handshake. */
function sealedBytes(plainBytes: number): number {
  return plainBytes + Math.ceil(plainBytes / RECORD_BYTES) * RECORD_OVERHEAD_BYTES
}

/** What a socket beneath TLS has counted. */
function countedBy(socket: Socket): Lane['wire'] {
  return {
    get sentBytes() {
      return socket.bytesWritten
    },
    get receivedBytes() {
      return socket.bytesRead
    },
  }
}
