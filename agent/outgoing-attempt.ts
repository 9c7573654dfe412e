/**
 * One attempt of the sending side: viaduct, offer, agreement, lanes, data, completion, receipt. It returns when the
 * receipt is signed by both; anything else is thrown, and outgoing-job.ts decides whether to try again.
 */
import { decodeReceipt, receiptSigningBytes } from '../protocol/receipt.ts'
import { agreementSigningBytes, decodeAgreement } from '../protocol/agreement.ts'
import type { Agreement, ControlMessageOf, LaneEndpoint, Offer } from '../protocol/control-message.ts'
import { FluidError } from '../protocol/errors.ts'
import { RangeSet } from '../protocol/extent.ts'
import { HANDSHAKE_TIMEOUT_MS, WINDOW_BYTES } from '../protocol/limits.ts'
import { formatRoot } from '../protocol/manifest.ts'
import { isPaused, type State } from '../protocol/state.ts'
import { isChunking, type Chunking } from '../transfer/chunker.ts'
import type { Journal } from '../transfer/journal.ts'
import { Outbound } from '../transfer/outbound.ts'
import { createPacer } from '../transfer/pacer.ts'
import type { PreparedSource } from '../transfer/prepared-source.ts'
import { journaledDigest, readRecords } from '../transfer/root.ts'
import type { AcceptedSocket } from './data-listener.ts'
import { verifyPeerSignature } from './identity.ts'
import type { ControlStream } from './control-stream.ts'
import type { Job } from './job.ts'
import { capabilities, type JobParts } from './job-parts.ts'
import { withVerdict } from './peer-verdict.ts'
import { whileMoving } from './progress-watch.ts'
import { signedBody } from './signed-body.ts'
import { laneCount } from './lane-count.ts'
import { dialableLanes } from './lane-dialing.ts'
import { laneEndpoint, openViaduct, widened, type Viaduct } from './viaduct.ts'

export interface OutgoingAttempt {
  readonly parts: JobParts
  readonly job: Job
  readonly source: PreparedSource
  /** What identifies the state of the source that is sent. */
  readonly snapshot: string
  readonly journal: Journal
  readonly signal: AbortSignal
  /** Called when the job's owner asks for a pause or its end while the attempt runs. */
  onWish(listener: () => void): Disposable
}

/** In these states the receiver owes an answer, credit or checkpoints. A person's approval, or a pause, may take for ever. */
const OWED: ReadonlySet<State> = new Set<State>(['offered', 'accepted', 'flowing', 'completing'])

