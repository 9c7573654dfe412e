/**
 * The key and self-signed certificate an agent process shows on its TLS lanes.
 *
 * The certificate proves nothing by itself: each side learns the other's, byte for byte, over the
 * Noise-authenticated control stream and accepts no other (tls.ts). So no authority, no names, no revocation, and one
 * fixed form (RFC 5280, section 4.1), written here: a library for every form takes a fifth of the time an agent needs to start.
 */
import { generateKeyPair, sign } from 'node:crypto'
import { promisify } from 'node:util'
import type { LaneIdentity } from '../lane.ts'

const DAY_MS = 86_400_000
const VALID_DAYS = 30

/**
 * A fresh ECDSA P-256 key with a certificate named `name`, to be made at each start of an agent.
 * `certificateDer` is what the peer must be told to expect.
 */
export async function createLaneIdentity(
  name: string,
  { validDays = VALID_DAYS }: { validDays?: number } = {},
): Promise<LaneIdentity & { certificateDer: Uint8Array }> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' })
  const now = Date.now()
  const subject = sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(name)))))
  const body = sequence(
    VERSION_3,
    SERIAL_1,
    ECDSA_WITH_SHA256,
    subject,
    sequence(time(now - DAY_MS), time(now + validDays * DAY_MS)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
  )
  const signature = await promisify(sign)('sha256', body, privateKey)
  const certificateDer = sequence(body, ECDSA_WITH_SHA256, der(0x03, Buffer.of(0), signature))
  return {
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    certificatePem: pem(certificateDer),
    certificateDer: new Uint8Array(certificateDer),
  }
}

const VERSION_3 = Buffer.from('a003020102', 'hex')
const SERIAL_1 = Buffer.from('020101', 'hex')
/** 1.2.840.10045.4.3.2, in a sequence of its own. */
const ECDSA_WITH_SHA256 = Buffer.from('300a06082a8648ce3d040302', 'hex')
/** 2.5.4.3 */
const COMMON_NAME = Buffer.from('0603550403', 'hex')

/** A value of ASN.1 in its distinguished encoding (X.690): tag, length, content. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const lengthBytes =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >>> 8, length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...lengthBytes), content])
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, ...parts)
}

/** Two digits of the year until 2049, four from then on (RFC 5280, section 4.1.2.5). */
function time(unixMs: number): Buffer {
  const digits = new Date(unixMs).toISOString().replace(/[-:T]|\.\d+/g, '')
  return digits < '2050' ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits))
}

function pem(certificate: Buffer): string {
  const lines = certificate.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}
