import test from 'ava'
import fc from 'fast-check'
import { decodeCatalog, encodeCatalog, framesOf } from '../../protocol/catalog-codec.ts'
import type { CatalogMessage, SignedOffer } from '../../protocol/catalog-message.ts'
import {
  MAX_CATALOG_FRAME_BYTES,
  MAX_CHAIN_STEPS,
  MAX_ENTRIES_PER_FRAME,
  MAX_OFFERS_PER_FRAME,
  MAX_OFFER_BYTES,
} from '../../protocol/limits.ts'
import { fluidcloud } from '../../protocol/pb/catalog.js'
import { catalogMessages } from './arbitraries.ts'
import { plain, violates } from './assertions.ts'
import { matchRequest } from './samples.ts'

const { Frame } = fluidcloud.catalog.v1
type WireFrame = fluidcloud.catalog.v1.Frame.$Properties

function offerOf(bytes: number): SignedOffer {
  return { body: new Uint8Array(bytes), signature: new Uint8Array(64) }
}

test('encodeCatalog() round-trips every message', (t) => {
  fc.assert(
    fc.property(catalogMessages, (message) => {
      t.deepEqual(plain(decodeCatalog(encodeCatalog(message))), plain(message))
    }),
    { numRuns: 500 },
  )
})

test('decodeCatalog() keeps nothing of the buffer it read', (t) => {
  const message: CatalogMessage = { kind: 'publish', offers: [offerOf(100)] }
  const bytes = encodeCatalog(message)
  const read = decodeCatalog(bytes)
  bytes.fill(0xff)
  t.deepEqual(plain(read), plain(message))
})

test('decodeCatalog() hands on an offer that is none, for a verdict of its own', (t) => {
  const message: CatalogMessage = {
    kind: 'publish',
    offers: [{ body: new Uint8Array(MAX_OFFER_BYTES + 1), signature: new Uint8Array() }, offerOf(0)],
  }
  t.deepEqual(plain(decodeCatalog(encodeCatalog(message))), plain(message))
})

test('decodeCatalog() ignores fields and messages of a later version', (t) => {
  t.deepEqual(decodeCatalog(Uint8Array.of(0xa2, 0x06, 0x00)), { kind: 'unknown' })
})

test('decodeCatalog() reads a request without any of its parts as one that all offers fit', (t) => {
  t.like(decodeCatalog(Frame.encode({ query: { limit: 1 } }).finish()), {
    kind: 'query',
    request: { need: { vcpus: 0, formats: [], direct: false }, want: { price: 0 }, have: { currency: '' } },
  })
})

test('framesOf() cuts offers so that each part fits into a frame, and loses none', (t) => {
  const size = fc.oneof(fc.nat(1000), fc.integer({ min: 1000, max: MAX_OFFER_BYTES }))
  fc.assert(
    fc.property(fc.array(size, { maxLength: 600 }), (sizes) => {
      const parts = [...framesOf(sizes.map(offerOf))]
      t.deepEqual(
        parts.flat().map(({ body }) => body.length),
        sizes,
      )
      for (const offers of parts) {
        const bytes = encodeCatalog({
          kind: 'offers',
          offers,
          more: true,
          considered: 2 ** 32 - 1,
          fitting: 1,
        })
        t.true(bytes.length <= MAX_CATALOG_FRAME_BYTES && offers.length <= MAX_OFFERS_PER_FRAME)
      }
    }),
    { numRuns: 20 },
  )
})

test('framesOf() makes one empty part of nothing, since every request is answered', (t) => {
  t.deepEqual([...framesOf([])], [[]])
})

test('encodeCatalog() fits the most entries, and positions, into a frame', (t) => {
  const entries = Array.from({ length: MAX_ENTRIES_PER_FRAME }, (_, i) => {
    const position = Buffer.alloc(16)
    position.writeUInt32BE(i)
    return { position, sequence: Number.MAX_SAFE_INTEGER }
  })
  t.true(encodeCatalog({ kind: 'entries', entries, more: true }).length < MAX_CATALOG_FRAME_BYTES)
  const positions = entries.map(({ position }) => position)
  t.true(encodeCatalog({ kind: 'fetch', positions }).length < MAX_CATALOG_FRAME_BYTES)
  violates(t, () => encodeCatalog({ kind: 'fetch', positions: [...positions, positions[0]] }))
})

test('encodeCatalog() fits the longest chain of the largest offers into a frame', (t) => {
  const offers = Array<SignedOffer>(MAX_CHAIN_STEPS).fill(offerOf(MAX_OFFER_BYTES))
  const reason = 'x'.repeat(1024)
  t.true(encodeCatalog({ kind: 'chain', offers, reason }).length < MAX_CATALOG_FRAME_BYTES)
})

test('encodeCatalog() refuses a frame that is too long', (t) => {
  violates(t, () => encodeCatalog({ kind: 'publish', offers: Array(17).fill(offerOf(MAX_OFFER_BYTES)) }))
})

const refused = test.macro((t, frame: WireFrame) => {
  violates(t, () => decodeCatalog(Frame.encode(frame).finish()))
})

const position = new Uint8Array(16)
const first = Buffer.from('0100000000000000', 'hex')
const node = { prefix: Uint8Array.of(1), entries: 1, digest: new Uint8Array(16) }
const query = { request: {}, limit: 1 }
const needing = (need: object) => ({ query: { request: { need }, limit: 1 } })

