/**
 * Control messages to protobuf and back, one writer and one reader for each kind; spec viaduct.md, Messages.
 *
 * Readers check every field against limits.ts. What this side would refuse it does not send either: encodeControl()
 * reads its own bytes back. Agreement and receipt bodies have their codecs in agreement.ts and receipt.ts.
 */
import type {
  Capabilities,
  Compression,
  ControlMessage,
  ControlMessageOf,
  LaneEndpoint,
  Reason,
} from './control-message.ts'
import { ERRORS, codeOfWire } from './errors.ts'
import type { Range } from './extent.ts'
import {
  MAX_UINT32,
  MAX_TIME_MS,
  boundedBytes,
  decodeMessage,
  fixedBytes,
  integer,
  list,
  printable,
  text,
  token,
  violation,
} from './field.ts'
import { PROTOCOL_MAJOR } from './ids.ts'
import {
  DIGEST_BYTES,
  JOB_ID_BYTES,
  MAX_ADDRESSES,
  MAX_CERTIFICATE_BYTES,
  MAX_DESTINATION_BYTES,
  MAX_LISTED,
  MAX_NAME_BYTES,
  MAX_RANGES_PER_FRAME,
  MAX_REASONS,
  MAX_SIGNED_BODY_BYTES,
  MAX_TEXT_BYTES,
  MAX_VOLUME_BYTES,
  SIGNATURE_BYTES,
  TOKEN_BYTES,
  UNASKED_BYTES,
} from './limits.ts'
import { fluidcloud } from './pb/viaduct.js'

type V1 = typeof fluidcloud.viaduct.v1
/** A decoded message of the schema: absent scalars have their zero values, absent messages are null. */
type Pb<K extends keyof V1> = InstanceType<V1[K]>
type WireFrame = fluidcloud.viaduct.v1.Frame.$Properties
type WireName = NonNullable<WireFrame['message']>

const { Frame } = fluidcloud.viaduct.v1
/** Lanes a peer may speak of: more than we open, so that a later version can ask and be given less. */
const MAX_LANES_ASKED = 65_535
const NONE: Capabilities = { chunkings: [], codecs: [], lanes: [], formats: [], maxLanes: 0 }
const COMPRESSIONS: readonly Compression[] = ['auto', 'on', 'off']
const ADDRESS = /^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})$/

/** One control frame without its length prefix; throws PROTOCOL_VIOLATION for what a peer would refuse. */
export function encodeControl(message: ControlMessage): Uint8Array {
  if (message.kind === 'unknown') throw new TypeError('A message of an unknown kind cannot be encoded')
  const write = WRITERS[message.kind] as (message: ControlMessage) => WireFrame
  const bytes = Frame.encode(write(message)).finish()
  decodeControl(bytes)
  return bytes
}

/** The message of one control frame; nothing in it refers to `bytes` afterwards. Throws PROTOCOL_VIOLATION. */
export function decodeControl(bytes: Uint8Array): ControlMessage {
  const frame = decodeMessage('Control frame', (reader) => Frame.decode(reader), bytes)
  if (!frame.message) return { kind: 'unknown' }
  const read = READERS[frame.message] as (value: unknown) => ControlMessage
  return read(frame[frame.message])
}

type Writers = {
  readonly [K in Exclude<ControlMessage['kind'], 'unknown'>]: (message: ControlMessageOf<K>) => WireFrame
}

