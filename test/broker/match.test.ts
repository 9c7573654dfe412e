import test from 'ava'
import fc from 'fast-check'
import { match } from '../../broker/match.ts'
import type { PeerFacts } from '../../broker/peer-facts.ts'
import type { MatchRequest, Need, Offer, Price } from '../../protocol/catalog-message.ts'
import { offerId, offerWith, priceWith, requestWith } from '../helpers/offers.ts'

const GIB = 2 ** 30

const need = test.macro((t, wanted: Partial<Need>, offered: Partial<Offer>, failed: unknown) => {
  const { candidates } = match([offerWith(offered)], requestWith({ need: wanted }))
  t.deepEqual(candidates[0].failed as unknown, failed === undefined ? [] : [failed])
  t.is(candidates[0].rank, failed === undefined ? 1 : null)
})

const capacity = { vcpus: 4, memoryBytes: GIB, storageBytes: 100, maxVolumeBytes: 50 }
const place = (jurisdiction: string) => ({ place: { region: '', jurisdiction } })
const formats = { formats: ['raw', 'qcow2'] }

test('match() finds enough processors', need, { vcpus: 4 }, { capacity }, undefined)
test(
  'match() says how many processors are missing',
  need,
  { vcpus: 5 },
  { capacity },
  {
    need: 'vcpus',
    wanted: 5,
    offered: 4,
  },
)
test(
  'match() counts memory in bytes',
  need,
  { memoryBytes: GIB + 1 },
  { capacity },
  {
    need: 'memory',
    wanted: GIB + 1,
    offered: GIB,
  },
)
test(
  'match() fails too little storage',
  need,
  { storageBytes: 101 },
  { capacity },
  {
    need: 'storage',
    wanted: 101,
    offered: 100,
  },
)
test(
  'match() fails a volume that is too large',
  need,
  { maxVolumeBytes: 51 },
  { capacity },
  {
    need: 'max_volume',
    wanted: 51,
    offered: 50,
  },
)
test(
  'match() takes all storage for one volume when no limit is told',
  need,
  { maxVolumeBytes: 100 },
  { capacity: { ...capacity, maxVolumeBytes: 0 } },
  undefined,
)
test('match() is content with one of the formats', need, formats, {}, undefined)
test(
  'match() fails other formats',
  need,
  { formats: ['vmdk'] },
  {},
  {
    need: 'formats',
    wanted: ['vmdk'],
    offered: ['raw'],
  },
)
test(
  'match() wants all features',
  need,
  { features: ['live', 'gpu'] },
  {},
  {
    need: 'features',
    wanted: ['live', 'gpu'],
    offered: ['live'],
  },
)
test(
  'match() wants all certifications',
  need,
  { certifications: ['iso27001', 'c5'] },
  {},
  {
    need: 'certifications',
    wanted: ['iso27001', 'c5'],
    offered: ['iso27001'],
  },
)
test('match() finds one of the jurisdictions', need, { jurisdictions: ['DE', 'CH'] }, {}, undefined)
test('match() finds a member in the EU', need, { jurisdictions: ['EU'] }, place('DE'), undefined)
test('match() finds a part in its country', need, { jurisdictions: ['US'] }, place('US-CA'), undefined)
test('match() does not take the EU for one of its members', need, { jurisdictions: ['DE'] }, place('EU'), {
  need: 'jurisdiction',
  wanted: ['DE'],
  offered: 'EU',
})
test('match() does not take a country for its part', need, { jurisdictions: ['US-CA'] }, place('US'), {
  need: 'jurisdiction',
  wanted: ['US-CA'],
  offered: 'US',
})
test('match() does not find Switzerland in the EU', need, { jurisdictions: ['EU'] }, place('CH'), {
  need: 'jurisdiction',
  wanted: ['EU'],
  offered: 'CH',
})
test('match() fails a place that is not told', need, { jurisdictions: ['CH'] }, place(''), {
  need: 'jurisdiction',
  wanted: ['CH'],
  offered: null,
})
test('match() finds a direct address', need, { direct: true }, {}, undefined)
test(
  'match() fails a provider behind a relay',
  need,
  { direct: true },
  { addresses: ['/ip4/192.0.2.7/tcp/4001/p2p/x/p2p-circuit'] },
  { need: 'relay', wanted: false, offered: true },
)
test(
  'match() fails a provider that tells no address',
  need,
  { direct: true },
  { addresses: [] },
  {
    need: 'relay',
    wanted: false,
    offered: null,
  },
)

