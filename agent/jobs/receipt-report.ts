/** A job's receipt as people read it, with both signatures checked again. */
import type { ReceiptReport } from '../reports/job-reports.ts'
import { FluidError } from '../../protocol/errors.ts'
import { formatRoot } from '../../protocol/manifest.ts'
import { verifyPeerSignature } from '../../protocol/peer-signature.ts'
import { decodeReceipt, receiptSigningBytes } from '../../protocol/receipt.ts'
import type { Job } from './job.ts'
import { bodyBytes } from './signed-body.ts'

/** Throws JOB_STATE while the job has none. */
export async function receiptReport(job: Job): Promise<ReceiptReport> {
  const { receipt, wireByPath, pathReason } = job.record
  if (!receipt)
    throw new FluidError('JOB_STATE', `Job ${job.id} is ${job.record.state} and has no receipt yet`)
  const body = bodyBytes(receipt)
  const { sender, receiver, destination, chunks, chunking, dataBytes, zeroBytes, sentBytes, ...rest } =
    decodeReceipt(body)
  const signed = receiptSigningBytes(body)
  const valid = await Promise.all([
    verifyPeerSignature(sender, signed, Buffer.from(receipt.senderSignature, 'base64')),
    verifyPeerSignature(receiver, signed, Buffer.from(receipt.receiverSignature, 'base64')),
  ])
  return {
    job: job.id,
    sender,
    receiver,
    destination,
    logicalBytes: rest.sizeBytes,
    dataBytes,
    zeroBytes,
    sentBytes,
    dedupedBytes: rest.dedupedBytes,
    resumedBytes: rest.resumedBytes,
    wireBytes: rest.wireBytes,
    bytesByPath: wireByPath,
    chunks,
    chunking,
    root: formatRoot(rest.root),
    path: rest.path,
    pathReason,
    verifiedDeep: rest.verifiedDeep,
    startedAt: new Date(rest.startedAtMs).toISOString(),
    finishedAt: new Date(rest.finishedAtMs).toISOString(),
    senderSignature: receipt.senderSignature,
    receiverSignature: receipt.receiverSignature,
    signaturesValid: valid.every(Boolean),
  }
}
