import test from 'ava'
import fc from 'fast-check'
import { createIdentityKey, parseIdentity } from '../../agent/identity.ts'
import {
  decodeOffer,
  decodeSignedOffer,
  encodeOffer,
  encodeSignedOffer,
  examineOffer,
  offerPosition,
  offerSigningBytes,
  tombstoneOf,
} from '../../protocol/catalog-offer.ts'
import type { Offer, Outcome, SignedOffer } from '../../protocol/catalog-message.ts'
import { MAX_CLOCK_SKEW_MS, MAX_LEASE_MS, MAX_OFFER_BYTES } from '../../protocol/limits.ts'
import { fluidcloud } from '../../protocol/pb/catalog.js'
import { catalogOffers } from './arbitraries.ts'
import { plain, violates } from './assertions.ts'
import { catalogOffer } from './samples.ts'

const Wire = fluidcloud.catalog.v1.Offer
const NOW = catalogOffer.issuedAtMs
const identity = parseIdentity(await createIdentityKey())
const mine: Offer = { ...catalogOffer, peer: identity.peerId }

async function signed(offer: Offer): Promise<SignedOffer> {
  const body = encodeOffer(offer)
  return { body, signature: await identity.sign(offerSigningBytes(body)) }
}

test('examineOffer() lets through what its provider signed', async (t) => {
  const { offer } = await examineOffer(await signed(mine), NOW)
  t.deepEqual(plain(offer), plain(mine))
})

test('examineOffer() refuses an offer that another peer signed', async (t) => {
  t.like(await examineOffer(await signed(catalogOffer), NOW), { outcome: 'forged' })
})

test('examineOffer() refuses an offer of which one byte is another', async (t) => {
  const { body, signature } = await signed(mine)
  const changed = Buffer.from(body)
  changed[changed.indexOf('Alpine')] = 'B'.charCodeAt(0)
  t.like(await examineOffer({ body: changed, signature }, NOW), { outcome: 'forged' })
})

test('examineOffer() refuses a signature for another purpose', async (t) => {
  const body = encodeOffer(mine)
  const signature = await identity.sign(Buffer.concat([Buffer.from('fluidcloud receipt v1\n'), body]))
  t.like(await examineOffer({ body, signature }, NOW), { outcome: 'forged' })
})

test('examineOffer() refuses a signature that is cut', async (t) => {
  const { body, signature } = await signed(mine)
  t.like(await examineOffer({ body, signature: signature.subarray(1) }, NOW), { outcome: 'forged' })
})

const outcome = test.macro(
  async (t, changed: Partial<Offer>, atMs: number, expected: Outcome | undefined) => {
    const examined = await examineOffer(await signed({ ...mine, ...changed }), atMs)
    t.is<Outcome | undefined, Outcome | undefined>(examined.offer ? undefined : examined.outcome, expected)
  },
)

test('examineOffer() takes an offer to the last millisecond', outcome, {}, mine.expiresAtMs - 1, undefined)
test('examineOffer() refuses an offer whose lease is over', outcome, {}, mine.expiresAtMs, 'expired')
test('examineOffer() bears a clock ahead', outcome, {}, NOW - MAX_CLOCK_SKEW_MS, undefined)
test('examineOffer() refuses a clock far ahead', outcome, {}, NOW - MAX_CLOCK_SKEW_MS - 1, 'early')
test('examineOffer() takes a lease of a day', outcome, { expiresAtMs: NOW + MAX_LEASE_MS }, NOW, undefined)
test('examineOffer() refuses a longer lease', outcome, { expiresAtMs: NOW + MAX_LEASE_MS + 1 }, NOW, 'lease')

test('examineOffer() refuses an offer over the limit without decoding it', async (t) => {
  const body = new Uint8Array(MAX_OFFER_BYTES + 1)
  t.like(await examineOffer({ body, signature: new Uint8Array(64) }, NOW), { outcome: 'oversized' })
})

test('examineOffer() refuses what is no offer', async (t) => {
  const examined = await examineOffer({ body: Uint8Array.of(0xff), signature: new Uint8Array(64) }, NOW)
  t.like(examined, { outcome: 'malformed' })
})

test('encodeSignedOffer() round-trips', async (t) => {
  const offer = await signed(mine)
  t.deepEqual(plain(decodeSignedOffer(encodeSignedOffer(offer))), plain(offer))
})

test('encodeOffer() round-trips every offer', (t) => {
  fc.assert(
    fc.property(catalogOffers, (offer) => {
      t.deepEqual(plain(decodeOffer(encodeOffer(offer))), plain(offer))
    }),
    { numRuns: 300 },
  )
})