test('match() believes how a provider was reached more than its addresses', (t) => {
  const offer = offerWith()
  const request = requestWith({ need: { direct: true } })
  const relayed = match([offer], request, { facts: new Map([[offer.peer, { relayed: true }]]) })
  t.is(relayed.candidates[0].failed[0].offered, true)
  const direct = match([offerWith({ addresses: [] })], request, {
    facts: new Map([[offer.peer, { relayed: false }]]),
  })
  t.is(direct.fitting, 1)
})

test('match() names every constraint, met or not', (t) => {
  const { candidates } = match([offerWith()], requestWith({ need: { vcpus: 99, features: ['live'] } }))
  t.deepEqual(candidates[0].needs, [
    { need: 'vcpus', wanted: 99, offered: 8, met: false },
    { need: 'features', wanted: ['live'], offered: ['live'], met: true },
  ])
})

test('match() counts no tombstone', (t) => {
  t.like(match([offerWith({ withdrawn: true })], requestWith()), { considered: 0, candidates: [] })
})

test('match() gives the cheapest a price of 1, and about half at twice its price', (t) => {
  const offers = [10, 20, 20_000].map((each, i) =>
    offerWith({ id: offerId(i), price: priceWith({ storageGibMonthMicros: each * 1_000_000 }) }),
  )
  const request = requestWith({ need: { storageBytes: 100 * GIB }, want: { price: 1 } })
  const { candidates, currency } = match(offers, request)
  const values = candidates.map(({ terms }) => terms.price!.value)
  t.is(currency, 'EUR')
  t.is(values[0], 1)
  t.true(Math.abs(values[1] - 0.5) < 0.01)
  t.true(values[2] > 0 && values[2] < 0.001)
  t.deepEqual(
    candidates.map(({ cost }) => cost.perMonth),
    [1000, 2000, 2_000_000],
  )
})

test('match() adds up what a month and a move cost', (t) => {
  const price = priceWith({
    vcpuHourMicros: 20_000,
    memoryGibHourMicros: 3_000,
    storageGibMonthMicros: 50_000,
    egressGibMicros: 10_000,
    ingressGibMicros: 20_000,
  })
  const request = requestWith({
    need: { vcpus: 2, memoryBytes: 4 * GIB, storageBytes: 20 * GIB },
    have: { allocatedBytes: 6 * GIB, egressGibMicros: 90_000 },
  })
  const [{ cost, etaSeconds }] = match([offerWith({ price })], request).candidates
  // 2 x 0.02 x 730 + 4 x 0.003 x 730 + 20 x 0.05; 6 x (0.09 + 0.02).
  t.deepEqual(cost, { currency: 'EUR', perMonth: 38.96, moveOnce: 0.66 })
  t.is(etaSeconds, Math.round(((6 * GIB) / 12_500_000) * 1000) / 1000)
})

test('match() does not compare currencies, and says so in the term', (t) => {
  const offers = [
    offerWith({ id: offerId(1), price: priceWith({ currency: 'USD' }) }),
    offerWith({ id: offerId(2) }),
    offerWith({ id: offerId(3) }),
  ]
  const request = requestWith({
    want: { price: 1, egress: 1 },
    have: { allocatedBytes: GIB, egressGibMicros: 5 },
  })
  const { candidates, currency, fitting } = match(offers, request)
  t.is(currency, 'EUR')
  t.is(fitting, 3)
  t.is(candidates[2].offer.id, offerId(1))
  const note = 'USD is not compared with EUR'
  t.deepEqual(candidates[2].terms, {
    price: { value: 0, weight: 1, note },
    egress: { value: 0, weight: 1, note },
  })
  t.deepEqual(candidates[2].cost, { currency: 'USD', perMonth: 0, moveOnce: null })
})

