/**
 * One attempt of the receiving side, from the agreement on: placement, what is durable already, lanes, data,
 * verification, rename, receipt. Whatever happens, what is staged stays for the next attempt unless the job is cancelled.
 */
import { fileURLToPath } from 'node:url'
import { agreementSigningBytes, encodeAgreement } from '../protocol/agreement.ts'
import type {
  Agreement,
  ControlMessageOf,
  LaneEndpoint,
  Offer,
  Receipt,
} from '../protocol/control-message.ts'
import { FluidError } from '../protocol/errors.ts'
import { MAX_LANES, MAX_RANGES_PER_FRAME } from '../protocol/limits.ts'
import { entryCount, entryDigest, entryOffset, formatRoot } from '../protocol/manifest.ts'
import { decodeReceipt, encodeReceipt, receiptSigningBytes } from '../protocol/receipt.ts'
import { isPaused, type State } from '../protocol/state.ts'
import { SEED_SCOPE, type Scope } from '../transfer/chunk-index.ts'
import type { Chunking } from '../transfer/chunker.ts'
import type { Placement, PlacementOptions } from '../transfer/destination.ts'
import { isPlaced } from '../transfer/file-placement.ts'
import { digestOf } from '../transfer/hasher.ts'
import { Inbound } from '../transfer/inbound.ts'
import { Journal } from '../transfer/journal.ts'
import { dropCachedPages } from '../transfer/linux.ts'
import { openSource } from '../transfer/open.ts'
import { openPlacement } from '../transfer/placement.ts'
import { createRecentTable, openRecentTable } from '../transfer/recent-chunks.ts'
import { journaledDigest, readDigest, type VolumeDigest } from '../transfer/root.ts'
import { verifyPeerSignature } from './identity.ts'
import { indexPrevious } from './indexing.ts'
import type { Job } from './job.ts'
import type { JobParts } from './job-parts.ts'
import { dialableLanes } from './lane-dialing.ts'
import { count } from './outgoing-attempt.ts'
import { withVerdict } from './peer-verdict.ts'
import { whileMoving } from './progress-watch.ts'
import { bodyBytes, signedBody } from './signed-body.ts'
import { laneEndpoint, widened, type Viaduct } from './viaduct.ts'

export interface IncomingAttempt {
  readonly parts: JobParts
  readonly job: Job
  readonly offer: Offer
  readonly agreement: Agreement
  readonly viaduct: Viaduct
  readonly signal: AbortSignal
  onWish(listener: () => void): Disposable
  /** Opens the place for the volume; where the job's record says unless given. */
  place?(options: PlacementOptions): Promise<Placement>
  /** Processor time so far, told with the receipt; of benchmarks only. */
  cpuMs?(): number
}

/** Chunks of one job the table of recent ones has room for: 32 MiB of memory. */
const MAX_RECENT_CHUNKS = 2 ** 21
const MEAN_CHUNK_BYTES = 64 * 1024
/** Threads that read the volume back. */
const VERIFY_LANES = 4

/** In this state the sender owes windows, their data, or the end. */
const OWED: ReadonlySet<State> = new Set<State>(['flowing'])

/** Runs the attempt; returns when both have signed the receipt, throws CANCELLED when either side ended the job. */
export async function runIncoming(attempt: IncomingAttempt): Promise<void> {
  const { parts, job, viaduct } = attempt
  const { stream } = viaduct
  try {
    await whileMoving({ parts, job, stream }, OWED, () => converse(attempt))
  } finally {
    count(job, stream.wireBytes, 'mesh')
  }
}

async function converse(attempt: IncomingAttempt): Promise<void> {
  const { parts, job, agreement, viaduct, signal } = attempt
  const { stream, remoteAddr } = viaduct
  const complete = job.record.state === 'complete'
  const endpoint = laneEndpoint(parts, remoteAddr)
  const body = encodeAgreement(agreement)
  const signature = await parts.identity.sign(agreementSigningBytes(body))
  await stream.send({ kind: 'agreement', body, signature, endpoint })
  const answer = await stream.expect('accept', 'cancel')
  if (answer.kind === 'cancel') throw cancelled(answer.reason)
  if (!(await verifyPeerSignature(stream.peer, agreementSigningBytes(body), answer.signature))) {
    throw new FluidError('PROTOCOL_VIOLATION', 'The agreement is not signed by the sender', {
      peer: stream.peer,
    })
  }
  const journal = await Journal.open(parts.level, Buffer.from(job.id, 'hex'))
  if (complete || (await isAlreadyPlaced(attempt, journal))) return await repeatReceipt(attempt, journal)
  await job.update({
    agreement: signedBody(body, answer.signature, signature),
    chunking: agreement.chunking,
    state: 'running',
    startedAt: job.record.startedAt ?? Date.now(),
    error: undefined,
  })
  const { place = (options: PlacementOptions) => openPlacement(job.record.target!, options) } = attempt
  await using placement = await place({
    job: job.id,
    sizeBytes: agreement.sizeBytes,
    lanes: agreement.lanes + VERIFY_LANES + 1,
    fileMode: parts.config.fileMode,
    signal,
  })
  // A journal is worth what is staged: gone, or of another state of the source, and everything is looked at again.
  if (!placement.resumed || job.record.snapshot !== agreement.snapshot) await journal.clear()
  await job.update({ snapshot: agreement.snapshot, placed: placement.identity })
  if (placement.previous !== undefined && job.record.scope !== undefined) {
    await indexPrevious(parts, job.record.scope, placement.previous, {
      signal,
      onRead: (bytes) => stream.working(bytes),
    })
  }
  try {
    await flow(attempt, placement, journal, endpoint)
  } catch (error) {
    if (error instanceof FluidError && error.code === 'CANCELLED') {
      await placement.discard()
      await journal.clear()
    }
    throw error
  }
}

