/**
 * The bodies that the sides of a relocation sign, and who signs which. A body names both sides, so a signature means
 * nothing between others. Spec: relocation.md, Signatures.
 */
import { blake3 } from '@napi-rs/blake-hash'
import { ERRORS, FluidError, codeOfWire } from './errors.ts'
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
  DIGEST_BYTES,
  LEASE_NONCE_BYTES,
  MAX_MACHINE_DISKS,
  MAX_OBJECTIONS,
  MAX_RELOCATION_BODY_BYTES,
  MAX_RELOCATION_MACHINES,
  MAX_RUN_LEASE_MS,
  MAX_TEXT_BYTES,
  RELOCATION_ID_BYTES,
} from './limits.ts'
import { formatRoot, parseRoot } from './manifest.ts'
import { fluidcloud } from './pb/relocation.js'
import { isPeerId } from './peer-id.ts'
import { verifyPeerSignature } from './peer-signature.ts'
import type { Final, Objection, Outcome, Parties, Plan, Signed, Term } from './relocation-message.ts'
import { machineName, partId, readPlan, writePlan } from './relocation-plan.ts'

const v1 = fluidcloud.relocation.v1
const ID = /^[0-9a-f]{32}$/

/** Kinds of signed bodies; the word is part of what is signed. */
export interface SignedBodies {
  readonly plan: Plan
  readonly final: Final
  readonly term: Term
  readonly pledge: Parties
  readonly outcome: Outcome
  readonly release: Parties
}

export type BodyKind = keyof SignedBodies

/** Who signs it. */
export const SIGNERS: Readonly<Record<BodyKind, 'source' | 'target'>> = {
  plan: 'source',
  final: 'source',
  term: 'source',
  pledge: 'source',
  outcome: 'target',
  release: 'target',
}

type WireParties = {
  relocation?: Uint8Array | null
  source?: string | null
  target?: string | null
}

interface BodyCodec<T> {
  encode(value: T): Uint8Array
  decode(bytes: Uint8Array): T
}

const BODIES: { readonly [K in BodyKind]: BodyCodec<SignedBodies[K]> } = {
  plan: {
    encode: (plan) => v1.Plan.encode({ ...writeParties(plan), ...writePlan(plan) }).finish(),
    decode: (bytes) => {
      const wire = decodeMessage('Plan', (reader) => v1.Plan.decode(reader), bytes)
      return readPlan(wire, readParties(wire))
    },
  },
  final: {
    encode: ({ planDigest, disks, ...parties }) =>
      v1.Final.encode({
        ...writeParties(parties),
        planDigest,
        disks: disks.map((disk) => ({ ...disk, root: parseRoot(disk.root) })),
      }).finish(),
    decode: (bytes) => {
      const wire = decodeMessage('Final', (reader) => v1.Final.decode(reader), bytes)
      const disks = list('Final disks', wire.disks ?? [], MAX_DISKS, (_, disk) => ({
        machine: machineName('Machine', disk.machine ?? ''),
        disk: partId('Disk', disk.disk ?? ''),
        root: formatRoot(digest('Root', disk.root)),
      }))
      const names = disks.map(({ machine, disk }) => `${machine}/${disk}`)
      if (new Set(names).size < names.length) throw violation('A final disk comes twice')
      return { ...readParties(wire), planDigest: digest('Plan digest', wire.planDigest), disks }
    },
  },
  term: {
    encode: ({ nonce, leaseMs, ...parties }) =>
      v1.Term.encode({ ...writeParties(parties), nonce, leaseMs }).finish(),
    decode: (bytes) => {
      const wire = decodeMessage('Term', (reader) => v1.Term.decode(reader), bytes)
      return {
        ...readParties(wire),
        nonce: fixedBytes('Nonce', wire.nonce ?? new Uint8Array(), LEASE_NONCE_BYTES),
        leaseMs: integer('Lease', wire.leaseMs ?? 0, 0, MAX_RUN_LEASE_MS),
      }
    },
  },
  pledge: {
    encode: (parties) => v1.Pledge.encode(writeParties(parties)).finish(),
    decode: (bytes) => readParties(decodeMessage('Pledge', (reader) => v1.Pledge.decode(reader), bytes)),
  },
  release: {
    encode: (parties) => v1.Release.encode(writeParties(parties)).finish(),
    decode: (bytes) => readParties(decodeMessage('Release', (reader) => v1.Release.decode(reader), bytes)),
  },
  outcome: {
    encode: ({ healthy, objections, timings, finalDigest, ...parties }) =>
      v1.Outcome.encode({
        ...writeParties(parties),
        healthy,
        objections: objections.map(writeObjection),
        adaptingMs: timings.adapting,
        registeringMs: timings.registering,
        startingMs: timings.starting,
        checkingMs: timings.checking,
        finalDigest,
      }).finish(),
    decode: (bytes) => {
      const wire = decodeMessage('Outcome', (reader) => v1.Outcome.decode(reader), bytes)
      const healthy = wire.healthy ?? false
      const objections = readObjections(wire.objections ?? [])
      if (healthy && objections.length > 0) throw violation('A healthy outcome has objections')
      if (!healthy && objections.length === 0)
        throw violation('An outcome that is not healthy has no objection')
      return {
        ...readParties(wire),
        healthy,
        objections,
        timings: {
          adapting: integer('Time', wire.adaptingMs ?? 0, 0, MAX_UINT32),
          registering: integer('Time', wire.registeringMs ?? 0, 0, MAX_UINT32),
          starting: integer('Time', wire.startingMs ?? 0, 0, MAX_UINT32),
          checking: integer('Time', wire.checkingMs ?? 0, 0, MAX_UINT32),
        },
        finalDigest: digest('Digest of the handover', wire.finalDigest),
      }
    },
  },
}

