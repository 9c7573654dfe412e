/** The end of an attempt that receives: roots are compared, the volume read back, put in its place, and signed for. */
import type { ControlMessageOf, Receipt } from '../../protocol/control-message.ts'
import { FluidError } from '../../protocol/errors.ts'
import { formatRoot } from '../../protocol/manifest.ts'
import { verifyPeerSignature } from '../../protocol/peer-signature.ts'
import { decodeReceipt, encodeReceipt, receiptSigningBytes } from '../../protocol/receipt.ts'
import type { Chunking } from '../../transfer/chunker.ts'
import type { Placement } from '../../transfer/destination.ts'
import { digestOf } from '../../transfer/hasher.ts'
import type { Journal } from '../../transfer/journal.ts'
import { dropCached, openSource } from '../../transfer/open.ts'
import type { VolumeDigest } from '../../transfer/leading-digest.ts'
import { journaledDigest, readDigest } from '../../transfer/root.ts'
import type { IncomingAttempt } from './attempt.ts'
import { bodyBytes, signedBody } from './signed-body.ts'

/** Threads that read the volume back. */
export const VERIFY_LANES = 4

/** Compares roots, reads back if asked, puts the volume in its place, and exchanges the receipt. */
export async function finish(
  attempt: IncomingAttempt,
  placement: Placement,
  journal: Journal,
  complete: ControlMessageOf<'complete'>,
  path: string | undefined,
): Promise<void> {
  const { parts, job, agreement, signal } = attempt
  await job.update({ state: 'verifying', error: undefined }, { durable: false })
  const digest = await journaledDigest(journal, agreement.sizeBytes, agreement.chunking)
  requireSameRoot(digest.root, complete.root, 'What arrived')
  if (agreement.verifyDeep || job.record.readBack) {
    const readBack = await readPlaced(attempt, placement)
    requireSameRoot(readBack.root, complete.root, 'What was read back from disk')
  }
  await job.update({ placed: placement.identity })
  const { path: placedAt } = await placement.commit(signal)
  parts.log.info({ job: job.id, path: placedAt }, 'The volume is in its place')
  await exchangeReceipt(attempt, receiptOf(attempt, digest, complete, path ?? 'tls'))
}

/** The volume was placed before, but the sender may not know: tell it again, and check that it means the same bytes. */
export async function repeatReceipt(
  attempt: IncomingAttempt,
  journal: Journal,
  complete: ControlMessageOf<'complete'>,
): Promise<void> {
  const { job, agreement } = attempt
  const kept = job.record.receipt && decodeReceipt(bodyBytes(job.record.receipt))
  const receipt =
    kept ??
    receiptOf(
      attempt,
      await journaledDigest(journal, agreement.sizeBytes, agreement.chunking),
      complete,
      'tls',
    )
  requireSameRoot(receipt.root, complete.root, 'What was put in its place')
  await exchangeReceipt(attempt, receipt)
}

/** Signs the receipt, which completes the job here, and waits a while for the sender's signature. */
async function exchangeReceipt(
  { parts, job, viaduct, cpuMs }: IncomingAttempt,
  receipt: Receipt,
): Promise<void> {
  const { stream } = viaduct
  const body = encodeReceipt(receipt)
  const receiverSignature = await parts.identity.sign(receiptSigningBytes(body))
  await job.update({
    receipt: signedBody(body, new Uint8Array(), receiverSignature),
    root: formatRoot(receipt.root),
    state: 'complete',
    indexed: job.record.indexed ?? false,
    error: undefined,
  })
  await stream.send({ kind: 'receipt', body, receiverSignature, cpuMs: cpuMs?.() })
  const { senderSignature } = await stream.expect('receipt')
  if (
    !senderSignature ||
    !(await verifyPeerSignature(stream.peer, receiptSigningBytes(body), senderSignature))
  ) {
    throw new FluidError('PROTOCOL_VIOLATION', 'The receipt is not signed by the sender', {
      peer: stream.peer,
    })
  }
  await job.update({ receipt: signedBody(body, senderSignature, receiverSignature) })
}

function receiptOf(
  { job, agreement, viaduct }: IncomingAttempt,
  digest: VolumeDigest,
  { totals }: ControlMessageOf<'complete'>,
  path: string,
): Receipt {
  const { counters } = job.record
  return {
    job: agreement.job,
    sender: agreement.sender,
    receiver: agreement.receiver,
    destination: agreement.destination,
    snapshot: agreement.snapshot,
    sizeBytes: agreement.sizeBytes,
    root: digest.root,
    chunking: agreement.chunking,
    chunks: digest.chunks,
    dataBytes: digest.dataBytes,
    zeroBytes: agreement.sizeBytes - digest.dataBytes,
    // Either side may have missed what it counted just before it was killed.
    sentBytes: Math.max(totals.sentBytes, counters.sentBytes),
    dedupedBytes: counters.dedupedBytes,
    resumedBytes: Math.max(totals.resumedBytes, counters.resumedBytes),
    wireBytes: Math.max(totals.wireBytes, counters.wireBytes + viaduct.stream.wireBytes),
    path,
    verifiedDeep: agreement.verifyDeep,
    startedAtMs: job.record.startedAt ?? agreement.agreedAtMs,
    finishedAtMs: Date.now(),
    agreementDigest: digestOf(bodyBytes(job.record.agreement!)),
  }
}

async function readPlaced(
  { parts, agreement, viaduct, signal }: IncomingAttempt,
  placement: Placement,
): Promise<VolumeDigest> {
  const { stream } = viaduct
  await placement.sink.sync()
  const { readUrl: url = placement.sinkUrl } = placement
  await using source = await openSource(url)
  dropCached(url)
  const totalBytes = agreement.sizeBytes
  let toldAt = 0
  return await readDigest(
    parts.pool,
    { url, source: { ...source, sizeBytes: totalBytes } },
    agreement.chunking as Chunking,
    {
      lanes: VERIFY_LANES,
      signal,
      onRead: (doneBytes) => {
        if (performance.now() - toldAt < 1000) return
        toldAt = performance.now()
        void stream.send({ kind: 'verifying', doneBytes, totalBytes }).catch(() => {})
      },
    },
  )
}

function requireSameRoot(ours: Uint8Array, theirs: Uint8Array, what: string): void {
  if (Buffer.compare(ours, theirs) === 0) return
  throw new FluidError(
    'VERIFY_MISMATCH',
    `${what} has root ${formatRoot(ours)}, the source ${formatRoot(theirs)}`,
  )
}