const WRITERS: Writers = {
  hello: ({ major, minor, agent, capabilities }) => ({
    hello: {
      major,
      minor,
      agent: printable(agent, MAX_NAME_BYTES),
      capabilities: writeCapabilities(capabilities),
    },
  }),
  offer: ({ kind: _, compression, chunkings, codecs, label, ...same }) => ({
    offer: {
      ...same,
      chunkings: [...chunkings],
      codecs: [...codecs],
      label: printable(label, MAX_NAME_BYTES),
      endpoint: same.endpoint && writeEndpoint(same.endpoint),
      compression: COMPRESSIONS.indexOf(compression),
    },
  }),
  pending: ({ reason }) => ({ pending: { reason: printable(reason, MAX_TEXT_BYTES) } }),
  agreement: ({ body, signature, endpoint }) => ({
    agreement: { body, signature, endpoint: endpoint && writeEndpoint(endpoint) },
  }),
  refusal: ({ reasons }) => ({ refusal: { reasons: reasons.slice(0, MAX_REASONS).map(writeReason) } }),
  accept: ({ signature, renewed = [] }) => ({ accept: { signature, renewed: writeBounds(renewed) } }),
  committed: ({ ranges, more, unaskedBytes }) => ({
    committed: { bounds: writeBounds(ranges), more, ...(unaskedBytes && { unaskedBytes }) },
  }),
  'lane-report': ({ opened, reason }) => ({
    laneReport: { opened, reason: printable(reason, MAX_TEXT_BYTES) },
  }),
  checkpoint: ({ ranges }) => ({ checkpoint: { bounds: writeBounds(ranges) } }),
  pause: ({ reason }) => ({ pause: { reason: printable(reason, MAX_TEXT_BYTES) } }),
  resume: () => ({ resume: {} }),
  cancel: ({ reason }) => ({ cancel: { reason: printable(reason, MAX_TEXT_BYTES) } }),
  complete: ({ root, totals }) => ({ complete: { root, totals } }),
  verifying: ({ doneBytes, totalBytes }) => ({ verifying: { doneBytes, totalBytes } }),
  receipt: ({ body, receiverSignature, senderSignature, cpuMs }) => ({
    receipt: { body, receiverSignature, senderSignature, cpuMs },
  }),
  status: ({ code, message, fatal, offset }) => ({
    status: { ...writeReason({ code, message }), fatal, offset: offset === undefined ? 0 : offset + 1 },
  }),
  heartbeat: ({ doneBytes }) => ({ heartbeat: { doneBytes } }),
  'verify-request': ({ job, deep }) => ({ verifyRequest: { job, deep } }),
  'verify-result': ({ root, checkedBytes, error }) => ({
    verifyResult: { root, checkedBytes, error: error && writeReason(error) },
  }),
}

/** The generated class behind each member of the oneof. */
type WireClass<K extends WireName> = K extends 'agreement' | 'receipt'
  ? `Signed${Capitalize<K>}`
  : Capitalize<K>
type Readers = { readonly [K in WireName]: (wire: Pb<WireClass<K>>) => ControlMessage }

