/**
 * The one exchange of STUN that a relay answers: a binding request, and from which address it came
 * (RFC 8489, sections 5, 6.3.1 and 14). No authentication, no other attribute is looked at.
 */
import { crc32 } from 'node:zlib'

/** Where a datagram came from; IPv4. */
export interface StunSource {
  readonly address: string
  readonly port: number
}

const BINDING_REQUEST = 0x0001
const BINDING_SUCCESS = 0x0101
const MAGIC_COOKIE = 0x2112a442
const HEADER_BYTES = 20
const XOR_MAPPED_ADDRESS = 0x0020
const FINGERPRINT = 0x8028
const FINGERPRINT_XOR = 0x5354554e
const FAMILY_IPV4 = 1
/** Header, XOR-MAPPED-ADDRESS of IPv4, FINGERPRINT. */
const RESPONSE_BYTES = HEADER_BYTES + 12 + 8

/**
 * The answer to `datagram`; undefined when it is no whole binding request, or shorter than its answer would be: who
 * sends under the address of another has that one get no more bytes than he sent himself.
 */
export function stunResponse(datagram: Buffer, from: StunSource): Buffer | undefined {
  if (datagram.length < RESPONSE_BYTES) return undefined
  const isRequest =
    datagram.readUInt16BE(0) === BINDING_REQUEST &&
    datagram.readUInt16BE(2) === datagram.length - HEADER_BYTES &&
    datagram.readUInt32BE(4) === MAGIC_COOKIE
  const address = from.address.split('.').map(Number)
  if (!isRequest || address.length !== 4) return undefined
  const response = Buffer.alloc(RESPONSE_BYTES)
  response.writeUInt16BE(BINDING_SUCCESS, 0)
  response.writeUInt16BE(RESPONSE_BYTES - HEADER_BYTES, 2)
  // The cookie, and what names the transaction.
  datagram.copy(response, 4, 4, HEADER_BYTES)
  response.writeUInt16BE(XOR_MAPPED_ADDRESS, 20)
  response.writeUInt16BE(8, 22)
  response.writeUInt16BE(FAMILY_IPV4, 24)
  response.writeUInt16BE(from.port ^ (MAGIC_COOKIE >>> 16), 26)
  response.writeUInt32BE((Buffer.from(address).readUInt32BE() ^ MAGIC_COOKIE) >>> 0, 28)
  response.writeUInt16BE(FINGERPRINT, 32)
  response.writeUInt16BE(4, 34)
  response.writeUInt32BE((crc32(response.subarray(0, 32)) ^ FINGERPRINT_XOR) >>> 0, 36)
  return response
}
