import test, { type ExecutionContext } from 'ava'
import type { Outcome, SignedOffer } from '../../protocol/catalog-message.ts'
import { MAX_CLOCK_SKEW_MS, MAX_LEASE_MS, MAX_OFFER_BYTES } from '../../protocol/limits.ts'
import { openCatalog, type Catalog, type CatalogBounds } from '../../broker/catalog.ts'
import { createProvider, positionOf } from '../helpers/providers.ts'
import { stateLevel } from '../helpers/state-level.ts'

const MINUTE_MS = 60_000

/** A catalogue with a clock that the test sets, and a provider of the same clock. */
async function setUp(t: ExecutionContext, bounds: Partial<CatalogBounds> = {}) {
  const { level } = await stateLevel(t)
  const clock = { ms: 1_800_000_000_000 }
  const now = (): number => clock.ms
  const open = async (): Promise<Catalog> => {
    const catalog = await openCatalog(level, { now, bounds })
    t.teardown(() => catalog[Symbol.asyncDispose]())
    return catalog
  }
  return { clock, open, catalog: await open(), provider: await createProvider({ now }) }
}

async function outcomes(catalog: Catalog, ...offers: SignedOffer[]): Promise<Outcome[]> {
  return (await catalog.put(offers, 'published')).map(({ outcome }) => outcome)
}

const ids = (catalog: Catalog): string[] => catalog.offers.map(({ offer }) => offer.id).toSorted()

test('put() keeps an offer, its newer version in its place, and says when it is held already', async (t) => {
  const { catalog, provider } = await setUp(t)
  const first = provider.offer()
  const second = { ...first, sequence: 2, provider: 'Renamed' }
  const signed = await provider.sign(first)
  t.deepEqual(await outcomes(catalog, signed, signed), ['kept', 'held'])
  t.deepEqual(await outcomes(catalog, await provider.sign(second)), ['kept'])
  t.is(catalog.offers.length, 1)
  t.deepEqual(catalog.get(positionOf(first))?.offer, second)
  t.is(catalog.index.sequenceOf(positionOf(first)), 2)
  t.deepEqual(catalog.refused(), {})
})

test('put() refuses and counts what does not hold, by reason', async (t) => {
  const { catalog, provider, clock } = await setUp(t)
  const other = await createProvider()
  const offer = provider.offer({ sequence: 5 })
  const signed = await provider.sign(offer)
  await catalog.put([signed], 'published')
  const refused: [Outcome, SignedOffer][] = [
    ['replayed', await provider.sign({ ...offer, sequence: 4 })],
    ['replayed', await provider.sign({ ...offer, provider: 'Another of the same number' })],
    ['forged', { ...(await provider.publish()), signature: new Uint8Array(64) }],
    ['forged', await other.sign(provider.offer())],
    ['forged', { body: (await provider.publish()).body, signature: new Uint8Array(3) }],
    ['oversized', { body: new Uint8Array(2 ** 20), signature: new Uint8Array(64) }],
    ['oversized', { body: new Uint8Array(MAX_OFFER_BYTES + 1), signature: new Uint8Array(64) }],
    ['malformed', { body: Uint8Array.of(255, 255), signature: new Uint8Array(64) }],
    ['expired', await provider.publish({ issuedAtMs: clock.ms - 2, expiresAtMs: clock.ms })],
    ['early', await provider.publish({ issuedAtMs: clock.ms + MAX_CLOCK_SKEW_MS + 1 })],
    ['lease', await provider.publish({ expiresAtMs: clock.ms + MAX_LEASE_MS + 1 })],
  ]
  for (const [outcome, offered] of refused) t.deepEqual(await outcomes(catalog, offered), [outcome])
  t.deepEqual(catalog.refused(), {
    replayed: 2,
    forged: 3,
    oversized: 2,
    malformed: 1,
    expired: 1,
    early: 1,
    lease: 1,
  })
  t.deepEqual(ids(catalog), [offer.id])
})

test('a tombstone takes an offer back, for good', async (t) => {
  const { catalog, provider, open } = await setUp(t)
  const offer = provider.offer()
  const signed = await provider.sign(offer)
  const tombstone = await provider.withdraw(offer)
  t.deepEqual(await outcomes(catalog, signed, tombstone, signed), ['kept', 'kept', 'replayed'])
  t.deepEqual(catalog.offers, [])
  t.is(catalog.index.sequenceOf(positionOf(offer)), 2, 'others are told of the tombstone')
  t.deepEqual(await outcomes(await open(), signed), ['replayed'], 'after a restart as well')
})

test('a tombstone that comes before its offer keeps it out', async (t) => {
  const { catalog, provider } = await setUp(t)
  const offer = provider.offer()
  t.deepEqual(await outcomes(catalog, await provider.withdraw(offer)), ['kept'])
  t.deepEqual(await outcomes(catalog, await provider.sign(offer)), ['replayed'])
})

