/**
 * Tells the receiver that a job is cancelled, without its source, which may be gone: the job is offered again as it was
 * begun, and cancelled in answer to whatever comes back.
 */
import { FluidError } from '../protocol/errors.ts'
import type { Job } from './job.ts'
import { capabilities, type JobParts } from './job-parts.ts'
import { laneEndpoint, openViaduct } from './viaduct.ts'

/** Throws CANCELLED when the receiver knows, or never knew the job; PEER_UNREACHABLE while it cannot be told. */
export async function cancelAtPeer(parts: JobParts, { record }: Job, signal: AbortSignal): Promise<never> {
  if (record.snapshot !== undefined) {
    const { stream, remoteAddr } = await openViaduct(parts, record.peer, signal)
    await using _closing = stream
    const { chunkings, codecs } = capabilities(parts)
    const { replace, verifyDeep, format, lanes, compression } = record.options
    await stream.send({
      kind: 'offer',
      job: Buffer.from(record.job, 'hex'),
      destination: record.destination,
      sizeBytes: record.sizeBytes,
      allocatedBytes: 0,
      sourceFormat: 'raw',
      snapshot: record.snapshot,
      targetFormat: format,
      replace,
      verifyDeep,
      chunkings,
      codecs,
      lanes: lanes ?? 1,
      dryRun: false,
      endpoint: laneEndpoint(parts, remoteAddr),
      label: '',
      compression,
    })
    const { kind } = await stream.expect('agreement', 'pending', 'refusal', 'cancel')
    if (kind === 'agreement' || kind === 'pending')
      await stream.send({ kind: 'cancel', reason: 'Cancelled by its owner' })
  }
  throw new FluidError('CANCELLED', 'The job was cancelled')
}