test('match() compares in the currency of the source when it names one', (t) => {
  const offers = [
    offerWith({ id: offerId(1), price: priceWith({ currency: 'USD' }) }),
    offerWith({ id: offerId(2) }),
    offerWith({ id: offerId(3) }),
  ]
  const request = requestWith({ want: { price: 1 }, have: { currency: 'USD' } })
  t.is(match(offers, request).candidates[0].offer.id, offerId(1))
})

test('match() scores an offer without a price as far as it can', (t) => {
  const [{ terms, cost, score }] = match(
    [offerWith({ price: undefined })],
    requestWith({ want: { price: 1, moveTime: 1 } }),
  ).candidates
  t.like(terms.price, { value: 0, note: 'the offer names no price' })
  t.deepEqual(cost, { currency: null, perMonth: null, moveOnce: null })
  t.is(score, 0.5)
})

test('match() counts leaving again as traffic', (t) => {
  const offers = [0, 50_000].map((egressGibMicros, i) =>
    offerWith({ id: offerId(9 - i), price: priceWith({ egressGibMicros }) }),
  )
  const request = requestWith({ want: { egress: 1 }, have: { allocatedBytes: 1000 * GIB } })
  t.deepEqual(
    match(offers, request).candidates.map(({ offer }) => offer.id),
    [offerId(9), offerId(8)],
  )
})

const [near, far] = [offerWith({ id: offerId(2), peer: 'near' }), offerWith({ id: offerId(1), peer: 'far' })]

const facts = test.macro(
  (t, want: Partial<MatchRequest['want']>, of: { near: PeerFacts; far: PeerFacts }, values: number[]) => {
    const request = requestWith({ want, have: { allocatedBytes: 125_000_000 } })
    const { candidates } = match([far, near], request, { facts: new Map(Object.entries(of)) })
    t.is(candidates[0].offer, near)
    t.deepEqual(
      candidates.map(({ terms }) => Object.values(terms)[0].value),
      values,
    )
  },
)

test(
  'match() prefers the shorter round trip',
  facts,
  { rtt: 1 },
  { near: { rttMs: 10 }, far: { rttMs: 90 } },
  [1, 0.2],
)
test(
  'match() gives an unknown round trip nothing',
  facts,
  { rtt: 1 },
  { near: { rttMs: 500 }, far: {} },
  [1, 0],
)
test(
  'match() prefers the faster line, and assumes one that was not measured',
  facts,
  { moveTime: 1 },
  { near: { bytesPerSecond: 25_000_000 }, far: {} },
  // 5 s against 10 s, each beside a minute.
  [1, 0.928571],
)
test(
  'match() prefers peers whose moves completed',
  facts,
  { outcomes: 1 },
  { near: { outcomes: { complete: 8, failed: 0 } }, far: { outcomes: { complete: 0, failed: 3 } } },
  [0.9, 0.2],
)
test(
  'match() holds no history for better than a bad one',
  facts,
  { outcomes: 1 },
  { near: {}, far: { outcomes: { complete: 1, failed: 2 } } },
  [0.5, 0.4],
)

test('match() weighs its terms', (t) => {
  const known = new Map([['near', { rttMs: 10, outcomes: { complete: 0, failed: 2 } }]])
  const [{ score, terms }] = match([near], requestWith({ want: { rtt: 3, outcomes: 1 } }), {
    facts: known,
  }).candidates
  t.deepEqual([terms.rtt?.value, terms.outcomes?.value], [1, 0.25])
  t.is(score, (3 * 1 + 1 * 0.25) / 4)
})

