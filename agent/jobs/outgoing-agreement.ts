/** The beginning of an attempt that sends: the offer, the agreement both sign, and what the receiver holds already. */
import { agreementSigningBytes, decodeAgreement } from '../../protocol/agreement.ts'
import type {
  Agreement,
  ControlMessage,
  ControlMessageOf,
  LaneEndpoint,
  Offer,
  Reason,
} from '../../protocol/control-message.ts'
import { FluidError, type ErrorCode, type ErrorDetails } from '../../protocol/errors.ts'
import { RangeSet } from '../../protocol/extent.ts'
import { WINDOW_BYTES } from '../../protocol/limits.ts'
import { verifyPeerSignature } from '../../protocol/peer-signature.ts'
import type { OutgoingAttempt } from './attempt.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'
import { offerOf } from './offer-of.ts'
import { signedBody } from './signed-body.ts'
import type { Viaduct } from '../viaduct/viaduct.ts'

/** What both have signed, and how lanes to the receiver are opened. */
export interface Agreed {
  readonly agreement: Agreement
  readonly endpoint: LaneEndpoint
  readonly senderSignature: Uint8Array
}

/** Offers, and waits for the answer. A person at the receiver may take days to approve; the owner here may change its mind meanwhile. */
export async function agreeUnlessCancelled(
  attempt: OutgoingAttempt,
  viaduct: Viaduct,
  endpoint: LaneEndpoint,
): Promise<Agreed> {
  const { job, onWish } = attempt
  const { stream } = viaduct
  const cancelled = Promise.withResolvers<never>()
  using _wishes = onWish(() => {
    if (job.record.wanted !== 'cancel') return
    const told = stream.send({ kind: 'cancel', reason: 'Cancelled by its owner' })
    told.then(() => cancelled.reject(new FluidError('CANCELLED', 'The job was cancelled')), cancelled.reject)
  })
  return await Promise.race([agree(attempt, viaduct, endpoint), cancelled.promise])
}

/** Offers the volume and waits for a signed agreement that says what was offered. */
async function agree(
  { parts, job, source, snapshot, moving }: OutgoingAttempt,
  { stream, hello, roundTripMs }: Viaduct,
  endpoint: LaneEndpoint,
): Promise<Agreed> {
  const offer = await offerOf(parts, job.record, source, snapshot, { roundTripMs, endpoint, jobs: moving() })
  if (job.record.unoffered) await job.update({ unoffered: undefined }, { durable: false })
  await stream.send({ kind: 'offer', ...offer })
  await hello
  for (;;) {
    const message = await stream.receive()
    await heardOfGrant(parts, job.record.peer, message)
    if (message.kind === 'pending') await job.become('awaiting-approval')
    else if (message.kind === 'refusal') throw refusalError(message)
    else if (message.kind === 'cancel')
      throw new FluidError('CANCELLED', message.reason || 'The receiver cancelled the job')
    else if (message.kind === 'agreement') {
      const { agreement, senderSignature } = await signAgreement(parts, job, offer, message)
      await job.update({ agreement: signedBody(message.body, senderSignature, message.signature) })
      return {
        agreement,
        endpoint: message.endpoint ?? {
          addresses: [],
          token: new Uint8Array(16),
          certificate: new Uint8Array(),
        },
        senderSignature,
      }
    } else if (message.kind !== 'status')
      throw new FluidError('PROTOCOL_VIOLATION', `The peer sent ${message.kind} in answer to an offer`)
  }
}

/** Keeps what an answer to an offer tells of our grant there, for those who list it. */
export async function heardOfGrant({ mesh }: JobParts, peer: string, answer: ControlMessage): Promise<void> {
  if (answer.kind === 'agreement') await mesh.peers.heard(peer, true)
  else if (answer.kind === 'refusal' && answer.reasons.some(({ code }) => code === 'POLICY_DENIED'))
    await mesh.peers.heard(peer, false)
}

/** What to do where nothing was begun; the table of codes speaks of jobs under way. */
const REFUSED_HINTS: Partial<Record<ErrorCode, string>> = {
  TARGET_WRITE: 'Have its owner let the agent there write into the granted folder, or grant another',
  NO_SPACE: 'Free space at the target',
}

