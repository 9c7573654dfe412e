import { createPrivateKey, X509Certificate } from 'node:crypto'
import test from 'ava'
import { createLaneIdentity } from '../../transfer/lanes/certificates.ts'

test('createLaneIdentity() gives a P-256 key and its own self-signed certificate', async (t) => {
  const identity = await createLaneIdentity('12D3KooW, x=y')
  const certificate = new X509Certificate(identity.certificatePem)
  t.deepEqual(new Uint8Array(certificate.raw), identity.certificateDer)
  t.true(certificate.checkPrivateKey(createPrivateKey(identity.keyPem)))
  t.true(certificate.verify(certificate.publicKey))
  t.is(certificate.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  t.is(certificate.subject, 'CN="12D3KooW, x=y"'.replaceAll('"', '').replace(',', '\\,'))
})

test('createLaneIdentity() is valid from a day back to 30 days ahead', async (t) => {
  const { certificatePem } = await createLaneIdentity('agent')
  const { validFromDate, validToDate } = new X509Certificate(certificatePem)
  const day = 86_400_000
  t.true(Math.abs(Date.now() - day - validFromDate.getTime()) < 60_000)
  t.true(Math.abs(Date.now() + 30 * day - validToDate.getTime()) < 60_000)
})

test('createLaneIdentity() makes another key each time', async (t) => {
  const [one, two] = await Promise.all([createLaneIdentity('agent'), createLaneIdentity('agent')])
  t.not(one.keyPem, two.keyPem)
})

test('createLaneIdentity() tells years beyond 2049, and names of any length', async (t) => {
  const name = 'a'.repeat(300)
  const { certificatePem } = await createLaneIdentity(name, { validDays: 36_500 })
  const { subject, validToDate } = new X509Certificate(certificatePem)
  t.is(subject, `CN=${name}`)
  t.is(validToDate.getUTCFullYear(), new Date(Date.now() + 36_500 * 86_400_000).getUTCFullYear())
})
