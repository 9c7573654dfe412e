/**
 * One end of a TLS 1.3 connection, without the connection: sealed bytes go in and out by hand, plain ones too.
 *
 * All of TLS is OpenSSL's (SSL_write(3), BIO_s_bio(3), BIO_s_mem(3), BIO_f_ssl(3)); here is only who owns which memory.
 * What came is read by OpenSSL where it lies, and decrypted bytes go where the caller says. SSL_read(3) gives a record of
 * 16 KiB at most, and a call into OpenSSL costs as much as decrypting half of one: a buffer (BIO_f_buffer(3)) above the
 * session goes on from record to record, straight into the caller's memory, until that is full. What is sealed lies in a
 * ring that begins anew once it was emptied, so that the kernel copies it from the processor's cache.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import koffi from 'koffi'
import { FluidError } from '../../protocol/errors.ts'
import type { LaneIdentity } from '../lane.ts'
import type { Openssl } from './openssl.ts'

// From <openssl/ssl.h>, <openssl/tls1.h>, <openssl/bio.h> and <openssl/evp.h>.
const TLS_1_3 = 0x0304
const SET_MIN_VERSION = 123
const SET_MAX_VERSION = 124
const SET_SERVER_NAME = 55
/** A certificate of 400 bytes takes a millisecond to compress, and nothing of a peer is to be decompressed before it is known. */
const NO_CERTIFICATE_COMPRESSION = 2 ** 32 + 2 ** 33
const VERIFY_PEER = 0x01
const WANT_READ = 2
const ZERO_RETURN = 6
/** With the session as its pointer; a number of 0 leaves freeing that to others. */
const SET_SESSION = 109
const SET_MEMORY_EOF_RETURN = 130
const BYTES_PENDING = 10
const EC_KEY = 408
const ERROR_TEXT_BYTES = 256
/** What write() takes at most while nothing sealed waits: with what the kernel makes of it, it fits the second-level cache. */
export const SEALABLE_BYTES = 256 * 1024
/** Sealed, it is longer by 22 bytes for each record of 16 KiB; the rest is for the handshake and what TLS says itself. */
const RING_BYTES = SEALABLE_BYTES + 16 * 1024
/** The other way nothing goes. */
const NO_RING_BYTES = 1

/** Where OpenSSL says where bytes lie. */
const address: unknown[] = [null]

/** Which end of the handshake; a client tells the listener who it is for. */
export type TlsRole = { readonly end: 'client'; readonly serverName: string } | { readonly end: 'server' }

/** Owned by the lane whose socket carries what is sealed. Every call throws TypeError after disposal. */
export class TlsSession implements Disposable {
  readonly #openssl: Openssl
  readonly #session: unknown
  /** Sealed bytes that wait to be taken. */
  readonly #output: unknown
  /** Decrypted bytes, as many as are asked for; reads from the session. */
  readonly #plain: unknown
  /** What OpenSSL reads from now: kept from being collected. */
  readonly #kept: { input?: Uint8Array } = {}
  #over = false

