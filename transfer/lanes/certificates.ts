/**
 * The key and self-signed certificate an agent process shows on its TLS lanes.
 *
 * The certificate proves nothing by itself: each side learns the other's, byte for byte, over the
 * Noise-authenticated control stream and accepts no other (tls.ts). So no authority, no names, no revocation.
 */
import 'reflect-metadata'
import { X509CertificateGenerator } from '@peculiar/x509'
import type { LaneIdentity } from '../lane.ts'

const DAY_MS = 86_400_000
const VALID_DAYS = 30
const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/**
 * A fresh ECDSA P-256 key with a certificate named `name`, to be made at each start of an agent.
 * `certificateDer` is what the peer must be told to expect.
 */
export async function createLaneIdentity(
  name: string,
  { validDays = VALID_DAYS }: { validDays?: number } = {},
): Promise<LaneIdentity & { certificateDer: Uint8Array }> {
  const keys = await crypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify'])
  const now = Date.now()
  // By name: others in this process may have told the library to use another implementation.
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: '01',
      name: [{ CN: [name] }],
      notBefore: new Date(now - DAY_MS),
      notAfter: new Date(now + validDays * DAY_MS),
      signingAlgorithm: KEY_ALGORITHM,
      keys,
    },
    crypto,
  )
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey('pkcs8', keys.privateKey))
  return {
    keyPem: pem('PRIVATE KEY', pkcs8),
    certificatePem: certificate.toString('pem'),
    certificateDer: new Uint8Array(certificate.rawData),
  }
}

function pem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`
}
