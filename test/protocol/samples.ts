/** One message of every kind, as the golden frames in test/fixtures/frames hold it. Add to them; never change one. */
import { decodeAgreement, encodeAgreement } from '../../protocol/agreement.ts'
import { decodeCatalog, encodeCatalog } from '../../protocol/catalog-codec.ts'
import type { CatalogMessage, MatchRequest, Offer } from '../../protocol/catalog-message.ts'
import { decodeOffer, encodeOffer, tombstoneOf } from '../../protocol/catalog-offer.ts'
import {
  LANE_PREFIX_BYTES,
  decodeLaneHeader,
  encodeLaneHeader,
  parseLanePrefix,
} from '../../protocol/codec.ts'
import { decodeControl, encodeControl } from '../../protocol/control-codec.ts'
import type {
  Agreement,
  Capabilities,
  ControlMessage,
  LaneEndpoint,
  Receipt,
} from '../../protocol/control-message.ts'
import { createFrameReader, frameControl } from '../../protocol/frame-reader.ts'
import type { LaneMessage } from '../../protocol/lane-message.ts'
import { MAX_CONTROL_FRAME_BYTES } from '../../protocol/limits.ts'
import { decodePairing, encodePairing, type PairingMessage } from '../../protocol/pairing-codec.ts'
import { decodeReceipt, encodeReceipt } from '../../protocol/receipt.ts'
import { decodeRelocation, encodeRelocation } from '../../protocol/relocation-codec.ts'
import { decodeBody, encodeBody, type BodyKind } from '../../protocol/relocation-signed.ts'
import { LANE_END } from '../../transfer/lanes/frame-inbox.ts'
import { bodies, refusal, relocationFrames } from './relocation-samples.ts'

const SENDER = '12D3KooWGRUyh3ecZ7tL2ipCKU2D2NFkm7xgCHZ4hVKjhqPN8tr1'
const RECEIVER = '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq'
const CHUNKING = 'fastcdc-v1/32768-65536-262144'
const AT = Date.UTC(2026, 10, 22, 12)

function ascending(first: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (first + i) % 256)
}