test('encodeOffer() refuses an offer over the limit, each of whose fields is within its own', (t) => {
  const listed = Array.from({ length: 16 }, (_, i) => `${'x'.repeat(60)}/${i}`)
  const migrators = Array<Offer['migrators'][0]>(32).fill({
    name: 'convert',
    version: '1',
    accepts: listed,
    produces: listed,
  })
  violates(t, () => encodeOffer({ ...mine, migrators }))
})

test('decodeOffer() ignores fields of a later version', (t) => {
  const later = Buffer.concat([encodeOffer(mine), Uint8Array.of(0xf8, 0x06, 0x01)])
  t.deepEqual(plain(decodeOffer(later)), plain(mine))
})

test('tombstoneOf() outlives no lease and follows what it takes back', (t) => {
  const tombstone = tombstoneOf(mine, NOW + 1000)
  t.like(plain(decodeOffer(encodeOffer(tombstone))), {
    id: mine.id,
    peer: mine.peer,
    sequence: mine.sequence + 1,
    issuedAtMs: NOW + 1000,
    expiresAtMs: mine.expiresAtMs,
    withdrawn: true,
    provider: '',
    addresses: [],
  })
})

test('decodeOffer() reads nothing of a tombstone but whose it is', (t) => {
  const body = Wire.encode({ ...wire(mine), withdrawn: true }).finish()
  t.deepEqual(decodeOffer(body), { ...tombstoneOf(mine, NOW), sequence: mine.sequence })
})

test('offerPosition() differs by provider and by id', (t) => {
  const positions = [mine, { ...mine, id: 'f'.repeat(32) }, catalogOffer].map((offer) =>
    Buffer.from(offerPosition(offer)).toString('hex'),
  )
  t.is(new Set(positions).size, 3)
  t.true(positions.every((position) => position.length === 32))
})

function wire(offer: Offer): fluidcloud.catalog.v1.Offer.$Properties {
  return Wire.decode(encodeOffer(offer))
}

const refused = test.macro((t, changed: fluidcloud.catalog.v1.Offer.$Properties) => {
  violates(t, () => decodeOffer(Wire.encode({ ...wire(mine), ...changed }).finish()))
})

test('decodeOffer() refuses an id of 15 bytes', refused, { id: new Uint8Array(15) })
test('decodeOffer() refuses a provider that is no peer', refused, { peer: 'alpine' })
test('decodeOffer() refuses sequence 0', refused, { sequence: 0 })
test('decodeOffer() refuses a sequence that is not exact', refused, { sequence: 2 ** 53 })
test('decodeOffer() refuses a lease that ends where it begins', refused, { expiresAtMs: NOW })
test('decodeOffer() refuses a time before 1970', refused, { issuedAtMs: -1 })
test('decodeOffer() refuses an offer without a name', refused, { provider: '' })
test('decodeOffer() refuses a name that reverses text', refused, { provider: 'a\u202eb' })
test('decodeOffer() refuses a name of 256 bytes', refused, { provider: 'a'.repeat(256) })
test('decodeOffer() refuses a country that is none', refused, { place: { jurisdiction: 'Switzerland' } })
test('decodeOffer() refuses a currency that is none', refused, { price: { currency: 'Euro' } })
test('decodeOffer() refuses an amount over the limit', refused, {
  price: { currency: 'EUR', vcpuHourMicros: 10 ** 12 + 1 },
})
test('decodeOffer() refuses a million processors and one', refused, { capacity: { vcpus: 1_000_001 } })
test('decodeOffer() refuses 17 formats', refused, { cloud: { formats: Array<string>(17).fill('raw') } })
test('decodeOffer() refuses 33 features', refused, { cloud: { features: Array<string>(33).fill('live') } })
test('decodeOffer() refuses 33 certifications', refused, {
  cloud: { certifications: Array<string>(33).fill('x') },
})
test('decodeOffer() refuses a feature with spaces', refused, { cloud: { features: ['a b'] } })
test('decodeOffer() refuses 33 migrators', refused, {
  migrators: Array<object>(33).fill({ name: 'a', version: '1', accepts: ['a'], produces: ['b'] }),
})
test('decodeOffer() refuses a migrator that produces nothing', refused, {
  migrators: [{ name: 'a', version: '1', accepts: ['a'] }],
})
test('decodeOffer() refuses 17 addresses', refused, {
  addresses: Array<string>(17).fill('/ip4/192.0.2.7/tcp/4001'),
})
test('decodeOffer() refuses an address that is no multiaddr', refused, { addresses: ['192.0.2.7:4001'] })
test('decodeOffer() refuses an address of 256 bytes', refused, { addresses: [`/${'a'.repeat(255)}`] })