test('a lease that ends ends the offer, at once for readers and with the next sweep for the store', async (t) => {
  const { catalog, provider, clock, open } = await setUp(t)
  const offer = provider.offer()
  await catalog.put([await provider.sign(offer)], 'published')
  clock.ms = offer.expiresAtMs - 1
  t.deepEqual(ids(catalog), [offer.id])
  clock.ms++
  t.deepEqual(catalog.offers, [])
  t.is(catalog.get(positionOf(offer)), undefined)
  t.is(catalog.index.size, 1)
  await catalog.sweep()
  t.is(catalog.index.size, 0)
  clock.ms--
  t.deepEqual(ids(await open()), [], 'gone from the disk')
})

test('an old version is not taken for new when the newer one has ended before it', async (t) => {
  const { catalog, provider, clock, open } = await setUp(t)
  const long = provider.offer({ expiresAtMs: clock.ms + 60 * MINUTE_MS })
  const short = { ...long, sequence: 2, expiresAtMs: clock.ms + MINUTE_MS }
  const [old, newer] = [await provider.sign(long), await provider.sign(short)]
  await catalog.put([old, newer], 'published')
  clock.ms += 2 * MINUTE_MS
  await catalog.sweep()
  t.deepEqual(catalog.offers, [])
  t.true(catalog.knows(positionOf(long), 2))
  t.deepEqual(await outcomes(catalog, old), ['replayed'])
  t.deepEqual(await outcomes(await open(), old), ['replayed'])
  clock.ms += 60 * MINUTE_MS
  await catalog.sweep()
  t.false(catalog.knows(positionOf(long), 1), 'both are over, and forgotten')
})

test('leases survive a restart to the millisecond', async (t) => {
  const { catalog, provider, open } = await setUp(t)
  const offers = await Promise.all(Array.from({ length: 50 }, () => provider.publish()))
  await catalog.put(offers, 'published')
  const again = await open()
  t.deepEqual(ids(again), ids(catalog))
  t.deepEqual(again.index.children(''), catalog.index.children(''))
  for (const { position, offer, signed } of catalog.offers) {
    t.deepEqual(again.get(position)?.offer, offer)
    t.deepEqual(Buffer.from(again.get(position)!.signed.body), Buffer.from(signed.body))
  }
})

test('one provider has its bound, in offers and in bytes; its renewals and tombstones always fit', async (t) => {
  const { catalog, provider } = await setUp(t, { offersPerProvider: 2 })
  const [one, two] = [provider.offer(), provider.offer()]
  const other = await createProvider({ now: () => one.issuedAtMs })
  t.deepEqual(
    await outcomes(
      catalog,
      await provider.sign(one),
      await provider.sign(two),
      await provider.publish(),
      await other.publish(),
      await provider.sign({ ...one, sequence: 2 }),
      await provider.withdraw(two),
    ),
    ['kept', 'kept', 'crowded', 'kept', 'kept', 'kept'],
  )
  const bytes = (await provider.publish()).body.length
  const narrow = await setUp(t, { bytesPerProvider: bytes * 2 })
  t.deepEqual(
    await outcomes(
      narrow.catalog,
      await narrow.provider.publish(),
      await narrow.provider.publish(),
      await narrow.provider.publish(),
    ),
    ['kept', 'kept', 'crowded'],
  )
})

test('all providers together have their bound, and what ends makes room', async (t) => {
  const { catalog, provider, clock } = await setUp(t, { offers: 1 })
  const other = await createProvider({ now: () => clock.ms })
  t.deepEqual(await outcomes(catalog, await provider.publish(), await other.publish()), ['kept', 'crowded'])
  clock.ms += 61 * MINUTE_MS
  await catalog.sweep()
  t.deepEqual(await outcomes(catalog, await other.publish()), ['kept'])
})

test('what comes one way has its bound, other ways keep their room, and newer versions always fit', async (t) => {
  const { catalog, provider, clock } = await setUp(t)
  const share = { name: 'one way', offers: 2, bytes: 2 ** 20 }
  const put = async (...offers: SignedOffer[]) =>
    (await catalog.put(offers, 'published', share)).map(({ outcome }) => outcome)
  const others = [createProvider({ now: () => clock.ms }), createProvider({ now: () => clock.ms })]
  const [second, third] = await Promise.all(others)
  const offer = provider.offer()
  t.deepEqual(await put(await provider.sign(offer), await second.publish(), await third.publish()), [
    'kept',
    'kept',
    'crowded',
  ])
  t.deepEqual(await outcomes(catalog, await third.publish()), ['kept'])
  t.deepEqual(await put(await provider.sign({ ...offer, sequence: 2 })), ['kept'])
  clock.ms += 61 * MINUTE_MS
  await catalog.sweep()
  t.deepEqual(await put(await third.publish()), ['kept'])
})

test('onKept() hears what is new, once it is on disk, and no more when disposed', async (t) => {
  const { catalog, provider, open } = await setUp(t)
  const heard: string[] = []
  const listening = catalog.onKept((kept, origin) => heard.push(`${origin} ${kept.length}`))
  const signed = await provider.publish()
  await catalog.put([signed, await provider.publish()], 'published')
  await catalog.put([signed], 'fetched')
  t.deepEqual(heard, ['published 2'])
  t.is((await open()).offers.length, 2)
  listening[Symbol.dispose]()
  await catalog.put([await provider.publish()], 'published')
  t.is(heard.length, 1)
})
