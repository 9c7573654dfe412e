/**
 * The receiver's answer to an offer: what both sides can do, what the grant allows, what the target holds.
 * Pure: facts come in as data, and every reason for a refusal is given at once.
 */
import type { Agreement, Capabilities, Hello, Offer, Reason } from './control-message.ts'
import { validateDestinationName } from './destination.ts'
import { FluidError, type ErrorCode } from './errors.ts'
import { grantedTarget, type Grant } from './grant.ts'
import { PROTOCOL_MAJOR, PROTOCOL_MINOR } from './ids.ts'
import { MAX_BENCH_BYTES, MAX_LANES, MAX_REASONS } from './limits.ts'

/**
 * What a benchmark names as its destination. No move may use it, so a receiver that does not know benchmarks refuses
 * the name rather than making a file.
 */
export const BENCH_DESTINATION = '.bench'

/** What the receiver found out before it answers. */
export interface OfferFacts {
  /** Something lies under the destination's name now. */
  readonly exists: boolean
  /** Another job writes this destination. */
  readonly busy: boolean
  /** Nothing can be written where the volume would be staged, as things are. */
  readonly readOnly?: boolean
  /** Free space where the volume would be staged, in bytes. */
  readonly freeBytes: number
  /** Staged data of this very job is held. */
  readonly resumes: boolean
  /** Formats that can be written there now. */
  readonly writableFormats: readonly string[]
  /** Unix time in milliseconds. */
  readonly now: number
  /** Size of the device or export the name stands for; undefined when a file is made. */
  readonly targetBytes?: number
  /** A person has said yes to this job. */
  readonly approved?: boolean
  /** Bytes that the version under the name takes up, if it can be changed in place. */
  readonly inPlaceBytes?: number
  /** The chunking that is best here: the one this job was begun with, or one for a version that is changed in place. */
  readonly chunking?: string
}

/** Everything an answer depends on. */
export interface OfferQuestion {
  readonly offer: Offer
  /** The sender's. */
  readonly hello: Hello
  readonly ours: Capabilities
  /** Undefined: this peer may do nothing here. */
  readonly grant: Grant | undefined
  readonly facts: OfferFacts
  /** Peer IDs, as text. */
  readonly sender: string
  readonly receiver: string
}

export type OfferAnswer =
  | { readonly kind: 'agree'; readonly agreement: Agreement }
  /** The same agreement, once a person says yes. */
  | { readonly kind: 'ask'; readonly agreement: Agreement }
  | { readonly kind: 'refuse'; readonly reasons: readonly Reason[] }

/** Agrees, asks a person, or refuses with all reasons, the most fundamental first. */
export function answerOffer(question: OfferQuestion): OfferAnswer {
  const reasons = [...refusals(question)].slice(0, MAX_REASONS)
  if (reasons.length > 0) return { kind: 'refuse', reasons }
  const { offer, grant, facts } = question
  // Nobody need be asked for what leaves no trace.
  const kind = grant?.approve === 'ask' && !facts.approved && !offer.bench ? 'ask' : 'agree'
  return { kind, agreement: agreementOf(question) }
}

/** The lower of our minor and the peer's; throws VERSION_UNSUPPORTED when the major is another. */
export function agreedMinor(hello: Pick<Hello, 'major' | 'minor'>): number {
  if (hello.major !== PROTOCOL_MAJOR) {
    throw new FluidError(
      'VERSION_UNSUPPORTED',
      `Peer speaks major version ${hello.major}, this agent ${PROTOCOL_MAJOR}`,
    )
  }
  return Math.min(hello.minor, PROTOCOL_MINOR)
}

function* refusals(question: OfferQuestion): Generator<Reason> {
  yield* versionRefusals(question)
  if (question.offer.bench) yield* benchRefusals(question)
  else {
    yield* policyRefusals(question)
    yield* targetRefusals(question)
  }
}

/** Of a benchmark nothing stays, so names, limits and space of the grant do not matter; having one does. */
function* benchRefusals({ offer, grant, facts }: OfferQuestion): Generator<Reason> {
  if (!grant) {
    yield reason('POLICY_DENIED', 'This peer may send nothing here')
    return
  }
  if (offer.destination !== BENCH_DESTINATION || offer.replace || offer.verifyDeep || offer.dryRun) {
    yield reason('PROTOCOL_VIOLATION', 'A benchmark names a destination, or asks for what only a move has')
  }
  if (offer.sizeBytes > MAX_BENCH_BYTES) {
    yield reason('TOO_LARGE', `Benchmark is ${offer.sizeBytes} bytes, at most ${MAX_BENCH_BYTES} are allowed`)
  }
  if (facts.busy) yield reason('NAME_BUSY', 'Another benchmark of this peer is running')
}

