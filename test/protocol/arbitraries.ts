/** Generators of every valid message, for properties of the codecs. */
import fc from 'fast-check'
import type { CatalogMessage, MatchRequest, Offer, Outcome } from '../../protocol/catalog-message.ts'
import type { Agreement, ControlMessage, LaneEndpoint, Receipt } from '../../protocol/control-message.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { RangeSet, type Range } from '../../protocol/extent.ts'
import { isPrintable } from '../../protocol/field.ts'
import type { LaneMessage } from '../../protocol/lane-message.ts'
import {
  DATA_FRAME_BYTES,
  MAX_LANES,
  MAX_VOLUME_BYTES,
  MAX_WINDOW_CHUNKS,
  UNASKED_BYTES,
} from '../../protocol/limits.ts'
import type { PairingMessage } from '../../protocol/pairing-codec.ts'

type Arbitraries<T> = { [K in keyof T]-?: fc.Arbitrary<T[K]> }

const kind = <const K extends string>(name: K) => fc.constant(name)
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter(isPrintable)
const label = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
  .filter((value) => isPrintable(value))
const token = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._/+-]{0,40}$/)
const tokens = fc.array(token, { maxLength: 16 })
const volume = fc.integer({ min: 0, max: MAX_VOLUME_BYTES })
const total = fc.nat(Number.MAX_SAFE_INTEGER)
const time = fc.integer({ min: 0, max: 4e12 })
const count = fc.integer({ min: 1, max: 64 })
const code = fc.constantFrom(...(Object.keys(ERRORS) as ErrorCode[]))
const reason = fc.record({ code, message: text })
const job = bytes(16)
const digest = bytes(32)
const signature = bytes(64)

/** Ascending, disjoint, in normal form. */
export const ranges: fc.Arbitrary<Range[]> = fc
  .array(fc.tuple(volume, fc.integer({ min: 1, max: 2 ** 40 })), { maxLength: 20 })
  .map((pairs) =>
    pairs.map(([start, length]) => ({ start, end: Math.min(start + length, MAX_VOLUME_BYTES) })),
  )
  .map((list) => [...new RangeSet(list.filter(({ start, end }) => start < end))])

const endpoint: fc.Arbitrary<LaneEndpoint> = fc.record({
  addresses: fc.array(fc.constantFrom('127.0.0.1:1', '[::1]:65535', 'vm-3.example:4040'), { maxLength: 16 }),
  token: bytes(16),
  certificate: fc.uint8Array({ minLength: 1, maxLength: 500 }),
})

const agreementFields: Arbitraries<Agreement> = {
  job,
  sender: label,
  receiver: label,
  destination: label,
  sizeBytes: volume,
  allocatedBytes: volume,
  snapshot: text,
  targetFormat: token,
  replace: fc.boolean(),
  verifyDeep: fc.boolean(),
  chunking: token,
  codecs: fc.array(token, { minLength: 1, maxLength: 16 }),
  lanes: count,
  minor: fc.nat(),
  agreedAtMs: time,
  replacesExisting: fc.boolean(),
  freeBytes: total,
  resumes: fc.boolean(),
  mostLanes: count,
  inPlace: fc.constant(true as const),
}

const receiptFields: Arbitraries<Receipt> = {
  job,
  sender: label,
  receiver: label,
  destination: label,
  snapshot: text,
  sizeBytes: volume,
  root: digest,
  chunking: token,
  chunks: total,
  dataBytes: volume,
  zeroBytes: volume,
  sentBytes: total,
  dedupedBytes: total,
  resumedBytes: volume,
  wireBytes: total,
  path: text,
  verifiedDeep: fc.boolean(),
  startedAtMs: time,
  finishedAtMs: time,
  agreementDigest: digest,
}

export const agreements: fc.Arbitrary<Agreement> = fc.record(agreementFields)
export const receipts: fc.Arbitrary<Receipt> = fc.record(receiptFields)

const capabilities = fc.record({
  chunkings: tokens,
  codecs: tokens,
  lanes: tokens,
  formats: tokens,
  maxLanes: fc.nat(65_535),
})