  /** Shows `identity`; asks for the peer's certificate, and leaves it to the caller to judge. Throws LANE_FAILED. */
  constructor(openssl: Openssl, role: TlsRole, identity: LaneIdentity) {
    this.#openssl = openssl
    const context = createContext(openssl, role, identity)
    this.#session = openssl.newSession(context)
    openssl.freeContext(context) // The session holds it.
    const [near, far] = [[null], [null]]
    openssl.newBioPair(near, RING_BYTES, far, NO_RING_BYTES)
    this.#output = far[0]
    openssl.setBios(this.#session, openssl.newBio(openssl.memory()), near[0])
    const records = openssl.newBio(openssl.overSession())
    openssl.controlBio(records, SET_SESSION, 0, this.#session)
    this.#plain = openssl.pushBio(openssl.newBio(openssl.buffered()), records)
    if (role.end === 'client') {
      openssl.controlSession(this.#session, SET_SERVER_NAME, 0, role.serverName)
      openssl.connectState(this.#session)
    } else openssl.acceptState(this.#session)
  }

  /** Sealed bytes came; they are not to change before read() or shake() has asked for more. */
  feed(bytes: Uint8Array): void {
    const openssl = this.#use()
    this.#kept.input = bytes
    const input = openssl.bioOver(bytes, bytes.byteLength)
    // Their end is no end of the connection.
    openssl.controlBio(input, SET_MEMORY_EOF_RETURN, -1, null)
    openssl.setInput(this.#session, input) // Frees the one before.
  }

  /** Goes on with the handshake: true when it is done, false when bytes of the peer are needed. Throws LANE_FAILED. */
  shake(): boolean {
    const openssl = this.#use()
    openssl.clearErrors()
    const returned = openssl.handshake(this.#session)
    return returned === 1 || this.#more(returned, 'The handshake of a lane')
  }

  /**
   * Decrypts into `into` what is here: how many bytes, 0 when bytes of the peer are needed, undefined when it said that
   * no more come. Throws LANE_FAILED on anything that is not sealed by the peer, once all before it was read.
   */
  read(into: Uint8Array): number | undefined {
    const openssl = this.#use()
    const count = openssl.readBio(this.#plain, into, into.byteLength)
    if (count > 0) return count
    if (openssl.resultOf(this.#session, count) === ZERO_RETURN) return undefined
    this.#more(count, 'Reading a lane')
    return 0
  }

  /** Seals `bytes`, at most SEALABLE_BYTES, for takeSealed() or sendSealed(). */
  write(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    const openssl = this.#use()
    openssl.clearErrors()
    if (openssl.write(this.#session, bytes, bytes.byteLength) !== bytes.byteLength)
      throw failure(openssl, 'Writing a lane')
  }

  /** Says that no more is written. */
  end(): void {
    this.#use().shutdown(this.#session)
  }

  /** Has `send` take what is sealed where it lies, as far as it does: gives its address and length, gets what went. */
  sendSealed(send: (address: unknown, length: number) => number): number {
    const openssl = this.#use()
    for (let sent = 0; ;) {
      const length = openssl.peekBio(this.#output, address)
      if (length <= 0) return sent
      const taken = send(address[0], length)
      if (taken > 0) openssl.skipBio(this.#output, address, taken)
      sent += taken
      if (taken < length) return sent
    }
  }

  /** What is to be sent to the peer, if anything. */
  takeSealed(): Uint8Array | undefined {
    const openssl = this.#use()
    return drain(openssl, this.#output)
  }

  /** DER of what the peer showed; undefined when it showed none. */
  peerCertificate(): Uint8Array | undefined {
    const openssl = this.#use()
    const certificate = openssl.peerCertificate(this.#session)
    if (certificate === null) return undefined
    const encoded = openssl.newBio(openssl.memory())
    try {
      openssl.encodeCertificate(encoded, certificate)
      return drain(openssl, encoded)
    } finally {
      openssl.freeBio(encoded)
      openssl.freeCertificate(certificate)
    }
  }

  [Symbol.dispose](): void {
    if (this.#over) return
    this.#over = true
    this.#openssl.freeBios(this.#plain)
    this.#openssl.freeSession(this.#session)
    this.#openssl.freeBio(this.#output)
    // The first says goodbye to a peer it may never have met; that is no error of the next session.
    this.#openssl.clearErrors()
    delete this.#kept.input
  }

  #use(): Openssl {
    if (this.#over) throw new TypeError('The TLS session is over')
    return this.#openssl
  }

  /** False when OpenSSL only lacks bytes; throws otherwise. */
  #more(returned: number, what: string): false {
    if (this.#openssl.resultOf(this.#session, returned) === WANT_READ) return false
    throw failure(this.#openssl, what)
  }
}

/** Registered once: there is room for few callbacks. The caller judges the certificate, or that there is none. */
let acceptAny: unknown

function createContext(openssl: Openssl, role: TlsRole, identity: LaneIdentity): unknown {
  openssl.clearErrors()
  acceptAny ??= koffi.register(() => 1, openssl.onVerify)
  const certificate = new X509Certificate(identity.certificatePem).raw
  const key = createPrivateKey(identity.keyPem).export({ type: 'sec1', format: 'der' })
  const context = openssl.newContext(role.end === 'client' ? openssl.clientMethod() : openssl.serverMethod())
  const ready =
    openssl.controlContext(context, SET_MIN_VERSION, TLS_1_3, null) === 1 &&
    openssl.controlContext(context, SET_MAX_VERSION, TLS_1_3, null) === 1 &&
    openssl.setCipherSuites(context, 'TLS_AES_128_GCM_SHA256') === 1 &&
    openssl.useCertificate(context, certificate.length, certificate) === 1 &&
    openssl.usePrivateKey(EC_KEY, context, key, key.length) === 1 &&
    openssl.setTickets(context, 0) === 1
  if (!ready) {
    openssl.freeContext(context)
    throw failure(openssl, 'Preparing a lane')
  }
  openssl.setOptions(context, NO_CERTIFICATE_COMPRESSION)
  openssl.setVerify(context, VERIFY_PEER, acceptAny)
  return context
}

function drain(openssl: Openssl, bio: unknown): Uint8Array | undefined {
  const pending = Number(openssl.controlBio(bio, BYTES_PENDING, 0, null))
  if (pending === 0) return undefined
  const bytes = Buffer.allocUnsafeSlow(pending)
  openssl.readBio(bio, bytes, pending)
  return bytes
}

function failure(openssl: Openssl, what: string): FluidError {
  const text = Buffer.alloc(ERROR_TEXT_BYTES)
  const error = openssl.nextError()
  openssl.errorText(error, text, text.length)
  openssl.clearErrors()
  return new FluidError('LANE_FAILED', `${what} failed: ${text.toString('latin1', 0, text.indexOf(0))}`)
}
