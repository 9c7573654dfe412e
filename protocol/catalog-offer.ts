/**
 * Offers: their body as it is signed, and the examination that every offer passes wherever it comes from, so that no
 * broker has to be trusted. Spec: catalog.md, Offer and Examination.
 */
import { blake3 } from '@napi-rs/blake-hash'
import type {
  Capacity,
  Cloud,
  MigratorSpec,
  Offer,
  Outcome,
  Place,
  Price,
  SignedOffer,
  Verdict,
} from './catalog-message.ts'
import { FluidError } from './errors.ts'
import { MAX_TIME_MS, decodeMessage, fixedBytes, integer, list, text, token, violation } from './field.ts'
import {
  MAX_ADDRESSES,
  MAX_CLOCK_SKEW_MS,
  MAX_LEASE_MS,
  MAX_LISTED,
  MAX_MIGRATORS,
  MAX_NAME_BYTES,
  MAX_OFFER_BYTES,
  MAX_PRICE_MICROS,
  MAX_QUALITIES,
  MAX_VCPUS,
  OFFER_ID_BYTES,
  OFFER_POSITION_BYTES,
} from './limits.ts'
import { fluidcloud } from './pb/catalog.js'
import { isPeerId } from './peer-id.ts'
import { verifyPeerSignature } from './peer-signature.ts'

const Wire = fluidcloud.catalog.v1.Offer
const WireSigned = fluidcloud.catalog.v1.SignedOffer

const SIGNED_AS = new TextEncoder().encode('fluidcloud catalogue offer v1\n')
const POSITION_OF = 'fluidcloud catalogue position v1\n'
const JURISDICTION = /^[A-Z]{2}(?:-[A-Z0-9]{1,3})?$/
const CURRENCY = /^[A-Z]{3}$/
const ADDRESS = /^\/[\x21-\x7e]+$/
const ID = /^[0-9a-f]{32}$/

const NOWHERE: Place = { region: '', jurisdiction: '' }
const NO_CLOUD: Cloud = { kind: '', formats: [], features: [], certifications: [] }
const NO_CAPACITY: Capacity = { vcpus: 0, memoryBytes: 0, storageBytes: 0, maxVolumeBytes: 0 }
/** What a tombstone says of everything else. */
const NOTHING_OFFERED = {
  provider: '',
  place: NOWHERE,
  cloud: NO_CLOUD,
  capacity: NO_CAPACITY,
  migrators: [],
  addresses: [],
} satisfies Partial<Offer>

/** What an offer becomes when it is examined. */
export type Examined =
  | { readonly offer: Offer }
  | (Verdict & { readonly offer?: undefined; readonly outcome: Exclude<Outcome, 'kept' | 'held'> })

/** The body as it travels and is signed; throws PROTOCOL_VIOLATION for what a broker would refuse as malformed. */
export function encodeOffer(offer: Offer): Uint8Array {
  if (!ID.test(offer.id)) throw violation(`Offer id is not ${OFFER_ID_BYTES} bytes in hex`)
  const { id, withdrawn, provider, place, cloud, capacity, price, migrators, addresses, ...head } = offer
  const stated = withdrawn
    ? {}
    : {
        provider,
        place,
        cloud: {
          ...cloud,
          formats: [...cloud.formats],
          features: [...cloud.features],
          certifications: [...cloud.certifications],
        },
        capacity,
        price,
        migrators: migrators.map(({ accepts, produces, ...same }) => ({
          ...same,
          accepts: [...accepts],
          produces: [...produces],
        })),
        addresses: [...addresses],
      }
  const body = Wire.encode({ id: Buffer.from(id, 'hex'), ...head, withdrawn, ...stated }).finish()
  decodeOffer(body)
  return body
}