test('match() breaks ties by offer id, then by peer', (t) => {
  const offers = [
    offerWith({ id: offerId(2), peer: 'a' }),
    offerWith({ id: offerId(1), peer: 'c' }),
    offerWith({ id: offerId(1), peer: 'b' }),
  ]
  t.deepEqual(
    match(offers, requestWith()).candidates.map(({ offer, rank }) => [offer.peer, rank]),
    [
      ['b', 1],
      ['c', 2],
      ['a', 3],
    ],
  )
})

test('match() lists what fails least first, after all that fits', (t) => {
  const offers = [
    offerWith({ id: offerId(1), ...place('US'), capacity: { ...capacity, vcpus: 0 } }),
    offerWith({ id: offerId(2), ...place('US') }),
    offerWith({ id: offerId(3) }),
  ]
  const request = requestWith({ need: { vcpus: 1, jurisdictions: ['CH'] } })
  const { candidates, considered, fitting } = match(offers, request)
  t.deepEqual(
    candidates.map(({ offer, rank }) => [offer.id, rank]),
    [
      [offerId(3), 1],
      [offerId(2), null],
      [offerId(1), null],
    ],
  )
  t.deepEqual([considered, fitting], [3, 1])
  t.is(match(offers, request, { failing: 1 }).candidates.length, 2)
  t.like(match(offers, request, { limit: 0, failing: 0 }), { considered: 3, fitting: 1, candidates: [] })
})

test('match() explains an offer that fails and costs less than any that fits', (t) => {
  const cheap = offerWith({ id: offerId(1), ...place('US'), price: priceWith() })
  const request = requestWith({ need: { jurisdictions: ['CH'], storageBytes: GIB }, want: { price: 1 } })
  const { candidates } = match([cheap, offerWith({ id: offerId(2) })], request)
  t.is(candidates[0].score, 1)
  t.like(candidates[1], { rank: null, score: 1 })
})

// Properties over small worlds, in which offers and needs meet often.

const words = (...all: string[]) => fc.subarray(all)
const amounts = fc.constantFrom(0, 1, 2, 4)
const price: fc.Arbitrary<Price | undefined> = fc.option(
  fc.record({
    currency: fc.constantFrom('EUR', 'USD', 'CHF'),
    vcpuHourMicros: fc.nat(100_000),
    memoryGibHourMicros: fc.nat(100_000),
    storageGibMonthMicros: fc.nat(100_000),
    egressGibMicros: fc.nat(100_000),
    ingressGibMicros: fc.nat(100_000),
  }),
  { nil: undefined },
)
const offers = fc
  .array(
    fc.record({
      peer: fc.constantFrom('a', 'b', 'c'),
      place: fc.constantFrom(...['CH', 'DE', 'US'].map((jurisdiction) => ({ region: '', jurisdiction }))),
      cloud: fc.record({
        kind: fc.constant('qemu'),
        formats: words('raw', 'qcow2'),
        features: words('live', 'gpu'),
        certifications: words('iso27001'),
      }),
      capacity: fc.record({
        vcpus: amounts,
        memoryBytes: amounts,
        storageBytes: amounts,
        maxVolumeBytes: amounts,
      }),
      price,
      addresses: words('/ip4/192.0.2.7/tcp/1', '/ip4/192.0.2.7/tcp/1/p2p/x/p2p-circuit'),
    }),
    { maxLength: 12 },
  )
  .map((list) => list.map((parts, i) => offerWith({ ...parts, id: offerId(i) })))
