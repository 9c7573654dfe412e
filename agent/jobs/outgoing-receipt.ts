/** The end of an attempt that sends: the root is told, and the receiver's receipt checked and signed. */
import type { ControlMessageOf, Receipt } from '../../protocol/control-message.ts'
import { FluidError } from '../../protocol/errors.ts'
import { HANDSHAKE_TIMEOUT_MS } from '../../protocol/limits.ts'
import { formatRoot } from '../../protocol/manifest.ts'
import { verifyPeerSignature } from '../../protocol/peer-signature.ts'
import { decodeReceipt, receiptSigningBytes } from '../../protocol/receipt.ts'
import type { Outbound } from '../../transfer/outbound.ts'
import { journaledDigest } from '../../transfer/root.ts'
import type { OutgoingAttempt } from './attempt.ts'
import type { Job } from './job.ts'
import { signedBody, signedBytes } from './signed-body.ts'
import type { ControlStream } from '../viaduct/control-stream.ts'
import { withVerdict } from '../viaduct/peer-verdict.ts'
import { isFar } from '../viaduct/round-trip.ts'
import type { Viaduct } from '../viaduct/viaduct.ts'

/** Throws SOURCE_CHANGED when the source was written to since the attempt began. */
export async function requireUnchanged({ job, source, fingerprint }: OutgoingAttempt): Promise<void> {
  if ((await source.fingerprint()) === fingerprint) return
  throw new FluidError('SOURCE_CHANGED', `${job.record.source} changed while it was read`)
}

/** Everything is sent: tells the root, and checks the receipt that comes by `hearing`. */
export async function complete(
  attempt: OutgoingAttempt,
  { stream }: Viaduct,
  outbound: Outbound,
  hearing: Promise<ControlMessageOf<'receipt'>>,
): Promise<ControlMessageOf<'receipt'>> {
  const { parts, job, source, journal } = attempt
  await requireUnchanged(attempt)
  const { root, chunks, dataBytes } = await journaledDigest(
    journal,
    source.sizeBytes,
    job.record.chunking!,
    outbound.pending,
  )
  await untilLetGo(attempt, stream)
  const { counters, startedAt } = job.record
  await job.update({ state: 'verifying', root: formatRoot(root) }, { durable: false })
  await stream.send({
    kind: 'complete',
    root,
    totals: {
      sentBytes: counters.sentBytes,
      wireBytes: counters.wireBytes + stream.wireBytes,
      resumedBytes: counters.resumedBytes,
      startedAtMs: startedAt ?? Date.now(),
      path: outbound.path ?? 'tls',
    },
  })
  // What is on its way may still be lost.
  const receipt = await withVerdict(Promise.race([hearing, outbound.done.then(() => hearing)]), hearing)
  const body = decodeReceipt(receipt.body)
  const sound =
    Buffer.compare(body.root, root) === 0 &&
    Buffer.compare(body.job, Buffer.from(job.id, 'hex')) === 0 &&
    body.sizeBytes === source.sizeBytes &&
    body.destination === job.record.destination &&
    body.chunking === job.record.chunking &&
    body.chunks === chunks &&
    body.dataBytes === dataBytes &&
    body.zeroBytes === source.sizeBytes - dataBytes &&
    (body.verifiedDeep || !job.record.options.verifyDeep) &&
    body.sender === parts.identity.peerId &&
    body.receiver === job.record.peer &&
    (await verifyPeerSignature(job.record.peer, receiptSigningBytes(receipt.body), receipt.receiverSignature))
  if (!sound) throw new FluidError('VERIFY_MISMATCH', 'The receipt is not for what was sent')
  // The lanes have ended; their last counters belong to the job.
  await outbound.settle()
  return receipt
}

/**
 * Signs the receipt and gives the receiver what both have signed. With that the job is complete; far away already before the
 * receiver has it, whereas nearby, where it has it at once, both sides show the same.
 */
export async function countersign(
  { parts, job }: Pick<OutgoingAttempt, 'parts' | 'job'>,
  viaduct: Viaduct,
  { body, receiverSignature }: ControlMessageOf<'receipt'>,
): Promise<void> {
  const senderSignature = await parts.identity.sign(receiptSigningBytes(body))
  const receipt = signedBody(body, senderSignature, receiverSignature)
  countAsReceived(job.record, decodeReceipt(body))
  const over = { state: 'complete', untold: true } as const
  await job.update({ receipt, ...(isFar(viaduct) && over) })
  try {
    await handOver(job, viaduct.stream)
    await job.update({ ...over, untold: undefined })
  } catch (error) {
    // It is given again when the peer can be reached: end-at-peer.ts.
    parts.log.info({ job: job.id, error }, 'The receiver may lack our signature')
    await job.update(over)
  }
}

/** What this side counted just before it was killed is lost here; the receipt that it signs has what the receiver counted. */
function countAsReceived({ counters, wireByPath }: Job['record'], said: Receipt): void {
  const missedBytes = said.wireBytes - counters.wireBytes
  if (missedBytes > 0) {
    wireByPath[said.path] = (wireByPath[said.path] ?? 0) + missedBytes
    counters.wireBytes += missedBytes
  }
  counters.sentBytes = Math.max(counters.sentBytes, said.sentBytes)
  counters.resumedBytes = Math.max(counters.resumedBytes, said.resumedBytes)
}

/** Gives the receiver the receipt that both have signed. Throws PEER_UNREACHABLE when it may not have arrived. */
export async function handOver({ record }: Job, stream: ControlStream): Promise<void> {
  await stream.send({ kind: 'receipt', ...signedBytes(record.receipt!) })
  // It ends the stream once it has read it.
  if (await stream.peerEnded(HANDSHAKE_TIMEOUT_MS)) return
  throw new FluidError('PEER_UNREACHABLE', 'The receiver did not take the receipt', { peer: stream.peer })
}

/** A side that is paused does not complete: waits until the job's owner lets it go on, or the stream is over. */
async function untilLetGo({ onWish }: OutgoingAttempt, stream: ControlStream): Promise<void> {
  const { signal } = stream
  while (!signal.aborted && (stream.state === 'paused-by-initiator' || stream.state === 'paused-by-both')) {
    const { promise, resolve } = Promise.withResolvers<void>()
    using _wish = onWish(resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
  }
}
