/** Providers that sign offers, for tests of catalogues and brokers. */
import { randomBytes } from 'node:crypto'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { Offer, SignedOffer } from '../../protocol/catalog-message.ts'
import { encodeOffer, offerPosition, offerSigningBytes, tombstoneOf } from '../../protocol/catalog-offer.ts'
import { catalogOffer } from '../protocol/samples.ts'

const LEASE_MS = 60 * 60_000

/** One that publishes: an identity, and what it says. */
export interface Provider {
  readonly peer: string
  /** An offer of its own, version 1 issued now, with `changes`. */
  offer(changes?: Partial<Offer>): Offer
  sign(offer: Offer): Promise<SignedOffer>
  /** offer() and sign(). */
  publish(changes?: Partial<Offer>): Promise<SignedOffer>
  /** The tombstone of an offer, signed. */
  withdraw(offer: Offer): Promise<SignedOffer>
}

/** A provider with a new identity, whose clock is `now`. */
export async function createProvider({ now = Date.now }: { now?: () => number } = {}): Promise<Provider> {
  const key = await generateKeyPair('Ed25519')
  const peer = peerIdFromPrivateKey(key).toString()
  const offer = (changes: Partial<Offer> = {}): Offer => {
    const issuedAtMs = changes.issuedAtMs ?? now()
    return {
      ...catalogOffer,
      id: randomBytes(16).toString('hex'),
      peer,
      sequence: 1,
      issuedAtMs,
      expiresAtMs: issuedAtMs + LEASE_MS,
      migrators: [],
      addresses: [`/ip4/192.0.2.1/tcp/4001/p2p/${peer}`],
      ...changes,
    }
  }
  const sign = async (signed: Offer): Promise<SignedOffer> => {
    const body = encodeOffer(signed)
    return { body, signature: await key.sign(offerSigningBytes(body)) }
  }
  return {
    peer,
    offer,
    sign,
    publish: (changes) => sign(offer(changes)),
    withdraw: (taken) => sign(tombstoneOf(taken, now())),
  }
}

/** Where an offer lies, as catalogues name it. */
export function positionOf(offer: Offer): string {
  return Buffer.from(offerPosition(offer)).toString('hex')
}