test('decodeCatalog() refuses to publish nothing', refused, { publish: {} })
test('decodeCatalog() refuses to publish 257 offers', refused, {
  publish: { offers: Array<object>(257).fill(offerOf(1)) },
})
test('decodeCatalog() refuses no verdicts', refused, { published: {} })
test('decodeCatalog() refuses a verdict it does not know', refused, {
  published: { verdicts: [{ outcome: 99 as 1 }] },
})
test('decodeCatalog() refuses limit 0', refused, { query: { ...query, limit: 0 } })
test('decodeCatalog() refuses limit 257', refused, { query: { ...query, limit: 257 } })
test('decodeCatalog() refuses 257 failing', refused, { query: { ...query, failing: 257 } })
test('decodeCatalog() refuses a watch without a limit', refused, { watch: {} })
test('decodeCatalog() refuses a million processors and one', refused, needing({ vcpus: 1_000_001 }))
test('decodeCatalog() refuses a size that is not exact', refused, needing({ memoryBytes: 2 ** 53 }))
test('decodeCatalog() refuses 17 needed formats', refused, needing({ formats: Array(17).fill('raw') }))
test('decodeCatalog() refuses 33 needed features', refused, needing({ features: Array(33).fill('live') }))
test('decodeCatalog() refuses 65 jurisdictions', refused, needing({ jurisdictions: Array(65).fill('CH') }))
test('decodeCatalog() refuses a country in words', refused, needing({ jurisdictions: ['Switzerland'] }))
test('decodeCatalog() refuses a negative weight', refused, {
  query: { request: { want: { price: -1 } }, limit: 1 },
})
test('decodeCatalog() refuses a weight that is no number', refused, {
  query: { request: { want: { rtt: NaN } }, limit: 1 },
})
test('decodeCatalog() refuses a weight over the limit', refused, {
  query: { request: { want: { outcomes: 1001 } }, limit: 1 },
})
test('decodeCatalog() refuses a currency in words', refused, {
  query: { request: { have: { currency: 'Euro' } }, limit: 1 },
})
test('decodeCatalog() refuses a list of a provider that is no peer', refused, {
  list: { peer: 'alpine', limit: 1 },
})
test('decodeCatalog() refuses a list after half a position', refused, {
  list: { after: new Uint8Array(8), limit: 1 },
})
test('decodeCatalog() refuses to resolve from nothing', refused, { resolve: { accepts: ['a'] } })
test('decodeCatalog() refuses to resolve to nothing', refused, { resolve: { produces: ['a'] } })
test('decodeCatalog() refuses to resolve from 17 kinds', refused, {
  resolve: { produces: Array<string>(17).fill('a'), accepts: ['a'] },
})
test('decodeCatalog() refuses to prefer what is no peer', refused, {
  resolve: { produces: ['a'], accepts: ['b'], preferred: ['alpine'] },
})
test('decodeCatalog() refuses a chain of 9 hosts', refused, {
  chain: { offers: Array<object>(9).fill(offerOf(1)) },
})
test('decodeCatalog() refuses a gap it does not know', refused, { chain: { gap: 4 as 3 } })
test('decodeCatalog() refuses to summarise nothing', refused, { summarise: {} })
test('decodeCatalog() refuses to summarise 17 prefixes', refused, {
  summarise: { prefixes: Array<Uint8Array>(17).fill(Uint8Array.of(1)) },
})
test('decodeCatalog() refuses to summarise below 4 bytes', refused, {
  summarise: { prefixes: [new Uint8Array(4)] },
})
test('decodeCatalog() refuses a node that is not below the prefix', refused, {
  summary: { prefix: Uint8Array.of(2), nodes: [{ ...node, prefix: Uint8Array.of(1, 1) }] },
})
test('decodeCatalog() refuses a node without entries', refused, {
  summary: { nodes: [{ ...node, entries: 0 }] },
})
test('decodeCatalog() refuses nodes in disorder', refused, { summary: { nodes: [node, node] } })
test('decodeCatalog() refuses to enumerate 257 prefixes', refused, {
  enumerate: { prefixes: Array<Uint8Array>(257).fill(Uint8Array.of(1)) },
})
test('decodeCatalog() refuses to enumerate everything twice', refused, {
  enumerate: { prefixes: [new Uint8Array(), new Uint8Array()] },
})
test('decodeCatalog() refuses to enumerate below a prefix of another', refused, {
  enumerate: { prefixes: [Uint8Array.of(1, 2), Uint8Array.of(3), Uint8Array.of(1)] },
})
test('decodeCatalog() refuses half an entry', refused, { entries: { entries: new Uint8Array(12) } })
test('decodeCatalog() refuses an entry with sequence 0', refused, {
  entries: { entries: new Uint8Array(24) },
})
test('decodeCatalog() refuses entries in disorder', refused, {
  entries: { entries: Buffer.concat([position, first, position, first]) },
})
test('decodeCatalog() refuses to fetch nothing', refused, { fetch: {} })
test('decodeCatalog() refuses half a position', refused, { fetch: { positions: new Uint8Array(8) } })
test('decodeCatalog() refuses terminal escapes in a refusal', refused, {
  refused: { code: 24, message: '\u001b]0;x\u0007' },
})

test('encodeCatalog() refuses weights that a broker would', (t) => {
  const want = { ...matchRequest.want, price: 1e6 }
  violates(t, () => encodeCatalog({ kind: 'watch', request: { ...matchRequest, want }, limit: 1 }))
})
