/**
 * Frames of a relocation to protobuf and back, one writer and one reader for each kind of message; spec relocation.md,
 * Messages. Signed bodies stay bytes here: relocation-signed.ts opens them. What this side would refuse it does not send.
 */
import { ERRORS, codeOfWire } from './errors.ts'
import {
  MAX_UINT32,
  boundedBytes,
  decodeMessage,
  fixedBytes,
  integer,
  list,
  printable,
  text,
  violation,
} from './field.ts'
import {
  LEASE_NONCE_BYTES,
  MAX_DESTINATION_BYTES,
  MAX_DIFF_BYTES,
  MAX_GUEST_PATH_BYTES,
  MAX_MACHINE_DISKS,
  MAX_REASONS,
  MAX_RELOCATION_BODY_BYTES,
  MAX_RELOCATION_FRAME_BYTES,
  MAX_RELOCATION_MACHINES,
  MAX_TEXT_BYTES,
  SIGNATURE_BYTES,
} from './limits.ts'
import { fluidcloud } from './pb/relocation.js'
import type {
  RelocationFrame,
  RelocationMessage,
  RelocationMessageOf,
  Signed,
  Stage,
  TargetStanding,
} from './relocation-message.ts'
import { diskFormat, machineName, partId } from './relocation-plan.ts'
import { readObjections, relocationBytes, relocationId, writeObjection } from './relocation-signed.ts'

type WireFrame = fluidcloud.relocation.v1.Frame.$Properties
type WireName = NonNullable<WireFrame['message']>

const { Frame } = fluidcloud.relocation.v1
const MAX_PLACES = MAX_RELOCATION_MACHINES * MAX_MACHINE_DISKS

const STAGES: readonly (Stage | undefined)[] = [undefined, 'adapting', 'registering', 'starting', 'checking']
const STANDINGS: readonly (TargetStanding | undefined)[] = [
  undefined,
  'unknown',
  'prepared',
  'starting',
  'healthy',
  'suspended',
  'committed',
  'released',
]

/** One frame without its length prefix; throws PROTOCOL_VIOLATION for what the other side would refuse. */
export function encodeRelocation({ request, message }: RelocationFrame): Uint8Array {
  if (message.kind === 'unknown') throw new TypeError('A message of an unknown kind cannot be encoded')
  const write = WRITERS[message.kind] as (message: RelocationMessage) => WireFrame
  const bytes = Frame.encode({ request, ...write(message) }).finish()
  integer('Frame length', bytes.length, 1, MAX_RELOCATION_FRAME_BYTES)
  decodeRelocation(bytes)
  return bytes
}

/** The message of one frame; nothing in it refers to `bytes` afterwards. Throws PROTOCOL_VIOLATION. */
export function decodeRelocation(bytes: Uint8Array): RelocationFrame {
  const frame = decodeMessage('Relocation frame', (reader) => Frame.decode(reader), bytes)
  const request = integer('Request', frame.request ?? 0, 0, MAX_UINT32)
  if (!frame.message) return { request, message: { kind: 'unknown' } }
  const read = READERS[frame.message] as (value: unknown) => RelocationMessage
  return { request, message: read(frame[frame.message]) }
}

type Writers = {
  readonly [K in Exclude<RelocationMessage['kind'], 'unknown'>]: (
    message: RelocationMessageOf<K>,
  ) => WireFrame
}

const WRITERS: Writers = {
  prepare: ({ plan, dry }) => ({ prepare: { plan, dry } }),
  pending: ({ reason }) => ({ pending: { reason: printable(reason, MAX_TEXT_BYTES) } }),
  answer: ({ accepted, places, warnings, objections }) => ({
    answer: {
      accepted,
      places: [...places],
      warnings: warnings.map((warning) => printable(warning, MAX_TEXT_BYTES)),
      objections: objections.map(writeObjection),
    },
  }),
  handover: ({ final }) => ({ handover: { final } }),
  ask: ({ relocation, nonce }) => ({ ask: { relocation: relocationBytes(relocation), nonce } }),
  lease: ({ term }) => ({ lease: { term } }),
  progress: ({ relocation, stage, detail }) => ({
    progress: {
      relocation: relocationBytes(relocation),
      stage: STAGES.indexOf(stage),
      detail: printable(detail, MAX_TEXT_BYTES),
    },
  }),
  changed: ({ relocation, machine, path, diff }) => ({
    changed: {
      relocation: relocationBytes(relocation),
      machine,
      path: printable(path, MAX_GUEST_PATH_BYTES),
      diff: printableLines(diff, MAX_DIFF_BYTES),
    },
  }),
  verdict: ({ outcome }) => ({ verdict: { outcome } }),
  commit: ({ pledge }) => ({ commit: { pledge } }),
  abort: ({ relocation, reason }) => ({
    abort: { relocation: relocationBytes(relocation), reason: printable(reason, MAX_TEXT_BYTES) },
  }),
  released: ({ release }) => ({ released: { release } }),
  finalize: ({ relocation }) => ({ finalize: { relocation: relocationBytes(relocation) } }),
  inquire: ({ relocation }) => ({ inquire: { relocation: relocationBytes(relocation) } }),
  standing: ({ state }) => ({ standing: { state: STANDINGS.indexOf(state) } }),
  refused: ({ code, message }) => ({
    refused: { code: ERRORS[code].wire, message: printable(message, MAX_TEXT_BYTES) },
  }),
  heartbeat: () => ({ heartbeat: {} }),
}

