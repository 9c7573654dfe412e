/**
 * Tells the receiver how a job has ended here, without its source, which may be gone: the job is offered again as it was
 * begun, and ended in answer to whatever comes back.
 */
import type { ControlMessageOf, Offer } from '../../protocol/control-message.ts'
import { FluidError } from '../../protocol/errors.ts'
import { decodeReceipt } from '../../protocol/receipt.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'
import { offerAgain } from './offer-of.ts'
import { receiveCommitted, refusalError, signAgreement } from './outgoing-agreement.ts'
import { handOver } from './outgoing-receipt.ts'
import { bodyBytes } from './signed-body.ts'
import { laneEndpoint, openViaduct, type Viaduct } from '../viaduct/viaduct.ts'

/** Resolves when the receiver keeps nothing of the job, or never knew it; throws PEER_UNREACHABLE while it cannot be told. */
export async function cancelAtPeer(parts: JobParts, job: Job, signal: AbortSignal): Promise<void> {
  await offeredAgain(parts, job, signal, ({ stream }) =>
    stream.send({ kind: 'cancel', reason: 'Cancelled by its owner' }),
  )
}

/** Resolves when the receiver knows why the job failed here; throws PEER_UNREACHABLE while it cannot be told. */
export async function failAtPeer(parts: JobParts, job: Job, signal: AbortSignal): Promise<void> {
  const { code, message } = job.record.error!
  await offeredAgain(parts, job, signal, ({ stream }) => stream.fail(new FluidError(code, message)))
}

/** Resolves when the receiver has the receipt with both signatures; throws PEER_UNREACHABLE while it cannot be given. */
export async function completeAtPeer(parts: JobParts, job: Job, signal: AbortSignal): Promise<void> {
  const receipt = decodeReceipt(bodyBytes(job.record.receipt!))
  await offeredAgain(parts, job, signal, async (viaduct, offer, answer) => {
    // Who approved it before is not asked again.
    if (answer.kind === 'pending') return
    const { stream } = viaduct
    // Not kept: the receipt has the digest of the one by which the volume was moved.
    const { senderSignature } = await signAgreement(parts, job, offer, answer)
    await stream.send({ kind: 'accept', signature: senderSignature })
    await receiveCommitted(viaduct, receipt.sizeBytes)
    const { sentBytes, wireBytes, resumedBytes, startedAtMs, path } = receipt
    const totals = { sentBytes, wireBytes, resumedBytes, startedAtMs, path }
    await stream.send({ kind: 'complete', root: receipt.root, totals })
    await stream.expect('receipt')
    await handOver(job, stream)
  })
}

/** Offers the job as it was, and does `next` once the receiver takes it; nothing, when it does not want it any more. */
async function offeredAgain(
  parts: JobParts,
  { record }: Job,
  signal: AbortSignal,
  next: (viaduct: Viaduct, offer: Offer, answer: ControlMessageOf<'agreement' | 'pending'>) => Promise<void>,
): Promise<void> {
  const { snapshot, unoffered } = record
  if (snapshot === undefined || unoffered) return
  const viaduct = await openViaduct(parts, record.peer, signal)
  const { stream, remoteAddr } = viaduct
  await using _closing = stream
  const offer = offerAgain(parts, { ...record, snapshot }, laneEndpoint(parts, remoteAddr))
  await stream.send({ kind: 'offer', ...offer })
  const answer = await stream.expect('agreement', 'pending', 'refusal', 'cancel')
  if (answer.kind === 'agreement' || answer.kind === 'pending') await next(viaduct, offer, answer)
  // Refused for want of room, it still stands there.
  else if (answer.kind === 'refusal' && answer.reasons[0]?.code === 'LIMIT_EXCEEDED')
    throw refusalError(answer)
}
