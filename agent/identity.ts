/**
 * Who this agent is: an Ed25519 key, and the peer ID that is its public half. Ed25519 peer IDs inline the key
 * (https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md), so a signature is checked with the ID alone.
 */
import { readFile } from 'node:fs/promises'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { FluidError } from '../protocol/errors.ts'

export interface Identity {
  readonly peerId: string
  readonly privateKey: Ed25519PrivateKey
  /** 64 bytes of Ed25519 over `bytes`. The caller prefixes its domain. */
  sign(bytes: Uint8Array): Promise<Uint8Array>
}

/** A new key, as identity.key holds it (libp2p's protobuf). */
export async function createIdentityKey(): Promise<Uint8Array> {
  return privateKeyToProtobuf(await generateKeyPair('Ed25519'))
}

/** The identity in `key`, which is not kept. Throws CONFIG_INVALID. */
export function parseIdentity(key: Uint8Array): Identity {
  let privateKey: ReturnType<typeof privateKeyFromProtobuf>
  try {
    privateKey = privateKeyFromProtobuf(key)
  } catch (cause) {
    throw damaged('The identity key is damaged', cause)
  }
  if (privateKey.type !== 'Ed25519') throw damaged(`The identity key is ${privateKey.type}, not Ed25519`)
  const ed25519 = privateKey
  return {
    peerId: peerIdFromPrivateKey(ed25519).toString(),
    privateKey: ed25519,
    sign: async (bytes) => ed25519.sign(bytes),
  }
}

/** Reads the identity from the file at `path`. Throws CONFIG_INVALID. */
export async function loadIdentity(path: string): Promise<Identity> {
  return parseIdentity(await readFile(path))
}

/** True when `signature` over `bytes` is by `peerId`. Whatever is malformed is simply not a valid signature. */
export async function verifyPeerSignature(
  peerId: string,
  bytes: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (!isPeerId(peerId) || signature.length !== 64) return false
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

function damaged(message: string, cause?: unknown): FluidError {
  return new FluidError('CONFIG_INVALID', message, {
    cause,
    hint: 'Restore identity.key from a backup, or init a new home and pair again',
  })
}
