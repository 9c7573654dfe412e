/**
 * One attempt of the receiving side, from the agreement on: placement, what is durable already, lanes, data,
 * verification, rename, receipt. Whatever happens, what is staged stays for the next attempt unless the job is cancelled.
 */
import { agreementSigningBytes, encodeAgreement } from '../../protocol/agreement.ts'
import type { ControlMessageOf, LaneEndpoint } from '../../protocol/control-message.ts'
import { FluidError } from '../../protocol/errors.ts'
import { BLOCKS_MINOR } from '../../protocol/ids.ts'
import { INCOMING_LANE_BYTES, MAX_RANGES_PER_FRAME, UNASKED_BYTES } from '../../protocol/limits.ts'
import { entryCount, entryDigest, entryOffset } from '../../protocol/manifest.ts'
import { verifyPeerSignature } from '../../protocol/peer-signature.ts'
import { isPaused, type State } from '../../protocol/state.ts'
import { SEED_SCOPE, type Scope } from '../../transfer/chunk-index.ts'
import { CHUNKING_FASTCDC_64K } from '../../transfer/chunker.ts'
import type { Placement, PlacementOptions } from '../../transfer/destination.ts'
import { isPlaced } from '../../transfer/file-placement.ts'
import { Inbound } from '../../transfer/inbound.ts'
import { Journal } from '../../transfer/journal.ts'
import { openPlacement } from '../../transfer/placement.ts'
import { createRecentTable, openRecentTable } from '../../transfer/recent-chunks.ts'
import { type IncomingAttempt, openBooks, type WireBooks } from './attempt.ts'
import { recentChunksOf } from './incoming-room.ts'
import { finish, repeatReceipt, VERIFY_LANES } from './incoming-receipt.ts'
import { indexPrevious } from './indexing.ts'
import type { JobParts } from '../job-parts.ts'
import type { Job } from './job.ts'
import type { ControlStream } from '../viaduct/control-stream.ts'
import { EarlySockets } from '../viaduct/early-sockets.ts'
import { dialableLanes, firstAddress, reachableAt, type HostPort } from '../viaduct/lane-dialing.ts'
import { growLanes, mostOf } from '../viaduct/lane-growth.ts'
import { withVerdict } from '../viaduct/peer-verdict.ts'
import { whileMoving } from './progress-watch.ts'
import { signedBody } from './signed-body.ts'
import { reportStages } from './stage-report.ts'
import { type DirectWay, watchForDirect } from './direct-way.ts'
import { laneEndpoint, widened } from '../viaduct/viaduct.ts'

/** Runs the attempt; returns when both have signed the receipt, throws CANCELLED when either side ended the job. */
export async function runIncoming(attempt: IncomingAttempt): Promise<void> {
  const { parts, job, viaduct } = attempt
  const { stream } = viaduct
  const books = openBooks(job, viaduct)
  try {
    await whileMoving(
      { parts, job, stream },
      (state) => owes(state, job),
      () => converse(attempt, books),
    )
  } finally {
    books.control()
  }
}

/** Whether the sender owes windows, their data, or the end. */
function owes(state: State, { live, record }: Job): boolean {
  if (state === 'flowing') return true
  // What it says it has sent.
  return state === 'completing' && live !== undefined && live.doneBytes < record.sizeBytes
}