/** A reason of a refusal, as an error. */
export function reasonError({ code, message }: Reason, details: ErrorDetails = {}): FluidError {
  return new FluidError(code, message, { hint: REFUSED_HINTS[code], ...details })
}

/** What a refusal is thrown as: its first reason, with the others in the hint. */
export function refusalError({ reasons }: Pick<ControlMessageOf<'refusal'>, 'reasons'>): FluidError {
  const [first, ...others] = reasons
  if (!first) return new FluidError('POLICY_DENIED', 'The peer refused without a reason')
  const also = others.length > 0 && { hint: `Also: ${others.map(({ message }) => message).join('; ')}` }
  return reasonError(first, { refused: true, ...also })
}

/** Signs an agreement that says what was offered, and is signed by the peer. Throws PROTOCOL_VIOLATION for another. */
export async function signAgreement(
  parts: JobParts,
  job: Job,
  offer: Offer,
  message: ControlMessageOf<'agreement'>,
): Promise<Pick<Agreed, 'agreement' | 'senderSignature'>> {
  const agreement = decodeAgreement(message.body)
  const { peer } = job.record
  if (!(await verifyPeerSignature(peer, agreementSigningBytes(message.body), message.signature))) {
    throw new FluidError('PROTOCOL_VIOLATION', 'The agreement is not signed by the peer', { peer })
  }
  const same =
    Buffer.compare(agreement.job, offer.job) === 0 &&
    agreement.sender === parts.identity.peerId &&
    agreement.receiver === peer &&
    agreement.destination === offer.destination &&
    agreement.sizeBytes === offer.sizeBytes &&
    agreement.snapshot === offer.snapshot &&
    agreement.targetFormat === offer.targetFormat &&
    agreement.replace === offer.replace &&
    agreement.verifyDeep === offer.verifyDeep &&
    (!agreement.inPlace || offer.inPlace === true) &&
    offer.chunkings.includes(agreement.chunking) &&
    agreement.codecs.every((codec) => offer.codecs.includes(codec)) &&
    agreement.lanes >= 1 &&
    agreement.lanes <= offer.lanes &&
    (agreement.mostLanes ?? 0) <= (offer.mostLanes ?? 0)
  if (!same)
    throw new FluidError('PROTOCOL_VIOLATION', 'The agreement is not about what was offered', { peer })
  return { agreement, senderSignature: await parts.identity.sign(agreementSigningBytes(message.body)) }
}

/** What the receiver said before data flows. */
export interface Committed {
  readonly ranges: RangeSet
  readonly unaskedBytes: number
}

/** What the receiver holds already: whole windows, ascending over all messages: so their number is bounded by the volume's size. */
export async function receiveCommitted({ stream }: Viaduct, sizeBytes: number): Promise<Committed> {
  const ranges = new RangeSet()
  let free = 0
  for (;;) {
    // No deadline: the receiver may first read a version it has, and its heartbeats say how far it is.
    const message = await stream.receive()
    if (message.kind === 'cancel')
      throw new FluidError('CANCELLED', message.reason || 'The receiver cancelled the job')
    if (message.kind !== 'committed') {
      throw new FluidError(
        'PROTOCOL_VIOLATION',
        `The receiver sent ${message.kind} before it said what it holds`,
      )
    }
    for (const { start, end } of message.ranges) {
      if (
        start < free ||
        end > sizeBytes ||
        start % WINDOW_BYTES !== 0 ||
        (end % WINDOW_BYTES !== 0 && end !== sizeBytes)
      ) {
        throw new FluidError(
          'PROTOCOL_VIOLATION',
          `The receiver says it holds [${start}, ${end}), which are no windows`,
        )
      }
      free = end
    }
    if (message.more && message.ranges.length === 0) {
      throw new FluidError('PROTOCOL_VIOLATION', 'The receiver says that more follows, and nothing else')
    }
    ranges.addAll(message.ranges)
    if (!message.more) return { ranges, unaskedBytes: message.unaskedBytes ?? 0 }
  }
}