const job = ascending(0x10, 16)
const root = ascending(0x40, 32)
const signature = ascending(0x80, 64)
const capabilities: Capabilities = {
  chunkings: [CHUNKING, 'fixed-v1/65536'],
  codecs: ['zstd', 'raw'],
  lanes: ['tls', 'libp2p'],
  formats: ['raw', 'qcow2'],
  maxLanes: 64,
}
const endpoint: LaneEndpoint = {
  addresses: ['192.0.2.7:4041', '[2001:db8::7]:4041'],
  token: ascending(0x20, 16),
  certificate: ascending(0x30, 12),
}
const agreement: Agreement = {
  job,
  sender: SENDER,
  receiver: RECEIVER,
  destination: 'web/disk.raw',
  sizeBytes: 8 * 2 ** 30,
  allocatedBytes: 2_759_852_032,
  snapshot: '8589934592-1763812800000-4711',
  targetFormat: 'raw',
  replace: true,
  verifyDeep: true,
  chunking: CHUNKING,
  codecs: ['zstd', 'raw'],
  lanes: 4,
  minor: 0,
  agreedAtMs: AT,
  replacesExisting: true,
  freeBytes: 500 * 2 ** 30,
  resumes: true,
}
const receipt: Receipt = {
  job,
  sender: SENDER,
  receiver: RECEIVER,
  destination: 'web/disk.raw',
  snapshot: '8589934592-1763812800000-4711',
  sizeBytes: 8 * 2 ** 30,
  root,
  chunking: CHUNKING,
  chunks: 42_112,
  dataBytes: 2_759_852_032,
  zeroBytes: 5_830_082_560,
  sentBytes: 2_000_000_000,
  dedupedBytes: 759_852_032,
  resumedBytes: 33_554_432,
  wireBytes: 901_000_000,
  path: 'tls',
  verifiedDeep: true,
  startedAtMs: AT,
  finishedAtMs: AT + 60_000,
  agreementDigest: ascending(0xc0, 32),
}
const controls: ControlMessage[] = [
  { kind: 'hello', major: 1, minor: 0, agent: 'fluidcloud/0.1.0', capabilities },
  {
    kind: 'offer',
    job,
    destination: 'web/disk.raw',
    sizeBytes: 8 * 2 ** 30,
    allocatedBytes: 2_759_852_032,
    sourceFormat: 'qcow2',
    snapshot: '8589934592-1763812800000-4711',
    targetFormat: 'raw',
    replace: true,
    verifyDeep: true,
    chunkings: capabilities.chunkings,
    codecs: capabilities.codecs,
    lanes: 4,
    dryRun: false,
    endpoint,
    label: 'disk.qcow2',
    compression: 'on',
  },
  { kind: 'pending', reason: 'Waiting for the owner to approve' },
  { kind: 'agreement', body: encodeAgreement(agreement), signature, endpoint },
  {
    kind: 'refusal',
    reasons: [
      { code: 'NAME_EXISTS', message: 'Destination web/disk.raw exists already' },
      { code: 'NO_SPACE', message: 'Volume holds 2759852032 bytes of data, 1048576 bytes are free' },
    ],
  },
  { kind: 'accept', signature },
  {
    kind: 'committed',
    ranges: [
      { start: 0, end: 4_194_304 },
      { start: 8_388_608, end: 12_582_912 },
    ],
    more: true,
  },
  { kind: 'lane-report', opened: 4, reason: 'connected to 192.0.2.7:4041' },
  { kind: 'checkpoint', ranges: [{ start: 4_194_304, end: 8_388_608 }] },
  { kind: 'pause', reason: 'Target disk is full' },
  { kind: 'resume' },
  { kind: 'cancel', reason: 'Cancelled by the operator' },
  {
    kind: 'complete',
    root,
    totals: {
      sentBytes: 2_000_000_000,
      wireBytes: 900_000_000,
      resumedBytes: 33_554_432,
      startedAtMs: AT,
      path: 'tls',
    },
  },
  { kind: 'verifying', doneBytes: 2 ** 30, totalBytes: 8 * 2 ** 30 },
  {
    kind: 'receipt',
    body: encodeReceipt(receipt),
    receiverSignature: signature,
    senderSignature: ascending(0, 64),
  },
  { kind: 'status', code: 'SOURCE_READ', message: 'Reading 1048576 bytes failed', fatal: true, offset: 0 },
  { kind: 'heartbeat', doneBytes: 12_582_912 },
  { kind: 'verify-request', job, deep: true },
  {
    kind: 'verify-result',
    root,
    checkedBytes: 8 * 2 ** 30,
    error: { code: 'JOB_UNKNOWN', message: 'No such job' },
  },
]
const benchControls: [string, ControlMessage][] = [
  [
    'viaduct-offer-bench',
    {
      kind: 'offer',
      job,
      destination: '.bench',
      sizeBytes: 2 ** 30,
      allocatedBytes: 2 ** 30,
      sourceFormat: 'raw',
      snapshot: 'bench:1073741824',
      targetFormat: 'raw',
      replace: false,
      verifyDeep: false,
      chunkings: capabilities.chunkings,
      codecs: capabilities.codecs,
      lanes: 4,
      dryRun: false,
      endpoint,
      label: 'bench',
      compression: 'auto',
      bench: true,
    },
  ],
  [
    'viaduct-receipt-bench',
    { kind: 'receipt', body: encodeReceipt(receipt), receiverSignature: signature, cpuMs: 1234 },
  ],
  ['viaduct-committed-unasked', { kind: 'committed', ranges: [], more: false, unaskedBytes: 131_072 }],
]
const lanes: [LaneMessage, Uint8Array, name?: string][] = [
  [{ kind: 'open', token: endpoint.token, lane: 3 }, new Uint8Array()],
  [{ kind: 'have', window: 1, start: 0, end: 12_582_912 }, ascending(0, 88)],
  [{ kind: 'have', window: 1, start: 0, end: 12_582_912, unasked: 1 }, ascending(0, 88), 'have-unasked'],
  [{ kind: 'want', window: 1, idlePermille: 250 }, Uint8Array.of(0b10)],
  [{ kind: 'want', window: 1, idlePermille: 250, based: true }, Uint8Array.of(0b11, 0b10), 'want-based'],
  [{ kind: 'blocks', window: 1 }, ascending(0x10, 8)],
  [{ kind: 'want-blocks', window: 1 }, Uint8Array.of(0b10)],
  [{ kind: 'data', window: 1, first: 1, count: 1, codec: 'zstd', rawBytes: 65_536 }, ascending(0, 20)],
  [{ kind: 'error', code: 10, message: 'Chunk at offset 65536 does not match its digest' }, new Uint8Array()],
  [{ kind: 'bye' }, new Uint8Array()],
]
const pairings: PairingMessage[] = [
  { kind: 'redeem', ticketId: ascending(0x50, 16), secret: ascending(0x60, 32), name: 'Alpine Cloud' },
  { kind: 'request', name: 'Alpine Cloud' },
  { kind: 'paired', name: 'Harbour Cloud', grant: { write: true, maxBytes: 2 ** 40, ask: true } },
  { kind: 'refused', code: 'TICKET_INVALID', message: 'Ticket is used up' },
  { kind: 'waiting' },
]

