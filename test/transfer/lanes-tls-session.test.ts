import test from 'ava'
import { createLaneIdentity } from '../../transfer/lanes/certificates.ts'
import { openssl } from '../../transfer/lanes/openssl.ts'
import { TlsSession } from '../../transfer/lanes/tls-session.ts'

const COMPRESS_CERTIFICATE = 27 // RFC 8879
const SUPPORTED_VERSIONS = 43

test('a session asks for no compressed certificate', async (t) => {
  const identity = await createLaneIdentity('agent')
  using client = new TlsSession(openssl!, { end: 'client', serverName: 'peer' }, identity)
  client.shake()
  const offered = extensionsOf(client.takeSealed()!)
  t.true(offered.includes(SUPPORTED_VERSIONS))
  t.false(offered.includes(COMPRESS_CERTIFICATE))
})

/** Types of the extensions in a ClientHello that is one record (RFC 8446 section 4.1.2). */
function extensionsOf(record: Uint8Array): number[] {
  const bytes = Buffer.from(record)
  let at = 5 + 4 + 2 + 32 // record and message header, version, random
  at += 1 + bytes.readUInt8(at) // session id
  at += 2 + bytes.readUInt16BE(at) // cipher suites
  at += 1 + bytes.readUInt8(at) // compression methods
  const end = at + 2 + bytes.readUInt16BE(at)
  const types: number[] = []
  for (at += 2; at < end; at += 4 + bytes.readUInt16BE(at + 2)) types.push(bytes.readUInt16BE(at))
  return types
}