const MAX_DISKS = MAX_RELOCATION_MACHINES * MAX_MACHINE_DISKS

/** The body as it travels and is signed; throws PROTOCOL_VIOLATION for what the other side would refuse. */
export function encodeBody<K extends BodyKind>(kind: K, value: SignedBodies[K]): Uint8Array {
  const body = BODIES[kind].encode(value)
  decodeBody(kind, body)
  return body
}

/** What is in a body; throws PROTOCOL_VIOLATION. Its signature is for openSigned(). */
export function decodeBody<K extends BodyKind>(kind: K, body: Uint8Array): SignedBodies[K] {
  integer(`Length of a ${kind}`, body.length, 1, MAX_RELOCATION_BODY_BYTES)
  return BODIES[kind].decode(body)
}

/** What an Ed25519 signature of a body covers. */
export function bodySigningBytes(kind: BodyKind, body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`fluidcloud relocation ${kind} v1\n`), body])
}

/** The body with the signature of whoever `sign` signs for. */
export async function signBody<K extends BodyKind>(
  kind: K,
  value: SignedBodies[K],
  sign: (bytes: Uint8Array) => Promise<Uint8Array>,
): Promise<Signed> {
  const body = encodeBody(kind, value)
  return { body, signature: await sign(bodySigningBytes(kind, body)) }
}

/**
 * What is in a signed body between these two. Throws PROTOCOL_VIOLATION when it does not decode, speaks of others, or is
 * not signed by whom it must be. Which relocation it speaks of is the caller's to compare.
 */
export async function openSigned<K extends BodyKind>(
  kind: K,
  { body, signature }: Signed,
  between: { readonly source: string; readonly target: string },
): Promise<SignedBodies[K]> {
  const value = decodeBody(kind, body)
  if (value.source !== between.source || value.target !== between.target)
    throw violation(`The ${kind} is between others`)
  if (!(await verifyPeerSignature(between[SIGNERS[kind]], bodySigningBytes(kind, body), signature)))
    throw new FluidError('PROTOCOL_VIOLATION', `The ${kind} is not signed by the ${SIGNERS[kind]}`)
  return value
}

/** BLAKE3 of a body, 32 bytes. */
export function bodyDigest(body: Uint8Array): Uint8Array {
  return Uint8Array.from(blake3(Buffer.from(body)))
}

export function relocationId(value: Uint8Array | null | undefined): string {
  return hex('Relocation', value, RELOCATION_ID_BYTES)
}

export function relocationBytes(id: string): Uint8Array {
  if (!ID.test(id)) throw violation(`Relocation is not ${RELOCATION_ID_BYTES} bytes in hex`)
  return Buffer.from(id, 'hex')
}

export function writeObjection({ code, message, hint = '' }: Objection) {
  return {
    code: ERRORS[code].wire,
    message: printable(message, MAX_TEXT_BYTES),
    hint: printable(hint, MAX_TEXT_BYTES),
  }
}

export function readObjections(
  objections: readonly fluidcloud.relocation.v1.Objection.$Properties[],
): Objection[] {
  return list('Objections', objections, MAX_OBJECTIONS, (_, { code, message, hint }) => ({
    code: codeOfWire(code ?? 0),
    message: text('Objection', message ?? '', MAX_TEXT_BYTES),
    ...(hint && { hint: text('Hint', hint, MAX_TEXT_BYTES) }),
  }))
}

function writeParties({ relocation, source, target }: Parties) {
  return { relocation: relocationBytes(relocation), source, target }
}

function readParties({ relocation, source, target }: WireParties): Parties {
  if (!isPeerId(source ?? '') || !isPeerId(target ?? '')) throw violation('A side is not an Ed25519 peer ID')
  return { relocation: relocationId(relocation), source: source!, target: target! }
}

function digest(name: string, value: Uint8Array | null | undefined): Uint8Array {
  return fixedBytes(name, value ?? new Uint8Array(), DIGEST_BYTES)
}

function hex(name: string, value: Uint8Array | null | undefined, length: number): string {
  return Buffer.from(boundedBytes(name, value ?? new Uint8Array(), length, length)).toString('hex')
}
