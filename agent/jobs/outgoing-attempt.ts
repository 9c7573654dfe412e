/**
 * One attempt of the sending side: viaduct, offer, agreement, lanes, data, completion, receipt. It returns when the
 * receipt is signed by both, or all of a round that is not the last is durable; anything else is thrown, and outgoing-job.ts decides whether to try again.
 */
import type { ControlMessageOf, LaneEndpoint } from '../../protocol/control-message.ts'
import { FluidError } from '../../protocol/errors.ts'
import { COMPLETE_WHEN_SENT_MINOR } from '../../protocol/ids.ts'
import { isPaused, type State } from '../../protocol/state.ts'
import { isChunking, type Chunking } from '../../transfer/chunker.ts'
import { Outbound } from '../../transfer/outbound.ts'
import { createPacer } from '../../transfer/pacer.ts'
import { readRecords } from '../../transfer/root.ts'
import { openBooks, type OutgoingAttempt, type WireBooks } from './attempt.ts'
import type { AcceptedSocket } from '../viaduct/data-listener.ts'
import type { ControlStream } from '../viaduct/control-stream.ts'
import type { Job } from './job.ts'
import { reportStages } from './stage-report.ts'
import type { JobParts } from '../job-parts.ts'
import { agreeUnlessCancelled, receiveCommitted, type Agreed } from './outgoing-agreement.ts'
import { complete, countersign, requireUnchanged } from './outgoing-receipt.ts'
import { bestConnection } from '../mesh/dial-peer.ts'
import { watchForDirect } from './direct-way.ts'
import { withVerdict } from '../viaduct/peer-verdict.ts'
import { whileMoving } from './progress-watch.ts'
import { dialableLanes, reachableAt } from '../viaduct/lane-dialing.ts'
import { growLanes, mostOf } from '../viaduct/lane-growth.ts'
import { whyNotPunched } from '../mesh/punch.ts'
import { isRelayed } from '../mesh/relay.ts'
import { renewedAtPeer } from './rounds.ts'
import { isFar } from '../viaduct/round-trip.ts'
import { laneEndpoint, openViaduct, widened, type Viaduct } from '../viaduct/viaduct.ts'

/** In these states the receiver owes an answer, credit or checkpoints. A person's approval, or a pause, may take for ever. */
const OWED: ReadonlySet<State> = new Set<State>(['offered', 'accepted', 'flowing', 'completing'])
const owes = (state: State) => OWED.has(state)