const offer = fc.record(
  {
    kind: kind('offer'),
    job,
    destination: label,
    sizeBytes: volume,
    allocatedBytes: volume,
    sourceFormat: text,
    snapshot: text,
    targetFormat: token,
    replace: fc.boolean(),
    verifyDeep: fc.boolean(),
    chunkings: tokens,
    codecs: tokens,
    lanes: count,
    dryRun: fc.boolean(),
    endpoint,
    label: text,
    compression: fc.constantFrom('auto', 'on', 'off'),
    bench: fc.constant(true as const),
    mostLanes: count,
    inPlace: fc.constant(true as const),
  },
  { noNullPrototype: true },
)

function without<T extends object, K extends keyof T>(arbitrary: fc.Arbitrary<T>, key: K): fc.Arbitrary<T> {
  return fc.tuple(arbitrary, fc.boolean()).map(([value, drop]) => {
    if (!drop) return value
    const { [key]: _, ...rest } = value
    return rest as T
  })
}

export const controlMessages: fc.Arbitrary<ControlMessage> = fc.oneof(
  fc.record({ kind: kind('hello'), major: fc.constant(1), minor: fc.nat(), agent: text, capabilities }),
  without(without(without(without(offer, 'endpoint'), 'bench'), 'mostLanes'), 'inPlace'),
  fc.record({ kind: kind('pending'), reason: text }),
  without(
    fc.record({ kind: kind('agreement'), body: fc.uint8Array({ minLength: 1 }), signature, endpoint }),
    'endpoint',
  ),
  fc.record({ kind: kind('refusal'), reasons: fc.array(reason, { minLength: 1, maxLength: 16 }) }),
  fc.record({ kind: kind('accept'), signature }),
  fc.record({ kind: kind('accept'), signature, renewed: ranges.filter((some) => some.length > 0) }),
  fc.record(
    {
      kind: kind('committed'),
      ranges,
      more: fc.boolean(),
      unaskedBytes: fc.integer({ min: 1, max: UNASKED_BYTES }),
    },
    { requiredKeys: ['kind', 'ranges', 'more'] },
  ),
  fc.record({ kind: kind('lane-report'), opened: fc.nat(64), reason: text }),
  fc.record({ kind: kind('checkpoint'), ranges }),
  fc.record({ kind: kind('pause'), reason: text }),
  fc.record({ kind: kind('resume') }),
  fc.record({ kind: kind('cancel'), reason: text }),
  fc.record({
    kind: kind('complete'),
    root: digest,
    totals: fc.record({
      sentBytes: total,
      wireBytes: total,
      resumedBytes: volume,
      startedAtMs: time,
      path: text,
    }),
  }),
  fc.record({ kind: kind('verifying'), doneBytes: volume, totalBytes: volume }),
  without(
    fc.record({
      kind: kind('receipt'),
      body: fc.uint8Array({ minLength: 1 }),
      receiverSignature: signature,
      senderSignature: signature,
      cpuMs: fc.integer({ min: 1 }),
    }),
    'senderSignature',
  ),
  without(
    fc.record({ kind: kind('status'), code, message: text, fatal: fc.boolean(), offset: volume }),
    'offset',
  ),
  fc.record({ kind: kind('heartbeat'), doneBytes: volume }),
  fc.record({ kind: kind('verify-request'), job, deep: fc.boolean() }),
  without(
    fc.record({ kind: kind('verify-result'), root: digest, checkedBytes: volume, error: reason }),
    'error',
  ),
)

export const pairingMessages: fc.Arbitrary<PairingMessage> = fc.oneof(
  fc.record({ kind: kind('redeem'), ticketId: bytes(16), secret: bytes(32), name: text }),
  fc.record({ kind: kind('request'), name: text }),
  without(
    fc.record({
      kind: kind('paired'),
      name: text,
      grant: fc.record({ write: fc.boolean(), maxBytes: volume, ask: fc.boolean() }),
    }),
    'grant',
  ),
  fc.record({ kind: kind('refused'), code, message: text }),
  fc.record({ kind: kind('waiting') }),
)

const PEERS = [
  '12D3KooWGRUyh3ecZ7tL2ipCKU2D2NFkm7xgCHZ4hVKjhqPN8tr1',
  '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq',
] as const
const peerId = fc.constantFrom(...PEERS)
const exact = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const micros = fc.integer({ min: 0, max: 10 ** 12 })
const jurisdictions = fc.constantFrom('CH', 'EU', 'DE', 'US', 'US-CA')
const sequence = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const qualities = fc.array(token, { maxLength: 8 })