/** Runs the attempt to its end: the receiver's receipt, once both have signed it. */
export async function runOutgoing(attempt: OutgoingAttempt): Promise<ControlMessageOf<'receipt'>> {
  const { parts, job, signal } = attempt
  const viaduct = await openViaduct(parts, job.record.peer, signal)
  const { stream } = viaduct
  const stop = () => void stream.fail(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  try {
    const receipt = await whileMoving({ parts, job, stream }, OWED, () => converse(attempt, viaduct))
    await stream[Symbol.asyncDispose]()
    return receipt
  } catch (error) {
    await stream.fail(error)
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
    count(job, stream.wireBytes, 'mesh')
  }
}

async function converse(attempt: OutgoingAttempt, viaduct: Viaduct): Promise<ControlMessageOf<'receipt'>> {
  const { parts, job, source, journal } = attempt
  const { stream } = viaduct
  const endpoint = laneEndpoint(parts, viaduct.remoteAddr)
  const accepted: AcceptedSocket[] = []
  let take = (socket: AcceptedSocket) => void accepted.push(socket)
  let agreedLanes = 0
  const takenLanes = new Set<number>()
  using _expected = parts.listener.expect(endpoint.token, (socket) => {
    if (socket.lane >= agreedLanes || takenLanes.has(socket.lane)) return false
    takenLanes.add(socket.lane)
    take(socket)
    return true
  })
  const agreed = await agreeUnlessCancelled(attempt, viaduct, endpoint)
  agreedLanes = agreed.agreement.lanes
  if (job.record.wanted === 'cancel') {
    await stream.send({ kind: 'cancel', reason: 'Cancelled by its owner' })
    throw new FluidError('CANCELLED', 'The job was cancelled')
  }
  await stream.send({ kind: 'accept', signature: agreed.senderSignature })
  const committed = await receiveCommitted(viaduct, source.sizeBytes)
  const { chunking } = agreed.agreement
  if (!isChunking(chunking))
    throw new FluidError('PROTOCOL_VIOLATION', `The peer agreed to ${chunking}, which was not offered`)
  await job.update({
    chunking,
    state: 'running',
    startedAt: job.record.startedAt ?? Date.now(),
    error: undefined,
  })
  if (committed.contains(0, source.sizeBytes)) await reread(attempt, viaduct, chunking)
  job.record.counters.resumedBytes = Math.max(job.record.counters.resumedBytes, journal.dataBytes)

  await using outbound = new Outbound({
    pool: parts.pool,
    source,
    journal,
    committed,
    chunking,
    compression: job.record.options.compression,
    pacers: pacersOf(attempt),
    counters: job.record.counters,
  })
  job.live = outbound
  const wireBefore = job.record.counters.wireBytes
  take = (socket) =>
    void outbound
      .addLane(acceptedLane(parts, agreed.endpoint, socket))
      .then((opened) => opened || parts.mesh.refusals.count('lane-unproven'))
  for (const socket of accepted.splice(0)) take(socket)
  try {
    using _wishes = attempt.onWish(() => void heed(attempt, viaduct, outbound))
    await heed(attempt, viaduct, outbound)
    const hearing = hear(attempt, viaduct, outbound, agreed)
    hearing.catch(() => {})
    await withVerdict(Promise.race([outbound.done, hearing]), hearing)
    return await complete(attempt, viaduct, outbound, hearing)
  } finally {
    count(job, job.record.counters.wireBytes - wireBefore, outbound.path ?? 'mesh', { counted: true })
  }
}

interface Agreed {
  readonly agreement: Agreement
  readonly endpoint: LaneEndpoint
  readonly senderSignature: Uint8Array
}

/** A person at the receiver may take days to approve; the owner here may change its mind meanwhile. */
async function agreeUnlessCancelled(
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
  { parts, job, source, snapshot }: OutgoingAttempt,
  { stream, roundTripMs }: Viaduct,
  endpoint: LaneEndpoint,
): Promise<Agreed> {
  const offer = await offerOf(parts, job, source, snapshot, { roundTripMs, endpoint })
  await stream.send({ kind: 'offer', ...offer })
  for (;;) {
    const message = await stream.receive()
    if (message.kind === 'pending') await job.become('awaiting-approval')
    else if (message.kind === 'refusal') throw refusalError(message)
    else if (message.kind === 'cancel')
      throw new FluidError('CANCELLED', message.reason || 'The receiver cancelled the job')
    else if (message.kind === 'agreement') {
      const agreement = await checkAgreement(parts, job, offer, message)
      const senderSignature = await parts.identity.sign(agreementSigningBytes(message.body))
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

/** The offer of a job; without an endpoint it is a dry run. */
export async function offerOf(
  parts: JobParts,
  job: { readonly record: Pick<Job['record'], 'job' | 'destination' | 'source' | 'options' | 'bench'> },
  source: PreparedSource,
  snapshot: string,
  { roundTripMs = Infinity, endpoint }: { roundTripMs?: number; endpoint?: LaneEndpoint },
): Promise<Offer> {
  const { record } = job
  const { chunkings, codecs } = capabilities(parts)
  return {
    job: Buffer.from(record.job, 'hex'),
    destination: record.destination,
    sizeBytes: source.sizeBytes,
    allocatedBytes: await source.allocatedBytes(),
    sourceFormat: source.format,
    snapshot,
    targetFormat: record.options.format,
    replace: record.options.replace,
    verifyDeep: record.options.verifyDeep,
    chunkings,
    codecs: record.options.compression === 'off' ? ['raw'] : codecs,
    lanes: laneCount(record.options.lanes, { roundTripMs, most: parts.config.limits.lanes }),
    dryRun: endpoint === undefined,
    endpoint,
    label: record.source.slice(-200).replace(/[^\x20-\x7e]/g, '?'),
    compression: record.options.compression,
    bench: record.bench,
  }
}

/** What a refusal is thrown as: its first reason, with the others in the hint. */
export function refusalError({ reasons }: Pick<ControlMessageOf<'refusal'>, 'reasons'>): FluidError {
  const [first, ...others] = reasons
  if (!first) return new FluidError('POLICY_DENIED', 'The peer refused without a reason')
  const hint = others.length > 0 ? `Also: ${others.map(({ message }) => message).join('; ')}` : undefined
  return new FluidError(first.code, first.message, { hint })
}

async function checkAgreement(
  parts: JobParts,
  job: Job,
  offer: Offer,
  message: ControlMessageOf<'agreement'>,
): Promise<Agreement> {
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
    offer.chunkings.includes(agreement.chunking) &&
    agreement.codecs.every((codec) => offer.codecs.includes(codec)) &&
    agreement.lanes >= 1 &&
    agreement.lanes <= offer.lanes
  if (!same)
    throw new FluidError('PROTOCOL_VIOLATION', 'The agreement is not about what was offered', { peer })
  return agreement
}

/** Whole windows, ascending over all messages: so their number is bounded by the volume's size. */
async function receiveCommitted({ stream }: Viaduct, sizeBytes: number): Promise<RangeSet> {
  const committed = new RangeSet()
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
    committed.addAll(message.ranges)
    if (!message.more) return committed
  }
}

/** The receiver holds everything, but this side's journal may have lost some of it: the source tells. */
async function reread(
  { parts, job, source, journal, signal }: OutgoingAttempt,
  { stream }: Viaduct,
  chunking: Chunking,
): Promise<void> {
  if (journal.done.contains(0, source.sizeBytes)) return
  parts.log.warn({ job: job.id }, 'The journal is incomplete: reading the source again')
  for await (const record of readRecords(parts.pool, source, chunking, {
    lanes: job.record.options.lanes ?? parts.config.limits.lanes,
    signal,
  })) {
    await journal.append([record], { durable: false })
    stream.working(record.end)
  }
}

/** The job's own limit, and the one that all jobs share. */
function pacersOf({ parts, job }: OutgoingAttempt): SharedArrayBuffer[] {
  const { bandwidth } = job.record.options
  return [...(bandwidth === undefined ? [] : [createPacer(bandwidth)]), ...(parts.pacer ? [parts.pacer] : [])]
}

function acceptedLane(parts: JobParts, endpoint: LaneEndpoint, { fd, head }: AcceptedSocket) {
  return {
    kind: 'tls-accept',
    fd,
    head,
    identity: parts.laneIdentity,
    peerCertificate: endpoint.certificate,
  } as const
}

/** Does what the owner wants: holds back, goes on, or ends. A pause of the receiver is its own to lift. */
async function heed({ job }: OutgoingAttempt, { stream }: Viaduct, outbound: Outbound): Promise<void> {
  const { wanted } = job.record
  const held = stream.state === 'paused-by-initiator' || stream.state === 'paused-by-both'
  if (wanted === 'cancel') {
    await stream.send({ kind: 'cancel', reason: 'Cancelled by its owner' }).catch(() => {})
    await stream.fail(new FluidError('CANCELLED', 'The job was cancelled'))
  } else if (wanted === 'pause' && !held)
    await stream.send({ kind: 'pause', reason: 'Paused by its owner' }).catch(() => {})
  else if (wanted === 'run' && held) await stream.send({ kind: 'resume' }).catch(() => {})
  await followPause(job, stream, outbound)
}

/** Holds windows back, or not, as the viaduct says; and has the job say so. */
async function followPause(job: Job, stream: ControlStream, outbound: Outbound): Promise<void> {
  const paused = isPaused(stream.state)
  if (paused) outbound.pause()
  else outbound.resume()
  const state = paused ? 'paused' : 'running'
  if (job.record.state !== state && (paused || job.record.state === 'paused')) await job.become(state)
}

/** Deals with what the receiver says while data flows; returns at its receipt, throws when it ends the job. */
async function hear(
  attempt: OutgoingAttempt,
  viaduct: Viaduct,
  outbound: Outbound,
  agreed: Agreed,
): Promise<ControlMessageOf<'receipt'>> {
  const { parts, job, signal } = attempt
  const { stream } = viaduct
  let dialed = false
  for (;;) {
    const message = await stream.receive()
    switch (message.kind) {
      case 'checkpoint':
        await outbound.acknowledge(message.ranges)
        await job.update({}, { durable: false })
        break
      case 'lane-report':
        // Once: a peer that keeps asking would have us dial, and hold lanes, without end.
        if (message.opened === 0 && !dialed) await openLanesToPeer(parts, viaduct, outbound, agreed, signal)
        dialed = true
        break
      case 'pause':
      case 'resume':
        await followPause(job, stream, outbound)
        break
      case 'cancel':
        throw new FluidError(
          'CANCELLED',
          job.record.wanted === 'cancel'
            ? 'The job was cancelled'
            : message.reason || 'The receiver cancelled the job',
        )
      case 'verifying':
        if (job.record.state !== 'verifying') await job.become('verifying')
        break
      case 'receipt':
        return message
      case 'status':
        parts.log.warn({ job: job.id, code: message.code }, message.message)
        break
      default:
        throw new FluidError('PROTOCOL_VIOLATION', `The receiver sent ${message.kind} while data flows`)
    }
  }
}

/** The receiver could not dial us: dial it, and fall back to streams of the mesh. */
async function openLanesToPeer(
  parts: JobParts,
  { stream, remoteAddr }: Viaduct,
  outbound: Outbound,
  { agreement, endpoint }: Agreed,
  signal: AbortSignal,
): Promise<void> {
  const dialed = await dialableLanes(
    widened(endpoint, remoteAddr),
    agreement.lanes,
    parts.laneIdentity,
    signal,
  )
  const opened = (await Promise.all(dialed.map((lane) => outbound.addLane(lane)))).filter(Boolean).length
  await stream.send({
    kind: 'lane-report',
    opened,
    reason: opened > 0 ? '' : 'No address of the receiver answers',
  })
  if (opened > 0) return
  parts.log.info('No socket connects either way: lanes ride the mesh')
  for (let lane = 0; lane < agreement.lanes; lane++) {
    const port = await parts.streamLanes.open(stream.peer, endpoint.token, lane, signal)
    void outbound.addLane({ kind: 'port', port, path: 'libp2p' })
  }
}

/** Everything is durable: tell the root, check the receipt, sign it. */
async function complete(
  attempt: OutgoingAttempt,
  { stream }: Viaduct,
  outbound: Outbound,
  hearing: Promise<ControlMessageOf<'receipt'>>,
): Promise<ControlMessageOf<'receipt'>> {
  const { parts, job, source, snapshot, journal } = attempt
  if ((await source.fingerprint()) !== snapshot) {
    throw new FluidError('SOURCE_CHANGED', `${job.record.source} changed while it was read`)
  }
  // The lanes end by themselves; their last counters belong into the totals.
  await outbound.settle()
  const { root, chunks, dataBytes } = await journaledDigest(journal, source.sizeBytes, job.record.chunking!)
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
  const receipt = await hearing
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
  const senderSignature = await parts.identity.sign(receiptSigningBytes(receipt.body))
  await job.update({ receipt: signedBody(receipt.body, senderSignature, receipt.receiverSignature) })
  await stream.send({
    kind: 'receipt',
    body: receipt.body,
    receiverSignature: receipt.receiverSignature,
    senderSignature,
  })
  // Killed before the receiver has it, this job is not over, and the next attempt gives it again.
  await stream.peerEnded(HANDSHAKE_TIMEOUT_MS)
  await job.update({ state: 'complete' })
  return receipt
}

/** Books bytes under the path they took; those of the control stream also count for the job. */
export function count(job: Job, bytes: number, path: string, { counted = false } = {}): void {
  job.record.wireByPath[path] = (job.record.wireByPath[path] ?? 0) + bytes
  if (!counted) job.record.counters.wireBytes += bytes
}