function* versionRefusals({ offer, hello, ours }: OfferQuestion): Generator<Reason> {
  yield* refusalOf(() => agreedMinor(hello))
  if (!common(offer.chunkings, ours.chunkings).length) {
    yield reason(
      'VERSION_UNSUPPORTED',
      `No chunking in common: offered ${names(offer.chunkings)}, here ${names(ours.chunkings)}`,
    )
  }
  if (!common(offer.codecs, ours.codecs).length) {
    yield reason(
      'VERSION_UNSUPPORTED',
      `No codec in common: offered ${names(offer.codecs)}, here ${names(ours.codecs)}`,
    )
  }
  if (!common(hello.capabilities.lanes, ours.lanes).length) {
    yield reason(
      'NO_PATH',
      `No kind of lane in common: offered ${names(hello.capabilities.lanes)}, here ${names(ours.lanes)}`,
    )
  }
  if (!offer.dryRun && !offer.endpoint)
    yield reason('PROTOCOL_VIOLATION', 'Offer names no endpoint for lanes')
}

function* policyRefusals({ offer, grant }: OfferQuestion): Generator<Reason> {
  if (!grant) {
    yield reason('POLICY_DENIED', 'This peer may send nothing here')
    return
  }
  if (grantedTarget(grant, offer.destination) === undefined) {
    yield* refusalOf(() => validateDestinationName(offer.destination))
  }
  if (grant.maxBytes > 0 && offer.sizeBytes > grant.maxBytes) {
    yield reason('TOO_LARGE', `Volume is ${offer.sizeBytes} bytes, the grant allows ${grant.maxBytes}`)
  }
}

/** Says nothing about what lies at the target to a peer without a grant. */
function* targetRefusals({ offer, grant, facts }: OfferQuestion): Generator<Reason> {
  if (!grant) return
  const { exists, busy, readOnly, freeBytes, resumes, writableFormats, targetBytes, inPlaceBytes = 0 } = facts
  if (!writableFormats.includes(offer.targetFormat)) {
    yield reason(
      'FORMAT_UNSUPPORTED',
      `Format ${offer.targetFormat} cannot be written here, only ${names(writableFormats)}`,
    )
  }
  if (exists && !offer.replace) yield reason('NAME_EXISTS', `Destination ${offer.destination} exists already`)
  if (readOnly) yield reason('TARGET_WRITE', `Nothing can be written where ${offer.destination} is to be`)
  if (busy) yield reason('NAME_BUSY', `Destination ${offer.destination} is being written by another job`)
  if (targetBytes !== undefined && offer.sizeBytes > targetBytes) {
    yield reason('NO_SPACE', `Volume is ${offer.sizeBytes} bytes, the target holds ${targetBytes}`)
  }
  if (targetBytes === undefined && !resumes && offer.allocatedBytes > freeBytes + inPlaceBytes) {
    yield reason(
      'NO_SPACE',
      `Volume holds ${offer.allocatedBytes} bytes of data, ${freeBytes} bytes are free`,
    )
  }
}

function agreementOf({ offer, hello, ours, facts, sender, receiver }: OfferQuestion): Agreement {
  const { job, destination, sizeBytes, allocatedBytes, snapshot, targetFormat, replace, verifyDeep } = offer
  const bounded = (lanes: number) => Math.min(lanes, hello.capabilities.maxLanes, ours.maxLanes, MAX_LANES)
  const lanes = Math.max(1, bounded(offer.lanes))
  const mostLanes = bounded(offer.mostLanes ?? 0)
  const chunkings = common(offer.chunkings, ours.chunkings)
  return {
    job,
    sender,
    receiver,
    destination,
    sizeBytes,
    allocatedBytes,
    snapshot,
    targetFormat,
    replace,
    verifyDeep,
    chunking: chunkings.find((name) => name === facts.chunking) ?? chunkings[0],
    codecs: common(offer.codecs, ours.codecs),
    lanes,
    minor: agreedMinor(hello),
    agreedAtMs: facts.now,
    replacesExisting: facts.exists,
    freeBytes: facts.freeBytes,
    resumes: facts.resumes,
    ...(mostLanes > lanes && { mostLanes }),
    ...(offer.inPlace && replace && facts.inPlaceBytes !== undefined && { inPlace: true }),
  }
}

/** What both list, in the order of the one who offers. */
function common(offered: readonly string[], ours: readonly string[]): string[] {
  return [...new Set(offered)].filter((name) => ours.includes(name))
}

function* refusalOf(check: () => unknown): Generator<Reason> {
  try {
    check()
  } catch (error) {
    if (!(error instanceof FluidError)) throw error
    yield reason(error.code, error.message)
  }
}

function reason(code: ErrorCode, message: string): Reason {
  return { code, message }
}

function names(list: readonly string[]): string {
  return list.length > 0 ? list.join(', ') : 'none'
}