const stated = fc.record({
  provider: label,
  place: fc.record({ region: text, jurisdiction: fc.oneof(fc.constant(''), jurisdictions) }),
  cloud: fc.record({
    kind: fc.constantFrom('', 'qemu', 'openstack'),
    formats: tokens,
    features: qualities,
    certifications: qualities,
  }),
  capacity: fc.record({
    vcpus: fc.nat(1_000_000),
    memoryBytes: exact,
    storageBytes: exact,
    maxVolumeBytes: exact,
  }),
  migrators: fc.array(
    fc.record({
      name: token,
      version: token,
      accepts: fc.array(token, { minLength: 1, maxLength: 4 }),
      produces: fc.array(token, { minLength: 1, maxLength: 4 }),
    }),
    { maxLength: 4 },
  ),
  addresses: fc.array(fc.constantFrom('/ip4/192.0.2.7/tcp/4001', '/dns/a.example/tcp/1'), { maxLength: 16 }),
})

const NOTHING_STATED: Pick<Offer, keyof (typeof stated extends fc.Arbitrary<infer T> ? T : never)> = {
  provider: '',
  place: { region: '', jurisdiction: '' },
  cloud: { kind: '', formats: [], features: [], certifications: [] },
  capacity: { vcpus: 0, memoryBytes: 0, storageBytes: 0, maxVolumeBytes: 0 },
  migrators: [],
  addresses: [],
}

const price = fc.record({
  currency: fc.constantFrom('EUR', 'USD'),
  vcpuHourMicros: micros,
  memoryGibHourMicros: micros,
  storageGibMonthMicros: micros,
  egressGibMicros: micros,
  ingressGibMicros: micros,
})

/** Every valid offer, tombstones among them. */
export const catalogOffers: fc.Arbitrary<Offer> = fc
  .tuple(
    fc.record({
      id: fc.stringMatching(/^[0-9a-f]{32}$/),
      peer: peerId,
      sequence,
      issuedAtMs: time,
      withdrawn: fc.boolean(),
    }),
    fc.integer({ min: 1, max: 24 * 3_600_000 }),
    stated,
    fc.option(price, { nil: undefined }),
  )
  .map(([head, leaseMs, terms, asked]) => ({
    ...head,
    expiresAtMs: head.issuedAtMs + leaseMs,
    ...(head.withdrawn ? NOTHING_STATED : { ...terms, ...(asked && { price: asked }) }),
  }))

const weight = fc.oneof(fc.nat(10), fc.double({ min: 0, max: 1000, noNaN: true })).map((value) => value + 0)

/** Every valid request. */
export const matchRequests: fc.Arbitrary<MatchRequest> = fc.record({
  need: fc.record({
    vcpus: fc.nat(1_000_000),
    memoryBytes: exact,
    storageBytes: exact,
    maxVolumeBytes: exact,
    formats: tokens,
    features: qualities,
    jurisdictions: fc.array(jurisdictions, { maxLength: 4 }),
    certifications: qualities,
    direct: fc.boolean(),
  }),
  want: fc.record({ price: weight, egress: weight, moveTime: weight, rtt: weight, outcomes: weight }),
  have: fc.record({
    allocatedBytes: exact,
    egressGibMicros: micros,
    currency: fc.constantFrom('', 'EUR'),
  }),
})

const signedOffers = fc.array(
  fc.record({ body: fc.uint8Array({ maxLength: 100 }), signature: fc.uint8Array({ maxLength: 64 }) }),
  { minLength: 1, maxLength: 5 },
)
const limit = fc.integer({ min: 1, max: 256 })
const kindsOfData = fc.array(token, { minLength: 1, maxLength: 16 })
const prefixes = fc.array(fc.uint8Array({ maxLength: 3 }), { minLength: 1, maxLength: 16 })
const outcomes = fc.constantFrom<Outcome>('kept', 'held', 'forged', 'replayed', 'expired', 'crowded', 'hasty')

/** Without those that begin with another. */
function disjoint(all: Uint8Array[]): Uint8Array[] {
  const begins = (one: Uint8Array, other: Uint8Array) =>
    Buffer.from(one).toString('hex').startsWith(Buffer.from(other).toString('hex'))
  return all.filter(
    (one, i) => !all.some((other, k) => k !== i && begins(one, other) && (k < i || !begins(other, one))),
  )
}

function ascending(positions: Uint8Array[]): Uint8Array[] {
  const unique = new Map(positions.map((position) => [Buffer.from(position).toString('hex'), position]))
  return [...unique.keys()].toSorted().map((key) => unique.get(key)!)
}

