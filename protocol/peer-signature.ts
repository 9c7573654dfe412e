/**
 * Signatures of peers. Ed25519 peer IDs inline the public key
 * (https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md), so a signature is checked with the ID alone.
 */
import { peerIdFromString } from '@libp2p/peer-id'
import { SIGNATURE_BYTES } from './limits.ts'

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

/** True for an Ed25519 peer ID in its base58 form, the only kind an agent has. */
export function isPeerId(text: string): boolean {
  // 0x0024 identity multihash, 0x08011220 Ed25519 public key: always these letters, always 52 of them.
  if (!/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/.test(text)) return false
  try {
    return peerIdFromString(text).type === 'Ed25519'
  } catch {
    return false
  }
}
