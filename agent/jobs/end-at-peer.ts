/**
 * Tells the receiver that a job has ended here, without its source, which may be gone: the job is offered again as it was
 * begun, and ended in answer to whatever comes back.
 */
import { FluidError } from '../../protocol/errors.ts'
import type { ControlStream } from '../viaduct/control-stream.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'
import { offerAgain } from './offer-of.ts'
import { refusalError } from './outgoing-agreement.ts'
import { laneEndpoint, openViaduct } from '../viaduct/viaduct.ts'

/** Throws CANCELLED when the receiver knows, or never knew the job; PEER_UNREACHABLE while it cannot be told. */
export async function cancelAtPeer(parts: JobParts, job: Job, signal: AbortSignal): Promise<never> {
  await endAtPeer(parts, job, signal, (stream) =>
    stream.send({ kind: 'cancel', reason: 'Cancelled by its owner' }),
  )
  throw new FluidError('CANCELLED', 'The job was cancelled')
}

/** Resolves when the receiver knows why the job failed here; throws PEER_UNREACHABLE while it cannot be told. */
export async function failAtPeer(parts: JobParts, job: Job, signal: AbortSignal): Promise<void> {
  const { code, message } = job.record.error!
  await endAtPeer(parts, job, signal, (stream) => stream.fail(new FluidError(code, message)))
}

async function endAtPeer(
  parts: JobParts,
  { record }: Job,
  signal: AbortSignal,
  end: (stream: ControlStream) => Promise<void>,
): Promise<void> {
  const { snapshot } = record
  // Never offered.
  if (snapshot === undefined) return
  const { stream, remoteAddr } = await openViaduct(parts, record.peer, signal)
  await using _closing = stream
  const offer = offerAgain(parts, { ...record, snapshot }, laneEndpoint(parts, remoteAddr))
  await stream.send({ kind: 'offer', ...offer })
  const answer = await stream.expect('agreement', 'pending', 'refusal', 'cancel')
  if (answer.kind === 'agreement' || answer.kind === 'pending') await end(stream)
  // Refused for want of room, it still stands there.
  else if (answer.kind === 'refusal' && answer.reasons[0]?.code === 'LIMIT_EXCEEDED')
    throw refusalError(answer)
}