const READERS: Readers = {
  hello: (wire) => ({
    kind: 'hello',
    major: integer('Protocol major', wire.major, 1, MAX_UINT32),
    minor: integer('Protocol minor', wire.minor, 0, MAX_UINT32),
    agent: text('Agent', wire.agent, MAX_NAME_BYTES),
    // Of an unknown major only the number matters: it is refused.
    capabilities:
      wire.major === PROTOCOL_MAJOR ? readCapabilities(wire.capabilities as Pb<'Capabilities'> | null) : NONE,
  }),
  offer: (wire) => ({
    kind: 'offer',
    job: fixedBytes('Job id', wire.job, JOB_ID_BYTES),
    destination: text('Destination', wire.destination, MAX_DESTINATION_BYTES, 1),
    sizeBytes: integer('Volume size', wire.sizeBytes, 0, MAX_VOLUME_BYTES),
    allocatedBytes: integer('Allocated size', wire.allocatedBytes, 0, MAX_VOLUME_BYTES),
    sourceFormat: text('Source format', wire.sourceFormat, MAX_NAME_BYTES),
    snapshot: text('Snapshot', wire.snapshot, MAX_TEXT_BYTES),
    targetFormat: token('Target format', wire.targetFormat),
    replace: wire.replace,
    verifyDeep: wire.verifyDeep,
    chunkings: list('Chunkings', wire.chunkings, MAX_LISTED, token),
    codecs: list('Codecs', wire.codecs, MAX_LISTED, token),
    lanes: integer('Lanes', wire.lanes, 1, MAX_LANES_ASKED),
    dryRun: wire.dryRun,
    ...readEndpoint(wire.endpoint as Pb<'LaneEndpoint'> | null),
    label: text('Label', wire.label, MAX_NAME_BYTES),
    // A mode of a later version is a wish this side does not know: it decides by itself.
    compression: COMPRESSIONS[wire.compression] ?? 'auto',
    ...(wire.bench && { bench: true }),
    ...(wire.mostLanes > 0 && { mostLanes: integer('Most lanes', wire.mostLanes, 1, MAX_LANES_ASKED) }),
    ...(wire.inPlace && { inPlace: true }),
  }),
  pending: (wire) => ({ kind: 'pending', reason: text('Reason', wire.reason, MAX_TEXT_BYTES) }),
  agreement: (wire) => ({
    kind: 'agreement',
    body: boundedBytes('Agreement', wire.body, 1, MAX_SIGNED_BODY_BYTES),
    signature: fixedBytes('Signature', wire.signature, SIGNATURE_BYTES),
    ...readEndpoint(wire.endpoint as Pb<'LaneEndpoint'> | null),
  }),
  refusal: (wire) => {
    const reasons = list('Reasons', wire.reasons as Pb<'Reason'>[], MAX_REASONS, readReason)
    if (reasons.length === 0) throw violation('Refusal gives no reason')
    return { kind: 'refusal', reasons }
  },
  accept: (wire) => ({
    kind: 'accept',
    signature: fixedBytes('Signature', wire.signature, SIGNATURE_BYTES),
    ...((wire.renewed?.length ?? 0) > 0 && { renewed: readRanges('Renewed', wire.renewed) }),
  }),
  committed: (wire) => ({
    kind: 'committed',
    ranges: readRanges('Committed', wire.bounds),
    more: wire.more,
    ...(wire.unaskedBytes && {
      unaskedBytes: integer('Unasked bytes', wire.unaskedBytes, 0, UNASKED_BYTES),
    }),
  }),
  laneReport: (wire) => ({
    kind: 'lane-report',
    opened: integer('Lanes opened', wire.opened, 0, MAX_LANES_ASKED),
    reason: text('Reason', wire.reason, MAX_TEXT_BYTES),
  }),
  checkpoint: (wire) => ({ kind: 'checkpoint', ranges: readRanges('Checkpoint', wire.bounds) }),
  pause: (wire) => ({ kind: 'pause', reason: text('Reason', wire.reason, MAX_TEXT_BYTES) }),
  resume: () => ({ kind: 'resume' }),
  cancel: (wire) => ({ kind: 'cancel', reason: text('Reason', wire.reason, MAX_TEXT_BYTES) }),
  complete: (wire) => {
    const totals = wire.totals as Pb<'SenderTotals'> | null
    if (!totals) throw violation('Complete carries no totals')
    return {
      kind: 'complete',
      root: fixedBytes('Root', wire.root, DIGEST_BYTES),
      totals: {
        sentBytes: integer('Sent bytes', totals.sentBytes, 0, Number.MAX_SAFE_INTEGER),
        wireBytes: integer('Wire bytes', totals.wireBytes, 0, Number.MAX_SAFE_INTEGER),
        resumedBytes: integer('Resumed bytes', totals.resumedBytes, 0, MAX_VOLUME_BYTES),
        startedAtMs: integer('Start time', totals.startedAtMs, 0, MAX_TIME_MS),
        path: text('Path', totals.path, MAX_NAME_BYTES),
      },
    }
  },
  verifying: (wire) => ({
    kind: 'verifying',
    doneBytes: integer('Bytes verified', wire.doneBytes, 0, MAX_VOLUME_BYTES),
    totalBytes: integer('Bytes to verify', wire.totalBytes, 0, MAX_VOLUME_BYTES),
  }),
  receipt: (wire) => ({
    kind: 'receipt',
    body: boundedBytes('Receipt', wire.body, 1, MAX_SIGNED_BODY_BYTES),
    receiverSignature: fixedBytes('Receiver signature', wire.receiverSignature, SIGNATURE_BYTES),
    ...(wire.senderSignature.length > 0 && {
      senderSignature: fixedBytes('Sender signature', wire.senderSignature, SIGNATURE_BYTES),
    }),
    ...(wire.cpuMs !== 0 && { cpuMs: integer('Processor time', wire.cpuMs, 1, Number.MAX_SAFE_INTEGER) }),
  }),
  status: (wire) => ({
    kind: 'status',
    ...readReason('Status', wire),
    fatal: wire.fatal,
    ...(wire.offset !== 0 && { offset: integer('Offset', wire.offset, 1, MAX_VOLUME_BYTES + 1) - 1 }),
  }),
  heartbeat: (wire) => ({
    kind: 'heartbeat',
    doneBytes: integer('Bytes done', wire.doneBytes, 0, MAX_VOLUME_BYTES),
  }),
  verifyRequest: (wire) => ({
    kind: 'verify-request',
    job: fixedBytes('Job id', wire.job, JOB_ID_BYTES),
    deep: wire.deep,
  }),
  verifyResult: (wire) => ({
    kind: 'verify-result',
    ...(wire.root.length > 0 && { root: fixedBytes('Root', wire.root, DIGEST_BYTES) }),
    checkedBytes: integer('Bytes checked', wire.checkedBytes, 0, MAX_VOLUME_BYTES),
    ...(wire.error && { error: readReason('Error', wire.error as Pb<'Reason'>) }),
  }),
}