async function converse(attempt: IncomingAttempt, books: WireBooks): Promise<void> {
  const { parts, job, offer, agreement, viaduct, signal } = attempt
  const { stream, remoteAddr } = viaduct
  const complete = job.record.state === 'complete'
  // While both sign: a thread starts, and the address is found at which the sender answers; most often it is connected to.
  if (!complete) parts.pool.warm()
  const theirs = widened(offer.endpoint!, remoteAddr)
  const senderAt = complete ? undefined : reachableAt(theirs, signal)
  senderAt?.catch(() => {})
  using early = new EarlySockets(complete ? undefined : firstAddress(theirs), agreement.lanes)
  const endpoint = laneEndpoint(parts, remoteAddr)
  const body = encodeAgreement(agreement)
  const signature = await parts.identity.sign(agreementSigningBytes(body))
  const sentAt = performance.now()
  await stream.send({ kind: 'agreement', body, signature, endpoint })
  const answer = await stream.expect('accept', 'cancel')
  const roundTripMs = performance.now() - sentAt
  if (answer.kind === 'cancel') throw cancelled(answer.reason)
  if (!(await verifyPeerSignature(stream.peer, agreementSigningBytes(body), answer.signature))) {
    throw new FluidError('PROTOCOL_VIOLATION', 'The agreement is not signed by the sender', {
      peer: stream.peer,
    })
  }
  const journal = await Journal.open(parts.level, Buffer.from(job.id, 'hex'))
  if (complete || (await isAlreadyPlaced(attempt, journal))) {
    const ranges = agreement.sizeBytes > 0 ? [{ start: 0, end: agreement.sizeBytes }] : []
    await stream.send({ kind: 'committed', ranges, more: false })
    return await repeatReceipt(attempt, journal, await hear(attempt))
  }
  // In the same turn as the state changes: who holds the place later sees that it is written to.
  parts.heldPlaces.requireFree(job.record)
  await job.update({
    agreement: signedBody(body, answer.signature, signature),
    chunking: agreement.chunking,
    state: 'running',
    startedAt: job.record.startedAt ?? Date.now(),
    error: undefined,
  })
  const target = { ...job.record.target!, inPlace: agreement.inPlace }
  const { place = (options: PlacementOptions) => openPlacement(target, options) } = attempt
  await using placement = await place({
    job: job.id,
    sizeBytes: agreement.sizeBytes,
    lanes: mostOf(agreement) + VERIFY_LANES + 1,
    fileMode: parts.config.fileMode,
    beginAnew: () => journal.clear(),
    signal,
  })
  if (placement.obstacle !== undefined)
    parts.log.warn({ job: job.id }, `Staged beside the version there, not in place: ${placement.obstacle}`)
  // A journal is worth what is staged: gone, or of another state of the source, and everything is looked at again.
  if (!placement.resumed || job.record.snapshot !== agreement.snapshot) await journal.clear()
  // On the disk with the first that the journal records, or forgets, of it.
  await job.update({ snapshot: agreement.snapshot, placed: undefined }, { durable: false })
  // Before a byte is written over them: they are durable no more, whenever this side is killed.
  await journal.forget(answer.renewed ?? [])
  const indexable = agreement.chunking === CHUNKING_FASTCDC_64K && job.record.scope !== undefined
  if (placement.previous !== undefined && indexable) {
    await indexPrevious(parts, job.record.scope!, placement.previous, {
      signal,
      at: placement.previousAt,
      onRead: (bytes) => stream.working(bytes),
    })
  }
  try {
    await flow(attempt, placement, journal, { endpoint, senderAt, early, roundTripMs }, books)
  } catch (error) {
    if (error instanceof FluidError && error.code === 'CANCELLED') {
      // First, so that an old version that is put back is never taken for the new one.
      await job.update({ placed: undefined, snapshot: undefined })
      await journal.clear()
      await placement.discard()
    }
    throw error
  }
}

/** How lanes come about in an attempt. */
interface LanesOfAttempt {
  /** Of this side. */
  readonly endpoint: LaneEndpoint
  /** Where the sender answers, if it does. */
  readonly senderAt: Promise<HostPort | undefined> | undefined
  /** To the sender. */
  readonly early: EarlySockets
  /** At most. */
  readonly roundTripMs: number
}

