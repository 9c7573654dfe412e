/**
 * Signatures of peers. Ed25519 peer IDs inline the public key
 * (https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md), so a signature is checked with the ID alone.
 */
import { peerIdFromString } from '@libp2p/peer-id'
import { SIGNATURE_BYTES } from './limits.ts'
import { isPeerId } from './peer-id.ts'

/** True when `signature` over `bytes` is by `peerId`. Whatever is malformed is simply not a valid signature. */
export async function verifyPeerSignature(
  peerId: string,
  bytes: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (!isPeerId(peerId) || signature.length !== SIGNATURE_BYTES) return false
  const key = peerIdFromString(peerId).publicKey
  return key?.type === 'Ed25519' ? await key.verify(bytes, signature) : false
}