/** The offer that cli.md and catalog.md show. */
export const catalogOffer: Offer = {
  id: Buffer.from(ascending(0xa0, 16)).toString('hex'),
  peer: RECEIVER,
  sequence: 7,
  issuedAtMs: AT,
  expiresAtMs: AT + 3_600_000,
  withdrawn: false,
  provider: 'Alpine Cloud',
  place: { region: 'ch-gva-2', jurisdiction: 'CH' },
  cloud: { kind: 'qemu', formats: ['raw', 'qcow2'], features: ['live'], certifications: ['iso27001'] },
  capacity: {
    vcpus: 64,
    memoryBytes: 256 * 2 ** 30,
    storageBytes: 20 * 2 ** 40,
    maxVolumeBytes: 16 * 2 ** 40,
  },
  price: {
    currency: 'EUR',
    vcpuHourMicros: 20_000,
    memoryGibHourMicros: 3_000,
    storageGibMonthMicros: 50_000,
    egressGibMicros: 10_000,
    ingressGibMicros: 0,
  },
  migrators: [
    { name: 'convert', version: '1.0.0', accepts: ['disk/vmdk', 'disk/qcow2'], produces: ['disk/raw'] },
  ],
  addresses: [`/ip4/192.0.2.7/tcp/4001/p2p/${RECEIVER}`],
}

/** The request that cli.md and catalog.md show. */
export const matchRequest: MatchRequest = {
  need: {
    vcpus: 2,
    memoryBytes: 4 * 2 ** 30,
    storageBytes: 20 * 2 ** 30,
    maxVolumeBytes: 0,
    formats: ['qcow2'],
    features: ['live'],
    jurisdictions: ['CH', 'EU'],
    certifications: ['iso27001'],
    direct: true,
  },
  want: { price: 3, egress: 1, moveTime: 2, rtt: 1, outcomes: 0 },
  have: { allocatedBytes: 6 * 2 ** 30, egressGibMicros: 90_000, currency: '' },
}
const signedOffer = { body: encodeOffer(catalogOffer), signature }
const position = ascending(0x50, 16)
const catalogs: CatalogMessage[] = [
  { kind: 'publish', offers: [signedOffer] },
  {
    kind: 'published',
    verdicts: [
      { outcome: 'kept', message: '' },
      { outcome: 'expired', message: 'Lease ended 60000 ms ago' },
    ],
  },
  { kind: 'query', request: matchRequest, limit: 16, failing: 16 },
  { kind: 'watch', request: matchRequest, limit: 1 },
  { kind: 'list', peer: RECEIVER, after: position, limit: 100 },
  { kind: 'offers', offers: [signedOffer], more: true, considered: 10_000, fitting: 12 },
  { kind: 'summarise', prefixes: [new Uint8Array(), Uint8Array.of(0x50)] },
  {
    kind: 'summary',
    prefix: Uint8Array.of(0x50),
    nodes: [
      { prefix: Uint8Array.of(0x50, 0x51), entries: 1, digest: ascending(0x60, 16) },
      { prefix: Uint8Array.of(0x50, 0xfe), entries: 2, digest: ascending(0x70, 16) },
    ],
    more: false,
  },
  { kind: 'enumerate', prefixes: [Uint8Array.of(0x50, 0x51)] },
  { kind: 'entries', entries: [{ position, sequence: 7 }], more: false },
  { kind: 'fetch', positions: [position] },
  { kind: 'refused', code: 'LIMIT_EXCEEDED', message: 'Too many watches' },
  { kind: 'resolve', produces: ['disk/vmdk'], accepts: ['disk/raw', 'disk/qcow2'], preferred: [SENDER] },
  { kind: 'chain', offers: [signedOffer], reason: '' },
]
const gap: [string, CatalogMessage] = [
  'catalog-chain-gap',
  { kind: 'chain', offers: [], gap: 'source', reason: 'No Migrator accepts disk/ova' },
]