export const catalogMessages: fc.Arbitrary<CatalogMessage> = fc.oneof(
  fc.record({ kind: kind('publish'), offers: signedOffers }),
  fc.record({
    kind: kind('published'),
    verdicts: fc.array(fc.record({ outcome: outcomes, message: text }), { minLength: 1, maxLength: 5 }),
  }),
  fc.record({ kind: kind('query'), request: matchRequests, limit, failing: fc.nat(256) }),
  fc.record({ kind: kind('watch'), request: matchRequests, limit }),
  without(
    fc.record({
      kind: kind('list'),
      peer: fc.oneof(fc.constant(''), peerId),
      after: bytes(16),
      limit,
    }),
    'after',
  ),
  fc.record({
    kind: kind('offers'),
    offers: signedOffers,
    more: fc.boolean(),
    considered: fc.nat(),
    fitting: fc.nat(),
  }),
  fc.record({
    kind: kind('resolve'),
    produces: kindsOfData,
    accepts: kindsOfData,
    preferred: fc.array(peerId, { maxLength: 16 }),
  }),
  without(
    fc.record({
      kind: kind('chain'),
      offers: signedOffers,
      gap: fc.constantFrom('source', 'target', 'between'),
      reason: text,
    }),
    'gap',
  ),
  fc.record({ kind: kind('summarise'), prefixes }),
  fc.record({
    kind: kind('summary'),
    prefix: fc.constant(Uint8Array.of(7)),
    nodes: fc
      .uniqueArray(fc.nat(255), { maxLength: 8 })
      .map((nexts) =>
        nexts
          .toSorted((a, b) => a - b)
          .map((next) => ({ prefix: Uint8Array.of(7, next), entries: next + 1, digest: new Uint8Array(16) })),
      ),
    more: fc.boolean(),
  }),
  fc.record({ kind: kind('enumerate'), prefixes: prefixes.map(disjoint) }),
  fc.record({
    kind: kind('entries'),
    entries: fc
      .array(bytes(16), { maxLength: 8 })
      .map((positions) => ascending(positions).map((position, i) => ({ position, sequence: i + 1 }))),
    more: fc.boolean(),
  }),
  fc.record({ kind: kind('fetch'), positions: fc.array(bytes(16), { minLength: 1, maxLength: 8 }) }),
  fc.record({ kind: kind('refused'), code, message: text }),
)

const window = fc.integer({ min: 1, max: 2 ** 32 - 1 })

export const laneMessages: fc.Arbitrary<LaneMessage> = fc.oneof(
  fc.record({ kind: kind('open'), token: bytes(16), lane: fc.nat(MAX_LANES - 1) }),
  fc
    .tuple(
      window,
      fc.uniqueArray(volume, { minLength: 2, maxLength: 2 }),
      fc.option(fc.integer({ min: 1, max: MAX_WINDOW_CHUNKS }), { nil: undefined }),
    )
    .map(
      ([number, [a, b], unasked]) =>
        ({
          kind: 'have',
          window: number,
          start: Math.min(a, b),
          end: Math.max(a, b),
          ...(unasked && { unasked }),
        }) as const,
    ),
  fc.record(
    { kind: kind('want'), window, idlePermille: fc.nat(1000), based: fc.constant(true as const) },
    { requiredKeys: ['kind', 'window', 'idlePermille'] },
  ),
  fc.record({ kind: kind('blocks'), window }),
  fc.record({ kind: kind('want-blocks'), window }),
  fc.record({
    kind: kind('data'),
    window,
    first: fc.nat(MAX_WINDOW_CHUNKS / 2),
    count: fc.integer({ min: 1, max: MAX_WINDOW_CHUNKS / 2 - 1 }),
    codec: fc.constantFrom('raw', 'zstd'),
    rawBytes: fc.integer({ min: 4096, max: DATA_FRAME_BYTES }),
  }),
  fc.record({ kind: kind('error'), code: fc.nat(), message: text }),
  fc.record({ kind: kind('bye') }),
)

/** A payload length that fits the message. */
export function payloadOf(message: LaneMessage): number {
  if (message.kind === 'have') return 44 * 3
  if (message.kind === 'want') return message.based ? 4 : 2
  if (message.kind === 'blocks') return 4 * 33
  if (message.kind === 'want-blocks') return 5
  if (message.kind === 'data') return message.codec === 'raw' ? message.rawBytes : 100
  return 0
}