async function flow(
  attempt: IncomingAttempt,
  placement: Placement,
  journal: Journal,
  endpoint: LaneEndpoint,
): Promise<void> {
  const { parts, job, offer, agreement, viaduct } = attempt
  const { stream } = viaduct
  const { counters } = job.record
  const recent = createRecentTable(
    Math.min(MAX_RECENT_CHUNKS, (agreement.allocatedBytes / MEAN_CHUNK_BYTES) * 2),
  )
  await remember(journal, recent)
  counters.resumedBytes = Math.max(counters.resumedBytes, journal.dataBytes)
  await sendCommitted(attempt, journal)
  await using inbound = new Inbound({
    pool: parts.pool,
    sinkUrl: placement.sinkUrl,
    sink: placement.sink,
    sizeBytes: agreement.sizeBytes,
    journal,
    statePath: parts.statePath,
    scopes: await scopesWithChunks(parts, job.record.scope),
    recent,
    counters,
    onRewrite: () => void job.update({ readBack: true }),
    onCheckpoint: async (ranges) => {
      await job.update({}, { durable: false })
      for (let i = 0; i < ranges.length; i += MAX_RANGES_PER_FRAME) {
        // The stream may be gone already; what is durable is told by the next attempt.
        await stream
          .send({ kind: 'checkpoint', ranges: ranges.slice(i, i + MAX_RANGES_PER_FRAME) })
          .catch(() => {})
      }
    },
  })
  job.live = inbound
  const wireBefore = counters.wireBytes
  let taken = 0
  const room = () => taken++ < agreement.lanes
  using _sockets = parts.listener.expect(endpoint.token, ({ fd, head }) => {
    if (!room()) return false
    const { certificate } = offer.endpoint!
    void inbound
      .addLane({ kind: 'tls-accept', fd, head, identity: parts.laneIdentity, peerCertificate: certificate })
      .then((opened) => opened || parts.mesh.refusals.count('lane-unproven'))
    return true
  })
  using _streams = parts.streamLanes.expect(stream.peer, endpoint.token, (port) => {
    if (!room()) return false
    void inbound.addLane({ kind: 'port', port, path: 'libp2p' })
    return true
  })
  try {
    using _wishes = attempt.onWish(() => void heed(attempt))
    await heed(attempt)
    if (!journal.done.contains(0, agreement.sizeBytes)) await dialSender(attempt, inbound)
    const hearing = hear(attempt)
    hearing.catch(() => {})
    const complete = await withVerdict(Promise.race([hearing, inbound.failed]), hearing)
    await inbound.settle()
    await inbound.commit()
    await finish(attempt, placement, journal, complete, inbound.path)
  } finally {
    count(job, counters.wireBytes - wireBefore, inbound.path ?? 'mesh', { counted: true })
  }
}

/** Dials lanes to the sender, the fast way; when no address answers the sender is told to dial here. */
async function dialSender(
  { parts, agreement, offer, viaduct, signal }: IncomingAttempt,
  inbound: Inbound,
): Promise<void> {
  const endpoint = widened(offer.endpoint!, viaduct.remoteAddr)
  const dialed = await dialableLanes(
    endpoint,
    Math.min(agreement.lanes, MAX_LANES),
    parts.laneIdentity,
    signal,
  )
  const opened = (await Promise.all(dialed.map((lane) => inbound.addLane(lane)))).filter(Boolean).length
  await viaduct.stream.send({
    kind: 'lane-report',
    opened,
    reason: opened > 0 ? '' : 'No address of the sender answers',
  })
}

/** The sender's side of the conversation until it says that everything is durable. */
async function hear(attempt: IncomingAttempt): Promise<ControlMessageOf<'complete'>> {
  const { parts, job, viaduct } = attempt
  const { stream } = viaduct
  for (;;) {
    const message = await stream.receive()
    switch (message.kind) {
      case 'complete':
        return message
      case 'cancel':
        throw cancelled(message.reason)
      case 'pause':
      case 'resume':
        await showPause(attempt)
        break
      case 'lane-report':
        if (message.opened === 0)
          parts.log.info({ job: job.id }, 'Lanes ride the mesh: no socket connects either way')
        break
      case 'status':
        parts.log.warn({ job: job.id, code: message.code }, message.message)
        break
      default:
        throw new FluidError('PROTOCOL_VIOLATION', `The sender sent ${message.kind} while data flows`)
    }
  }
}