function writeCapabilities({ chunkings, codecs, lanes, formats, maxLanes }: Capabilities) {
  return {
    chunkings: [...chunkings],
    codecs: [...codecs],
    lanes: [...lanes],
    formats: [...formats],
    maxLanes,
  }
}

function readCapabilities(wire: Pb<'Capabilities'> | null): Capabilities {
  if (!wire) throw violation('Hello carries no capabilities')
  return {
    chunkings: list('Chunkings', wire.chunkings, MAX_LISTED, token),
    codecs: list('Codecs', wire.codecs, MAX_LISTED, token),
    lanes: list('Lanes', wire.lanes, MAX_LISTED, token),
    formats: list('Formats', wire.formats, MAX_LISTED, token),
    maxLanes: integer('Most lanes', wire.maxLanes, 0, MAX_LANES_ASKED),
  }
}

function writeEndpoint({ addresses, token, certificate }: LaneEndpoint) {
  return { addresses: [...addresses], token, certificate }
}

function readEndpoint(wire: Pb<'LaneEndpoint'> | null): { endpoint?: LaneEndpoint } {
  if (!wire) return {}
  return {
    endpoint: {
      addresses: list('Data addresses', wire.addresses, MAX_ADDRESSES, address),
      token: fixedBytes('Lane token', wire.token, TOKEN_BYTES),
      certificate: boundedBytes('Lane certificate', wire.certificate, 1, MAX_CERTIFICATE_BYTES),
    },
  }
}

function address(name: string, value: string): string {
  const port = Number(ADDRESS.exec(value)?.[2] ?? 0)
  if (port < 1 || port > 65_535) throw violation(`${name} hold something that is not host:port`)
  return value
}

function writeReason({ code, message }: Reason) {
  return { code: ERRORS[code].wire, message: printable(message, MAX_TEXT_BYTES) }
}

function readReason(name: string, wire: { code: number; message: string }): Reason {
  return { code: codeOfWire(wire.code), message: text(name, wire.message, MAX_TEXT_BYTES) }
}

function writeBounds(ranges: readonly Range[]): number[] {
  return ranges.flatMap(({ start, end }) => [start, end])
}

function readRanges(name: string, bounds: readonly number[]): Range[] {
  if (bounds.length % 2 !== 0) throw violation(`${name} has ${bounds.length} bounds, which are not pairs`)
  if (bounds.length > 2 * MAX_RANGES_PER_FRAME) {
    throw violation(`${name} has ${bounds.length / 2} ranges, more than ${MAX_RANGES_PER_FRAME}`)
  }
  const ranges: Range[] = []
  let free = 0
  for (let i = 0; i < bounds.length; i += 2) {
    const start = integer(`${name} start`, bounds[i], free, MAX_VOLUME_BYTES)
    free = integer(`${name} end`, bounds[i + 1], start + 1, MAX_VOLUME_BYTES)
    ranges.push({ start, end: free })
  }
  return ranges
}