/** The offer in a body; throws PROTOCOL_VIOLATION. Its signature and its times are examineOffer()'s to check. */
export function decodeOffer(body: Uint8Array): Offer {
  integer('Offer length', body.length, 1, MAX_OFFER_BYTES)
  const wire = decodeMessage('Offer', (reader) => Wire.decode(reader), body)
  if (!isPeerId(wire.peer)) throw violation('Provider is not an Ed25519 peer ID')
  const issuedAtMs = integer('Time of issue', wire.issuedAtMs, 0, MAX_TIME_MS)
  const head = {
    id: Buffer.from(fixedBytes('Offer id', wire.id, OFFER_ID_BYTES)).toString('hex'),
    peer: wire.peer,
    sequence: integer('Sequence number', wire.sequence, 1, Number.MAX_SAFE_INTEGER),
    issuedAtMs,
    expiresAtMs: integer('End of the lease', wire.expiresAtMs, issuedAtMs + 1, MAX_TIME_MS),
    withdrawn: wire.withdrawn,
  }
  if (wire.withdrawn) {
    return {
      ...head,
      ...NOTHING_OFFERED,
    }
  }
  return {
    ...head,
    provider: text('Provider', wire.provider, MAX_NAME_BYTES, 1),
    place: wire.place ? readPlace(wire.place) : NOWHERE,
    cloud: wire.cloud ? readCloud(wire.cloud) : NO_CLOUD,
    capacity: wire.capacity ? readCapacity(wire.capacity) : NO_CAPACITY,
    ...(wire.price && { price: readPrice(wire.price) }),
    migrators: list('Migrators', wire.migrators, MAX_MIGRATORS, (_, migrator) => readMigrator(migrator)),
    addresses: list('Addresses', wire.addresses, MAX_ADDRESSES, address),
  }
}

/** What the Ed25519 signature of an offer covers. */
export function offerSigningBytes(body: Uint8Array): Uint8Array {
  return Buffer.concat([SIGNED_AS, body])
}

/** A signed offer as gossip and a catalogue's store hold it. */
export function encodeSignedOffer({ body, signature }: SignedOffer): Uint8Array {
  return WireSigned.encode({ body, signature }).finish()
}

/** The reverse; nothing of the offer is checked, as that is examineOffer()'s. Throws PROTOCOL_VIOLATION. */
export function decodeSignedOffer(bytes: Uint8Array): SignedOffer {
  const { body, signature } = decodeMessage('Signed offer', (reader) => WireSigned.decode(reader), bytes)
  return { body: Uint8Array.from(body), signature: Uint8Array.from(signature) }
}

/** The offer, if all but its signature holds at `nowMs`: what costs little, and comes before what does. */
export function readOffer(signed: Pick<SignedOffer, 'body'>, nowMs: number): Examined {
  const { length } = signed.body
  if (length > MAX_OFFER_BYTES)
    return refused('oversized', `Offer of ${length} bytes is longer than ${MAX_OFFER_BYTES}`)
  let offer: Offer
  try {
    offer = decodeOffer(signed.body)
  } catch (error) {
    if (error instanceof FluidError) return refused('malformed', error.message)
    throw error
  }
  const leaseMs = offer.expiresAtMs - offer.issuedAtMs
  if (leaseMs > MAX_LEASE_MS)
    return refused('lease', `Lease of ${leaseMs} ms is longer than ${MAX_LEASE_MS} ms`)
  if (offer.issuedAtMs > nowMs + MAX_CLOCK_SKEW_MS)
    return refused('early', `Offer is issued ${offer.issuedAtMs - nowMs} ms in the future`)
  if (offer.expiresAtMs <= nowMs) return refused('expired', `Lease ended ${nowMs - offer.expiresAtMs} ms ago`)
  return { offer }
}

/** The offer, if everything about it holds at `nowMs`, its provider's signature included. */
export async function examineOffer(signed: SignedOffer, nowMs: number): Promise<Examined> {
  const read = readOffer(signed, nowMs)
  if (read.offer && !(await isSignedBy(signed, read.offer.peer)))
    return refused('forged', 'Offer is not signed by the peer it names')
  return read
}

/** True when `peer` signed the offer. */
export function isSignedBy({ body, signature }: SignedOffer, peer: string): Promise<boolean> {
  return verifyPeerSignature(peer, offerSigningBytes(body), signature)
}

/** The offer's place in every catalogue: 16 bytes that differ between providers, even for the same id. */
export function offerPosition({ peer, id }: Pick<Offer, 'peer' | 'id'>): Uint8Array {
  const named = Buffer.concat([Buffer.from(`${POSITION_OF}${peer}\n`), Buffer.from(id, 'hex')])
  return Uint8Array.from(blake3(named).subarray(0, OFFER_POSITION_BYTES))
}

