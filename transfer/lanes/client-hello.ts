/**
 * Finds the server name in a TLS ClientHello, from raw bytes that anyone on the network may have sent. Pure.
 *
 * Only what precedes the server name is parsed (RFC 8446 section 4.1.2, RFC 6066 section 3); the TLS library
 * judges the rest. The hello must fit one record, as every client's does that speaks only TLS 1.3.
 */

/** What the bytes so far are; 'partial' asks for more. */
export type ClientHello =
  | { readonly kind: 'partial' }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'hello'; readonly serverName: string | undefined }

const RECORD_HEADER_BYTES = 5
const RECORD_HANDSHAKE = 22
const MAX_RECORD_BYTES = 16 * 1024
const HANDSHAKE_CLIENT_HELLO = 1
const EXTENSION_SERVER_NAME = 0
const NAME_TYPE_HOST = 0
const MAX_HOST_NAME_BYTES = 255

const PARTIAL = { kind: 'partial' } as const
const MALFORMED = { kind: 'malformed' } as const

/** Reads the beginning of a connection. Never throws; a wrong first byte is malformed at once, not partial. */
export function parseClientHello(bytes: Uint8Array): ClientHello {
  if (bytes.length > 0 && bytes[0] !== RECORD_HANDSHAKE) return MALFORMED
  if (bytes.length > 1 && bytes[1] !== 3) return MALFORMED
  if (bytes.length < RECORD_HEADER_BYTES) return PARTIAL
  const recordBytes = (bytes[3] << 8) | bytes[4]
  if (recordBytes === 0 || recordBytes > MAX_RECORD_BYTES) return MALFORMED
  if (bytes.length > RECORD_HEADER_BYTES && bytes[RECORD_HEADER_BYTES] !== HANDSHAKE_CLIENT_HELLO)
    return MALFORMED
  if (bytes.length < RECORD_HEADER_BYTES + recordBytes) return PARTIAL
  try {
    const record = new Fields(bytes.subarray(RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + recordBytes))
    return { kind: 'hello', serverName: serverNameOf(record) }
  } catch (error) {
    if (error instanceof RangeError) return MALFORMED
    throw error
  }
}

function serverNameOf(record: Fields): string | undefined {
  record.skip(1) // message type, checked above
  const hello = new Fields(record.vector(3))
  hello.skip(2 + 32) // legacy_version, random
  hello.vector(1) // legacy_session_id
  hello.vector(2) // cipher_suites
  hello.vector(1) // legacy_compression_methods
  const extensions = new Fields(hello.vector(2))
  while (extensions.left > 0) {
    const type = extensions.number(2)
    const body = extensions.vector(2)
    if (type === EXTENSION_SERVER_NAME) return hostNameOf(new Fields(new Fields(body).vector(2)))
  }
  return undefined
}

function hostNameOf(list: Fields): string {
  if (list.number(1) !== NAME_TYPE_HOST) throw new RangeError('Server name of an unknown type')
  const name = list.vector(2)
  if (name.length === 0 || name.length > MAX_HOST_NAME_BYTES)
    throw new RangeError('Server name of a wrong length')
  return Buffer.from(name.buffer, name.byteOffset, name.byteLength).toString('latin1')
}

/** A cursor over TLS fields; throws RangeError where the bytes end too early. */
class Fields {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  skip(length: number): void {
    if (length > this.left) throw new RangeError('Field runs past its end')
    this.#at += length
  }

  /** A big-endian number of `width` bytes, at most 3. */
  number(width: number): number {
    const start = this.#at
    this.skip(width)
    let value = 0
    for (let index = start; index < this.#at; index++) value = (value << 8) | this.#bytes[index]
    return value
  }

  /** The bytes of a vector whose length is written in `width` bytes before it. */
  vector(width: number): Uint8Array {
    const length = this.number(width)
    const start = this.#at
    this.skip(length)
    return this.#bytes.subarray(start, this.#at)
  }
}