type Readers = {
  readonly [K in WireName]: (message: NonNullable<WireFrame[K]>) => RelocationMessage
}

const READERS: Readers = {
  prepare: ({ plan, dry }) => ({ kind: 'prepare', plan: readSigned(plan), dry: dry ?? false }),
  pending: ({ reason }) => ({ kind: 'pending', reason: text('Reason', reason ?? '', MAX_TEXT_BYTES) }),
  answer: ({ accepted, places, warnings, objections }) => {
    const read = readObjections(objections ?? [])
    if (accepted && read.length > 0) throw violation('An answer that accepts has objections')
    if (!accepted && read.length === 0) throw violation('An answer that refuses has no objection')
    return {
      kind: 'answer',
      accepted: accepted ?? false,
      places: list('Places', places ?? [], MAX_PLACES, (_, place) => ({
        machine: machineName('Machine', place.machine ?? ''),
        disk: partId('Disk', place.disk ?? ''),
        destination: text('Destination', place.destination ?? '', MAX_DESTINATION_BYTES, 1),
        format: diskFormat(place.format ?? ''),
      })),
      warnings: list('Warnings', warnings ?? [], MAX_REASONS, (name, warning) =>
        text(name, warning, MAX_TEXT_BYTES),
      ),
      objections: read,
    }
  },
  handover: ({ final }) => ({ kind: 'handover', final: readSigned(final) }),
  ask: ({ relocation, nonce }) => ({
    kind: 'ask',
    relocation: relocationId(relocation),
    nonce: fixedBytes('Nonce', nonce ?? new Uint8Array(), LEASE_NONCE_BYTES),
  }),
  lease: ({ term }) => ({ kind: 'lease', term: readSigned(term) }),
  progress: ({ relocation, stage, detail }) => ({
    kind: 'progress',
    relocation: relocationId(relocation),
    stage: wordOf('Stage', STAGES, stage),
    detail: text('Detail', detail ?? '', MAX_TEXT_BYTES),
  }),
  changed: ({ relocation, machine, path, diff }) => ({
    kind: 'changed',
    relocation: relocationId(relocation),
    machine: machineName('Machine', machine ?? ''),
    path: text('Path', path ?? '', MAX_GUEST_PATH_BYTES, 1),
    diff: lines('Change', diff ?? '', MAX_DIFF_BYTES),
  }),
  verdict: ({ outcome }) => ({ kind: 'verdict', outcome: readSigned(outcome) }),
  commit: ({ pledge }) => ({ kind: 'commit', pledge: readSigned(pledge) }),
  abort: ({ relocation, reason }) => ({
    kind: 'abort',
    relocation: relocationId(relocation),
    reason: text('Reason', reason ?? '', MAX_TEXT_BYTES),
  }),
  released: ({ release }) => ({ kind: 'released', release: readSigned(release) }),
  finalize: ({ relocation }) => ({ kind: 'finalize', relocation: relocationId(relocation) }),
  inquire: ({ relocation }) => ({ kind: 'inquire', relocation: relocationId(relocation) }),
  standing: ({ state }) => ({ kind: 'standing', state: wordOf('State', STANDINGS, state) }),
  refused: ({ code, message }) => ({
    kind: 'refused',
    code: codeOfWire(code ?? 0),
    message: text('Refusal', message ?? '', MAX_TEXT_BYTES),
  }),
  heartbeat: () => ({ kind: 'heartbeat' }),
}

function readSigned(wire: fluidcloud.relocation.v1.Signed.$Properties | null | undefined): Signed {
  return {
    body: boundedBytes('Signed body', wire?.body ?? new Uint8Array(), 1, MAX_RELOCATION_BODY_BYTES),
    signature: fixedBytes('Signature', wire?.signature ?? new Uint8Array(), SIGNATURE_BYTES),
  }
}

function wordOf<T extends string>(
  name: string,
  words: readonly (T | undefined)[],
  wire: number | null | undefined,
): T {
  const word = words[wire ?? 0]
  if (word === undefined) throw violation(`${name} ${wire ?? 0} is not known to this version`)
  return word
}

/** Printable text but for line feeds and tabs. */
function lines(name: string, value: string, maxBytes: number): string {
  text(name, value.replaceAll(/[\n\t]/g, ' '), maxBytes)
  return value
}

function printableLines(value: string, maxBytes: number): string {
  let room = maxBytes
  const kept: string[] = []
  for (const line of value.split('\n')) {
    const clean = line
      .split('\t')
      .map((part) => printable(part, MAX_DIFF_BYTES))
      .join('\t')
    room -= Buffer.byteLength(clean) + 1
    if (room < 0) break
    kept.push(clean)
  }
  return kept.join('\n')
}