/** Runs the attempt to its end: the receiver's receipt, which both have signed then; none between rounds. */
export async function runOutgoing(
  attempt: OutgoingAttempt,
): Promise<ControlMessageOf<'receipt'> | undefined> {
  const { parts, job, signal } = attempt
  parts.pool.warm()
  const viaduct = await openViaduct(parts, job.record.peer, signal, { ahead: true })
  const { stream } = viaduct
  const stop = () => void stream.fail(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  const books = openBooks(job, viaduct)
  try {
    const receipt = await whileMoving({ parts, job, stream }, owes, () => converse(attempt, viaduct, books))
    books.control()
    if (receipt) await countersign(attempt, viaduct, receipt)
    await stream[Symbol.asyncDispose]()
    return receipt
  } catch (error) {
    await stream.fail(error)
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
    books.control()
  }
}

async function converse(
  attempt: OutgoingAttempt,
  viaduct: Viaduct,
  books: WireBooks,
): Promise<ControlMessageOf<'receipt'> | undefined> {
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
  agreedLanes = mostOf(agreed.agreement)
  if (job.record.wanted === 'cancel') {
    await stream.send({ kind: 'cancel', reason: 'Cancelled by its owner' })
    throw new FluidError('CANCELLED', 'The job was cancelled')
  }
  const renewed = job.record.rounds?.renewed
  await stream.send({ kind: 'accept', signature: agreed.senderSignature, renewed })
  const { ranges: committed, unaskedBytes } = await receiveCommitted(viaduct, source.sizeBytes)
  await renewedAtPeer(job)
  const { chunking } = agreed.agreement
  if (!isChunking(chunking))
    throw new FluidError('PROTOCOL_VIOLATION', `The peer agreed to ${chunking}, which was not offered`)
  await job.update({
    chunking,
    state: 'running',
    startedAt: job.record.startedAt ?? Date.now(),
    error: undefined,
    pathReason: undefined,
  })
  journal.digestAlong(source.sizeBytes, chunking)
  if (committed.contains(0, source.sizeBytes)) await reread(attempt, viaduct, chunking)
  job.record.counters.resumedBytes = Math.max(job.record.counters.resumedBytes, journal.dataBytes)

  const pacers = pacersOf(attempt)
  // A limit is to hold from the first byte.
  const hurries = isFar(viaduct) && pacers.length === 0
  await using outbound = new Outbound({
    pool: parts.pool,
    source,
    journal,
    committed,
    chunking,
    compression: job.record.options.compression,
    pacers,
    rereads: job.record.options.inPlace,
    unaskedBytes: hurries ? unaskedBytes : 0,
    roundTripMs: viaduct.roundTripMs,
    lineLoses: viaduct.line?.loses,
    onLineLoses: () => viaduct.line?.noteLosses(),
    counters: job.record.counters,
  })
  job.live = outbound
  const directly = Promise.withResolvers<never>()
  directly.promise.catch(() => {})
  const moveOver = () => {
    const why = 'A direct way to the peer appeared: the job leaves the relay'
    directly.reject(new FluidError('INTERRUPTED', why))
  }
  take = (socket) => {
    // The receiver has found a way.
    if (outbound.path === 'relay') moveOver()
    void outbound
      .addLane(acceptedLane(parts, agreed.endpoint, socket))
      .then((opened) => opened || parts.mesh.refusals.count('lane-unproven'))
  }
  for (const socket of accepted.splice(0)) take(socket)
  try {
    using _wishes = attempt.onWish(() => void heed(attempt, viaduct, outbound).catch(stream.fail))
    await heed(attempt, viaduct, outbound)
    const hearing = hear(attempt, viaduct, outbound, { ...agreed, moveOver })
    hearing.catch(() => {})
    const last = !job.record.rounds || job.record.rounds.last
    const ahead = last && agreed.agreement.minor >= COMPLETE_WHEN_SENT_MINOR
    await withVerdict(
      Promise.race([ahead ? outbound.sent : outbound.done, hearing, directly.promise]),
      hearing,
    )
    if (last) return await complete(attempt, viaduct, outbound, hearing)
    await requireUnchanged(attempt)
    await outbound.settle()
    await stream.fail(
      new FluidError('INTERRUPTED', 'The source is written to: more follows in another round'),
    )
    return undefined
  } finally {
    books.lanes(outbound.path)
    reportStages(parts, job)
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

function acceptedLane(parts: JobParts, endpoint: LaneEndpoint, { fd, sameMachine, head }: AcceptedSocket) {
  return {
    kind: 'tls-accept',
    fd,
    sameMachine,
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

interface Moving {
  /** Ends the attempt for one on a direct way. */
  moveOver(): void
}

/** Deals with what the receiver says while data flows; returns at its receipt, throws when it ends the job. */
async function hear(
  attempt: OutgoingAttempt,
  viaduct: Viaduct,
  outbound: Outbound,
  agreed: Agreed & Moving,
): Promise<ControlMessageOf<'receipt'>> {
  const { parts, job } = attempt
  const { stream } = viaduct
  let dialed = false
  using growing = new DisposableStack()
  for (;;) {
    const message = await stream.receive()
    switch (message.kind) {
      case 'checkpoint':
        await outbound.acknowledge(message.ranges)
        await job.update({}, { durable: false })
        break
      case 'lane-report':
        // Once: a peer that keeps asking would have us dial, and hold lanes, without end.
        if (message.opened === 0 && !dialed)
          growing.use(await openLanesToPeer(attempt, viaduct, outbound, agreed, message.reason))
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

/** The receiver could not dial us: dial it, and fall back to streams of the mesh. Dispose it to add no more lanes. */
async function openLanesToPeer(
  { parts, job, source, signal, moving }: OutgoingAttempt,
  viaduct: Viaduct,
  outbound: Outbound,
  { agreement, endpoint, moveOver }: Agreed & Moving,
  theirReason: string,
): Promise<Disposable> {
  const { stream, remoteAddr, roundTripMs = 0 } = viaduct
  const at = await reachableAt(widened(endpoint, remoteAddr), signal)
  const open = async (from: number, to: number) => {
    const dialed = at ? dialableLanes(endpoint, at, { from, to, identity: parts.laneIdentity }) : []
    return (await Promise.all(dialed.map((lane) => outbound.addLane(lane)))).filter(Boolean).length
  }
  const opened = await open(0, agreement.lanes)
  await stream.send({
    kind: 'lane-report',
    opened,
    reason: opened > 0 ? '' : 'No address of the receiver answers',
  })
  if (opened > 0) {
    return growLanes({
      lanes: opened < agreement.lanes ? 0 : opened,
      most: mostOf(agreement),
      roundTripMs,
      wireBytes: () => job.record.counters.wireBytes,
      leftBytes: () => source.sizeBytes - outbound.doneBytes,
      lineFull: () => outbound.lineFull,
      near: () => outbound.near,
      sharing: () => ({ jobs: moving() }),
      paused: () => isPaused(stream.state),
      open,
    })
  }
  const reasons = [theirReason, at ? 'lanes to the receiver failed' : 'no address of the receiver answers']
  const connection = bestConnection(parts.mesh.node, stream.peer)
  const relayed = connection === undefined ? viaduct.relayed : isRelayed(connection)
  if (relayed) {
    reasons.push(
      'the mesh itself connects through a relay only',
      whyNotPunched(parts.mesh.node, stream.peer) ?? '',
    )
    await requireRelayAllowed(parts, viaduct)
  }
  const pathReason = reasons.filter(Boolean).join('; ')
  parts.log.info({ job: job.id, reason: pathReason }, relayed ? 'Lanes ride a relay' : 'Lanes ride the mesh')
  await job.update({ pathReason }, { durable: false })
  // All lanes of a relay are one stream there.
  for (let lane = 0; lane < (relayed ? 1 : agreement.lanes); lane++) {
    const { port, path } = await parts.streamLanes.open(stream.peer, endpoint.token, lane, signal)
    void outbound.addLane({ kind: 'port', port, path })
  }
  return relayed ? watchForDirect({ parts, job, endpoint }, moveOver) : { [Symbol.dispose]() {} }
}

/** Throws NO_PATH unless both owners let data pass a relay. */
async function requireRelayAllowed({ config, mesh }: JobParts, { hello, stream }: Viaduct): Promise<void> {
  const forbids = !config.allowRelay
    ? 'this agent lets no data'
    : (await hello).capabilities.lanes.includes('relay')
      ? undefined
      : 'the peer lets no data'
  if (!forbids) return
  const why = whyNotPunched(mesh.node, stream.peer)
  throw new FluidError(
    'NO_PATH',
    `Only a relay connects both sides, and ${forbids} pass one${why ? ` (${why})` : ''}`,
    {
      hint: 'Open a data port at one side, or say webrtc = true in config.toml at both and at the relay, or allow_relay = true at both',
    },
  )
}
