import test from 'ava'
import { createIdentityKey, parseIdentity } from '../../agent/identity.ts'
import { verifyPeerSignature } from '../../protocol/peer-signature.ts'

const bytes = Buffer.from('what both signed')

test('verifyPeerSignature() accepts the signer, and no other peer, bytes or signature', async (t) => {
  const [ours, theirs] = [parseIdentity(await createIdentityKey()), parseIdentity(await createIdentityKey())]
  const signature = await ours.sign(bytes)
  t.is(signature.length, 64)
  t.true(await verifyPeerSignature(ours.peerId, bytes, signature))
  t.false(await verifyPeerSignature(theirs.peerId, bytes, signature))
  t.false(await verifyPeerSignature(ours.peerId, bytes.subarray(1), signature))
  t.false(await verifyPeerSignature(ours.peerId, bytes, signature.with(0, signature[0] ^ 1)))
  t.false(await verifyPeerSignature(ours.peerId, bytes, signature.subarray(1)))
  t.false(await verifyPeerSignature('not a peer', bytes, signature))
})