async function flow(
  attempt: IncomingAttempt,
  placement: Placement,
  journal: Journal,
  { endpoint, senderAt, early, roundTripMs }: LanesOfAttempt,
  books: WireBooks,
): Promise<void> {
  const { parts, job, offer, agreement, viaduct } = attempt
  const { stream } = viaduct
  const { counters } = job.record
  const recent = createRecentTable(recentChunksOf(agreement))
  await remember(journal, recent)
  journal.digestAlong(agreement.sizeBytes, agreement.chunking)
  counters.resumedBytes = Math.max(counters.resumedBytes, journal.dataBytes)
  // Of what is likely here already nothing comes unasked.
  const unaskedBytes = placement.previous === undefined ? UNASKED_BYTES : undefined
  await sendCommitted(attempt, journal, unaskedBytes)
  await using inbound = new Inbound({
    pool: parts.pool,
    sinkUrl: placement.sinkUrl,
    sink: placement.sink,
    sizeBytes: agreement.sizeBytes,
    journal,
    statePath: parts.statePath,
    scopes: await scopesWithChunks(parts, job.record.scope),
    recent,
    // A checksum that matched by chance would do so again: after a digest that did not, chunks come whole.
    comparesBlocks: agreement.minor >= BLOCKS_MINOR && job.record.offences === 0,
    previous: previousFor(attempt, placement),
    unaskedBytes,
    counters,
    onRewrite: () => job.update({ readBack: true }),
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
  let accounted = false
  /** Once the lanes have ended, and before anybody hears that the job is over. */
  const account = () => {
    if (accounted) return
    accounted = true
    books.lanes(inbound.path)
    reportStages(parts, job)
  }
  let taken = 0
  const most = mostOf(agreement)
  // Room for the first of them was made before; a lane that is refused counts, so that nobody asks without end.
  const room = () => taken < most && (taken++ < agreement.lanes || attempt.room.grow(INCOMING_LANE_BYTES))
  using _sockets = parts.listener.expect(endpoint.token, ({ fd, sameMachine, head }) => {
    if (!room()) return false
    const { certificate } = offer.endpoint!
    void inbound
      .addLane({
        kind: 'tls-accept',
        fd,
        sameMachine,
        head,
        identity: parts.laneIdentity,
        peerCertificate: certificate,
      })
      .then((opened) => opened || parts.mesh.refusals.count('lane-unproven'))
    return true
  })
  // A socket of ours tells the sender that there is a way.
  const showWay = (at: DirectWay) => {
    if (at === 'mesh') return
    const [lane] = dialableLanes(offer.endpoint!, at, { to: 1, identity: parts.laneIdentity })
    void inbound.addLane(lane)
  }
  using looking = new DisposableStack()
  let rides = false
  using _streams = parts.streamLanes.expect(stream.peer, endpoint.token, (port, _, path) => {
    if (!room()) return false
    if (path === 'relay' && !rides) {
      rides = true
      looking.use(watchForDirect({ parts, job, endpoint: offer.endpoint!, mesh: false }, showWay))
    }
    void inbound.addLane({ kind: 'port', port, path })
    return true
  })
  try {
    using _wishes = attempt.onWish(() => void heed(attempt).catch(stream.fail))
    await heed(attempt)
    const whole = journal.done.contains(0, agreement.sizeBytes)
    using growing = whole
      ? undefined
      : await dialSender(attempt, inbound, { at: await senderAt, early, roundTripMs })
    const hearing = hear(attempt)
    hearing.catch(() => {})
    const complete = await withVerdict(Promise.race([hearing, inbound.failed]), hearing)
    growing?.[Symbol.dispose]()
    await untilPlaced(attempt, inbound)
    await inbound.settle()
    account()
    await inbound.commit()
    await finish(attempt, placement, journal, complete, inbound.path)
  } finally {
    account()
  }
}

/**
 * Dials lanes to the sender, the fast way; when no address answers the sender is told to dial here. Dispose it to add
 * no more lanes.
 */
async function dialSender(
  { parts, job, agreement, offer, viaduct, room, moving }: IncomingAttempt,
  inbound: Inbound,
  { at, early, roundTripMs }: { at: HostPort | undefined; early: EarlySockets; roundTripMs: number },
): Promise<Disposable> {
  const { laneIdentity: identity } = parts
  const open = async (from: number, to: number) => {
    const dialed = at ? dialableLanes(offer.endpoint!, at, { from, to, identity, early }) : []
    const opening = dialed.map(
      async (lane) =>
        // What was connected early may be gone again.
        (await inbound.addLane(lane)) ||
        (lane.fd !== undefined && inbound.addLane({ ...lane, fd: undefined })),
    )
    return (await Promise.all(opening)).filter(Boolean).length
  }
  const opened = await open(0, agreement.lanes)
  await viaduct.stream.send({
    kind: 'lane-report',
    opened,
    reason: opened > 0 ? '' : 'No address of the sender answers',
  })
  return growLanes({
    lanes: opened < agreement.lanes ? 0 : opened,
    most: mostOf(agreement),
    roundTripMs,
    wireBytes: () => job.record.counters.wireBytes,
    leftBytes: () => agreement.sizeBytes - inbound.doneBytes,
    lineFull: () => inbound.lineFull,
    near: () => inbound.near,
    sharing: () => ({ jobs: moving() }),
    paused: () => isPaused(viaduct.stream.state),
    open: async (from, to) => (room.grow((to - from) * INCOMING_LANE_BYTES) ? await open(from, to) : 0),
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

/** The sender may say that it is done while what it sent is on its way. Throws CANCELLED when it takes its word back. */
async function untilPlaced({ viaduct }: IncomingAttempt, inbound: Inbound): Promise<void> {
  const { stream } = viaduct
  const placed = new AbortController()
  const hearing = hearCancel(stream, placed.signal)
  hearing.catch(() => {})
  try {
    await withVerdict(Promise.race([inbound.untilPlaced(), hearing, inbound.failed]), hearing)
  } finally {
    placed.abort()
  }
}

async function hearCancel(stream: ControlStream, signal: AbortSignal): Promise<never> {
  for (;;) {
    const message = await stream.receive({ signal })
    if (message.kind === 'cancel') throw cancelled(message.reason)
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

/** True when this job's file is under its final name already, though the job did not live to note it. */
async function isAlreadyPlaced({ job, agreement }: IncomingAttempt, journal: Journal): Promise<boolean> {
  const { target, placed: identity } = job.record
  const { sizeBytes } = agreement
  if (target?.kind !== 'file' || identity === undefined || !journal.done.contains(0, sizeBytes)) return false
  return await isPlaced(target, job.id, { identity, sizeBytes })
}

async function sendCommitted(
  { viaduct }: IncomingAttempt,
  journal: Journal,
  unaskedBytes?: number,
): Promise<void> {
  const ranges = [...journal.done]
  for (let i = 0; ; i += MAX_RANGES_PER_FRAME) {
    const more = i + MAX_RANGES_PER_FRAME < ranges.length
    const some = ranges.slice(i, i + MAX_RANGES_PER_FRAME)
    await viaduct.stream.send({ kind: 'committed', ranges: some, more, unaskedBytes })
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

/** Path of the version that is replaced, where it is another file and the sender's grant covers what it holds. */
function previousFor({ job }: IncomingAttempt, { previous, sink }: Placement): string | undefined {
  return job.record.scope !== undefined && sink.former === undefined ? previous : undefined
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