const needs: fc.Arbitrary<Need> = fc.record({
  vcpus: amounts,
  memoryBytes: amounts,
  storageBytes: amounts,
  maxVolumeBytes: amounts,
  formats: words('raw', 'qcow2', 'vmdk'),
  features: words('live', 'gpu'),
  jurisdictions: words('CH', 'EU', 'US'),
  certifications: words('iso27001', 'c5'),
  direct: fc.boolean(),
})
const weights = fc.nat(5)
const requests: fc.Arbitrary<MatchRequest> = fc.record({
  need: needs,
  want: fc.record({ price: weights, egress: weights, moveTime: weights, rtt: weights, outcomes: weights }),
  have: fc.record({
    allocatedBytes: fc.nat(2 ** 31),
    egressGibMicros: fc.nat(100_000),
    currency: fc.constantFrom('', 'EUR'),
  }),
})
const peerFacts: fc.Arbitrary<PeerFacts> = fc.record(
  {
    rttMs: fc.nat(200),
    bytesPerSecond: fc.nat(10 ** 8),
    relayed: fc.boolean(),
    outcomes: fc.record({ complete: fc.nat(9), failed: fc.nat(9) }),
  },
  { requiredKeys: [] },
)
const known = fc
  .record({ a: peerFacts, b: peerFacts, c: peerFacts }, { requiredKeys: [] })
  .map((of) => new Map(Object.entries(of)))

test('match() gives the same answer in whatever order the offers come', (t) => {
  const shuffled = offers.chain((list) =>
    fc.tuple(
      fc.constant(list),
      fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length }),
    ),
  )
  fc.assert(
    fc.property(shuffled, requests, known, ([list, other], request, of) => {
      t.deepEqual(match(other, request, { facts: of }), match(list, request, { facts: of }))
    }),
    { numRuns: 300 },
  )
})

test('match() adds no candidate when a need is added', (t) => {
  const more = fc.tuple(needs, fc.constantFrom(...(Object.keys(requestWith().need) as (keyof Need)[])))
  fc.assert(
    fc.property(offers, requests, known, more, (list, request, of, [other, key]) => {
      const empty = Array.isArray(request.need[key])
        ? (request.need[key] as unknown[]).length === 0
        : !request.need[key]
      const less = empty ? request : { ...request, need: { ...request.need, [key]: requestWith().need[key] } }
      const with1 = { ...less, need: { ...less.need, [key]: other[key] } }
      const before = fittingIds(match(list, less, { facts: of }))
      for (const id of fittingIds(match(list, with1, { facts: of }))) t.true(before.has(id))
    }),
    { numRuns: 500 },
  )
})

test('match() lists each offer once, ranks without gaps, and scores from 0 to 1', (t) => {
  fc.assert(
    fc.property(offers, requests, known, (list, request, of) => {
      const { candidates, considered, fitting } = match(list, request, { facts: of })
      t.is(considered, list.length)
      t.deepEqual(
        candidates.map(({ offer }) => offer.id).toSorted(),
        list.map(({ id }) => id),
      )
      t.deepEqual(
        candidates.map(({ rank }) => rank),
        candidates.map((_, i) => (i < fitting ? i + 1 : null)),
      )
      for (const [i, { rank, failed, score, terms }] of candidates.entries()) {
        t.is(rank === null, failed.length > 0)
        t.true(score >= 0 && score <= 1)
        for (const { value } of Object.values(terms)) t.true(value >= 0 && value <= 1)
        if (i > 0 && i < fitting) t.true(score <= candidates[i - 1].score)
      }
    }),
    { numRuns: 300 },
  )
})

test('match() lists with a limit what it lists first without', (t) => {
  fc.assert(
    fc.property(offers, requests, fc.nat(4), fc.nat(4), (list, request, limit, failing) => {
      const all = match(list, request).candidates
      const expected = [
        ...all.filter(({ rank }) => rank !== null).slice(0, limit),
        ...all.filter(({ rank }) => rank === null).slice(0, failing),
      ]
      t.deepEqual(match(list, request, { limit, failing }).candidates, expected)
    }),
    { numRuns: 200 },
  )
})

function fittingIds({ candidates }: ReturnType<typeof match>): Set<string> {
  return new Set(candidates.filter(({ rank }) => rank !== null).map(({ offer }) => offer.id))
}