/** A frame as it is on the wire, and what must be read from it. */
export interface Sample {
  /** Name of the fixture without its extension. */
  readonly name: string
  readonly value: unknown
  readonly encode: () => Uint8Array
  readonly decode: (bytes: Uint8Array) => unknown
}

export const SAMPLES: readonly Sample[] = [
  ...[...controls.map((value) => [`viaduct-${value.kind}`, value] as const), ...benchControls].map(
    ([name, value]) => ({
      name,
      value,
      encode: () => frameControl(encodeControl(value)),
      decode: (bytes: Uint8Array) => decodeControl(unframe(bytes)),
    }),
  ),
  ...lanes.map(([message, payload, name = message.kind]) => ({
    name: `chunks-${name}`,
    value: { message, payload },
    encode: () => Buffer.concat([encodeLaneHeader(message, payload.length), payload]),
    decode: decodeLaneFrame,
  })),
  {
    name: 'chunks-end',
    value: 'end',
    encode: () => LANE_END,
    decode: (bytes) => (Buffer.compare(bytes, LANE_END) === 0 ? 'end' : bytes),
  },
  ...pairings.map((value) => ({
    name: `pairing-${value.kind}`,
    value,
    encode: () => frameControl(encodePairing(value)),
    decode: (bytes: Uint8Array) => decodePairing(unframe(bytes)),
  })),
  ...[...catalogs.map((value) => [`catalog-${value.kind}`, value] as const), gap].map(([name, value]) => ({
    name,
    value,
    encode: () => frameControl(encodeCatalog(value)),
    decode: (bytes: Uint8Array) => decodeCatalog(unframe(bytes)),
  })),
  ...[
    ...relocationFrames.map((frame) => [`relocation-${frame.message.kind}`, frame] as const),
    ['relocation-answer-no', refusal] as const,
  ].map(([name, value]) => ({
    name,
    value,
    encode: () => frameControl(encodeRelocation(value)),
    decode: (bytes: Uint8Array) => decodeRelocation(unframe(bytes)),
  })),
  ...(Object.keys(bodies) as BodyKind[]).map((kind) => ({
    name: `body-${kind}`,
    value: bodies[kind],
    encode: () => encodeBody(kind, bodies[kind]),
    decode: (bytes: Uint8Array) => decodeBody(kind, bytes),
  })),
  {
    name: 'body-tombstone',
    value: tombstoneOf(catalogOffer, AT + 60_000),
    encode: () => encodeOffer(tombstoneOf(catalogOffer, AT + 60_000)),
    decode: decodeOffer,
  },
  {
    name: 'body-agreement',
    value: agreement,
    encode: () => encodeAgreement(agreement),
    decode: decodeAgreement,
  },
  {
    name: 'body-offer',
    value: catalogOffer,
    encode: () => encodeOffer(catalogOffer),
    decode: decodeOffer,
  },
  { name: 'body-receipt', value: receipt, encode: () => encodeReceipt(receipt), decode: decodeReceipt },
]

function unframe(bytes: Uint8Array): Uint8Array {
  return createFrameReader(MAX_CONTROL_FRAME_BYTES).push(bytes)[0]
}

function decodeLaneFrame(bytes: Uint8Array): unknown {
  const { headerBytes, payloadBytes } = parseLanePrefix(bytes)
  const payload = bytes.subarray(LANE_PREFIX_BYTES + headerBytes)
  if (payload.length !== payloadBytes)
    throw new RangeError(`Frame holds ${payload.length} bytes, not ${payloadBytes}`)
  return {
    message: decodeLaneHeader(bytes.subarray(LANE_PREFIX_BYTES, LANE_PREFIX_BYTES + headerBytes)),
    payload,
  }
}