/** Does what the owner on this side wants. */
async function heed(attempt: IncomingAttempt): Promise<void> {
  const { stream } = attempt.viaduct
  const { wanted } = attempt.job.record
  if (wanted === 'cancel') {
    await stream.send({ kind: 'cancel', reason: 'Cancelled at the receiver' }).catch(() => {})
    await stream.fail(new FluidError('CANCELLED', 'The job was cancelled at the receiver'))
  } else {
    const held = stream.state === 'paused-by-responder' || stream.state === 'paused-by-both'
    if (wanted === 'pause' && !held)
      await stream.send({ kind: 'pause', reason: 'Paused at the receiver' }).catch(() => {})
    if (wanted === 'run' && held) await stream.send({ kind: 'resume' }).catch(() => {})
    await showPause(attempt)
  }
}

/** Makes the job's state say what the viaduct's says. */
async function showPause({ job, viaduct }: IncomingAttempt): Promise<void> {
  const state = isPaused(viaduct.stream.state) ? 'paused' : 'running'
  if (job.record.state !== state) await job.become(state)
}

/** Compares roots, reads back if asked, puts the volume in its place, and exchanges the receipt. */
async function finish(
  attempt: IncomingAttempt,
  placement: Placement,
  journal: Journal,
  complete: ControlMessageOf<'complete'>,
  path: string | undefined,
): Promise<void> {
  const { parts, job, agreement, signal } = attempt
  await job.become('verifying')
  const digest = await journaledDigest(journal, agreement.sizeBytes, agreement.chunking)
  requireSameRoot(digest.root, complete.root, 'What arrived')
  if (agreement.verifyDeep || job.record.readBack) {
    const readBack = await readPlaced(attempt, placement)
    requireSameRoot(readBack.root, complete.root, 'What was read back from disk')
  }
  const { path: placedAt } = await placement.commit(signal)
  parts.log.info({ job: job.id, path: placedAt }, 'The volume is in its place')
  await exchangeReceipt(attempt, receiptOf(attempt, digest, complete, path ?? 'tls'))
}

/** The volume was placed before, but the sender may not know: tell it again, and check that it means the same bytes. */
async function repeatReceipt(attempt: IncomingAttempt, journal: Journal): Promise<void> {
  const { job, agreement, viaduct } = attempt
  const ranges = agreement.sizeBytes > 0 ? [{ start: 0, end: agreement.sizeBytes }] : []
  await viaduct.stream.send({ kind: 'committed', ranges, more: false })
  const complete = await hear(attempt)
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

/** True when this job's file is under its final name already, though the job did not live to note it. */
async function isAlreadyPlaced({ job, agreement }: IncomingAttempt, journal: Journal): Promise<boolean> {
  const { target, placed } = job.record
  if (target?.kind !== 'file' || placed === undefined || !journal.done.contains(0, agreement.sizeBytes))
    return false
  return await isPlaced(target, placed)
}

async function sendCommitted({ viaduct }: IncomingAttempt, journal: Journal): Promise<void> {
  const ranges = [...journal.done]
  for (let i = 0; ; i += MAX_RANGES_PER_FRAME) {
    const more = i + MAX_RANGES_PER_FRAME < ranges.length
    await viaduct.stream.send({ kind: 'committed', ranges: ranges.slice(i, i + MAX_RANGES_PER_FRAME), more })
    if (!more) return
  }
}

/** Puts what earlier attempts placed into the table of recent chunks. */
async function remember(journal: Journal, table: SharedArrayBuffer): Promise<void> {
  const recent = openRecentTable(table)
  for await (const { entries } of journal.records()) {
    for (let i = 0; i < entryCount(entries); i++)
      recent.put(entryDigest(entries, i), 0, entryOffset(entries, i))
  }
}

/** The scopes this peer may find chunks in, less those that are empty. */
async function scopesWithChunks({ index }: JobParts, grant: Scope | undefined): Promise<Scope[]> {
  const scopes: Scope[] = []
  for (const scope of grant ? [grant, SEED_SCOPE] : [SEED_SCOPE])
    if (await index.hasAny(scope)) scopes.push(scope)
  return scopes
}

function cancelled(reason: string): FluidError {
  return new FluidError('CANCELLED', reason || 'The sender cancelled the job')
}

async function readPlaced(
  { parts, agreement, viaduct, signal }: IncomingAttempt,
  placement: Placement,
): Promise<VolumeDigest> {
  const { stream } = viaduct
  await placement.sink.sync()
  await using source = await openSource(placement.sinkUrl)
  if (placement.sinkUrl.startsWith('file:')) dropCachedPages(fileURLToPath(placement.sinkUrl))
  const totalBytes = agreement.sizeBytes
  let toldAt = 0
  return await readDigest(
    parts.pool,
    { url: placement.sinkUrl, source: { ...source, sizeBytes: totalBytes } },
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
