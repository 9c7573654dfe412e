import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import test from 'ava'
import { createIdentityKey, parseIdentity } from '../../agent/identity.ts'
import { FluidError } from '../../protocol/errors.ts'

test('parseIdentity() gives the same peer for the same key, and refuses what is no Ed25519 key', async (t) => {
  const key = await createIdentityKey()
  t.is(parseIdentity(key).peerId, parseIdentity(key).peerId)
  const secp = privateKeyToProtobuf(await generateKeyPair('secp256k1'))
  for (const bad of [secp, key.subarray(0, 20), new Uint8Array(0)]) {
    t.is(t.throws(() => parseIdentity(bad), { instanceOf: FluidError })?.code, 'CONFIG_INVALID')
  }
})