/** What takes `offer` back: its next version, which lasts as long as the lease would have. */
export function tombstoneOf(offer: Offer, nowMs: number): Offer {
  return {
    id: offer.id,
    peer: offer.peer,
    sequence: offer.sequence + 1,
    issuedAtMs: Math.min(nowMs, offer.expiresAtMs - 1),
    expiresAtMs: offer.expiresAtMs,
    withdrawn: true,
    ...NOTHING_OFFERED,
  }
}

/** A jurisdiction: a country, one of its parts, or EU. */
export function jurisdiction(name: string, value: string): string {
  if (!JURISDICTION.test(value)) throw violation(`${name} is not an ISO 3166 code such as CH or US-CA`)
  return value
}

/** A currency by its three letters. */
export function currency(name: string, value: string): string {
  if (!CURRENCY.test(value)) throw violation(`${name} is not an ISO 4217 code such as EUR`)
  return value
}

/** Disk sizes, memory: whole bytes. */
export function amountBytes(name: string, value: number): number {
  return integer(name, value, 0, Number.MAX_SAFE_INTEGER)
}

function readPlace({ region, jurisdiction: code }: fluidcloud.catalog.v1.Place.$Properties): Place {
  return {
    region: text('Region', region ?? '', MAX_NAME_BYTES),
    jurisdiction: code ? jurisdiction('Jurisdiction', code) : '',
  }
}

function readCloud(cloud: fluidcloud.catalog.v1.Cloud.$Properties): Cloud {
  return {
    kind: cloud.kind ? token('Kind of cloud', cloud.kind) : '',
    formats: list('Formats', cloud.formats ?? [], MAX_LISTED, token),
    features: list('Features', cloud.features ?? [], MAX_QUALITIES, token),
    certifications: list('Certifications', cloud.certifications ?? [], MAX_QUALITIES, token),
  }
}

function readCapacity(capacity: fluidcloud.catalog.v1.Capacity.$Properties): Capacity {
  return {
    vcpus: integer('Virtual processors', capacity.vcpus ?? 0, 0, MAX_VCPUS),
    memoryBytes: amountBytes('Memory', capacity.memoryBytes ?? 0),
    storageBytes: amountBytes('Storage', capacity.storageBytes ?? 0),
    maxVolumeBytes: amountBytes('Largest volume', capacity.maxVolumeBytes ?? 0),
  }
}

function readPrice(price: fluidcloud.catalog.v1.Price.$Properties): Price {
  const micros = (name: string, value: number | null | undefined) =>
    integer(name, value ?? 0, 0, MAX_PRICE_MICROS)
  return {
    currency: currency('Currency', price.currency ?? ''),
    vcpuHourMicros: micros('Price of a processor', price.vcpuHourMicros),
    memoryGibHourMicros: micros('Price of memory', price.memoryGibHourMicros),
    storageGibMonthMicros: micros('Price of storage', price.storageGibMonthMicros),
    egressGibMicros: micros('Price of egress', price.egressGibMicros),
    ingressGibMicros: micros('Price of ingress', price.ingressGibMicros),
  }
}

function readMigrator(migrator: fluidcloud.catalog.v1.MigratorSpec.$Properties): MigratorSpec {
  const accepts = list('Accepted', migrator.accepts ?? [], MAX_LISTED, token)
  const produces = list('Produced', migrator.produces ?? [], MAX_LISTED, token)
  if (accepts.length === 0 || produces.length === 0) throw violation('Migrator accepts or produces nothing')
  return {
    name: token('Migrator', migrator.name ?? ''),
    version: token('Version of a migrator', migrator.version ?? ''),
    accepts,
    produces,
  }
}

function address(name: string, value: string): string {
  if (!ADDRESS.test(value)) throw violation(`${name} hold one that is not a multiaddr`)
  return text(name, value, MAX_NAME_BYTES)
}

function refused(outcome: Exclude<Outcome, 'kept' | 'held'>, message: string): Examined {
  return { outcome, message }
}
