/** Who this agent is: an Ed25519 key, and the peer ID that is its public half. Others: protocol/peer-signature.ts. */
import { readFile } from 'node:fs/promises'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
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

function damaged(message: string, cause?: unknown): FluidError {
  return new FluidError('CONFIG_INVALID', message, {
    cause,
    hint: 'Restore identity.key from a backup, or init a new home and pair again',
  })
}
