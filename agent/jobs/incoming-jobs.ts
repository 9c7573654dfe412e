/**
 * Serves viaducts that peers open: plans, offers and verifications. Policy is asked for each; a job is one destination
 * at a time, and one attempt at a time, so that bytes of an old attempt never meet those of a new one.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { agreementSigningBytes, encodeAgreement } from '../../protocol/agreement.ts'
import type { Agreement, Offer, Reason } from '../../protocol/control-message.ts'
import { asFluidError, FluidError, type ErrorCode } from '../../protocol/errors.ts'
import { VIADUCT_PROTOCOL } from '../../protocol/ids.ts'
import { MAX_JOBS_RUNNING, MAX_LANE_OFFENCES } from '../../protocol/limits.ts'
import { answerOffer } from '../../protocol/offer.ts'
import type { Destination } from '../../transfer/destination.ts'
import { createBenchAnswers, type BenchAnswers } from '../bench-answer.ts'
import { openControlStream, type ControlStream } from '../viaduct/control-stream.ts'
import type { AttemptSignals } from './attempt.ts'
import { runIncoming } from './incoming-attempt.ts'
import type { Job } from './job.ts'
import { capabilities, helloOf, type JobParts } from '../job-parts.ts'
import { freshRecord, restsWith } from './job-record.ts'
import { createIncomingRoom, roomOf, type IncomingRoom } from './incoming-room.ts'
import { alteration, factsOf, isGranted, pathObjection, targetOf } from './offer-facts.ts'
import type { Grant } from '../pairing/policy.ts'
import { isRelayed } from '../mesh/relay.ts'
import { createVerifyAnswers, type VerifyAnswers, type VerifySubjects } from './verify-answers.ts'
import type { Viaduct } from '../viaduct/viaduct.ts'

/** What serving needs of the registry of jobs. */
export interface IncomingRegistry extends VerifySubjects {
  all(): Iterable<Job>
  add(record: Job['record']): Promise<Job>
  /** Runs `attempt` as the job's only one: waits for, or ends, the one before. */
  runAlone(job: Job, attempt: (signals: AttemptSignals) => Promise<void>): Promise<void>
  /** Resolves when the job's owner says yes; rejects when it ends otherwise, CANCELLED when either side ends it. */
  approval(job: Job, stream: ControlStream): Promise<void>
  /** Removes what a job staged, when no attempt of it runs. */
  discard(job: Job): Promise<void>
  completed(job: Job): void
}

/** The sender tries again; see outgoing-job.ts. */
const NO_ROOM: Reason = {
  code: 'LIMIT_EXCEEDED',
  message: 'As much is being received here now as memory allows',
}
/** Viaducts one peer may have open at a time. */
const MAX_VIADUCTS_PER_PEER = MAX_JOBS_RUNNING * 2

/** Handles VIADUCT_PROTOCOL on the node, until disposed. */
export async function serveViaducts(parts: JobParts, registry: IncomingRegistry): Promise<AsyncDisposable> {
  const { node, connectionPolicy, refusals } = parts.mesh
  const open = new Map<string, number>()
  const room = createIncomingRoom(parts.bounds)
  const served: Served = {
    room,
    benches: createBenchAnswers(parts, room),
    verifies: createVerifyAnswers(parts, registry),
  }
  const handler = connectionPolicy.pairedOnly((stream: Stream, connection: Connection) => {
    const peer = connection.remotePeer.toString()
    const others = open.get(peer) ?? 0
    if (others >= MAX_VIADUCTS_PER_PEER) {
      refusals.count('viaduct-limit')
      stream.abort(
        new FluidError('LIMIT_EXCEEDED', `More than ${MAX_VIADUCTS_PER_PEER} viaducts of one peer`),
      )
      return
    }
    open.set(peer, others + 1)
    void serve(parts, registry, served, stream, connection).finally(() => open.set(peer, open.get(peer)! - 1))
  })
  await node.handle(VIADUCT_PROTOCOL, handler, { maxInboundStreams: 256, runOnLimitedConnection: true })
  return { [Symbol.asyncDispose]: async () => node.unhandle(VIADUCT_PROTOCOL) }
}

/** What answers for all peers. */
interface Served {
  readonly room: IncomingRoom
  readonly benches: BenchAnswers
  readonly verifies: VerifyAnswers
}

async function serve(
  parts: JobParts,
  registry: IncomingRegistry,
  { room, benches, verifies }: Served,
  raw: Stream,
  connection: Connection,
): Promise<void> {
  const peer = connection.remotePeer.toString()
  const stream = openControlStream(raw, { role: 'responder', peer })
  try {
    const hello = await stream.expect('hello')
    await stream.send(helloOf(parts))
    const viaduct = {
      stream,
      hello: Promise.resolve(hello),
      remoteAddr: connection.remoteAddr,
      relayed: isRelayed(connection),
    }
    const question = await stream.expect('offer', 'verify-request')
    if (question.kind === 'verify-request') await verifies.answer(stream, question)
    else if (question.bench) await benches.answer(viaduct, question)
    else await answer(parts, registry, room, viaduct, question)
    await stream[Symbol.asyncDispose]()
  } catch (error) {
    const { code } = asFluidError(error)
    if (code === 'PROTOCOL_VIOLATION' || code === 'LIMIT_EXCEEDED')
      parts.mesh.refusals.count(code.toLowerCase().replaceAll('_', '-'))
    parts.log.info({ peer, code, cause: (error as Error).cause }, (error as Error).message)
    await stream.fail(error)
  }
}

async function answer(
  parts: JobParts,
  registry: IncomingRegistry,
  room: IncomingRoom,
  viaduct: Viaduct,
  offer: Offer,
): Promise<void> {
  const { stream } = viaduct
  const { peer } = stream
  const grant = parts.mesh.policy.grantFor(peer)
  const id = Buffer.from(offer.job).toString('hex')
  const found = registry.find(id)
  const known = found?.record.peer === peer && found.record.direction === 'in' ? found : undefined
  if (found && !known && !offer.dryRun) {
    throw new FluidError('POLICY_DENIED', 'A job of this name belongs to someone else', { peer })
  }
  if (known?.record.state === 'cancelled' || known?.record.wanted === 'cancel') {
    await stream.send({ kind: 'cancel', reason: 'Cancelled at the receiver' }).catch(() => {})
    return
  }
  if (known && known.record.offences > MAX_LANE_OFFENCES) {
    await stream.send({
      kind: 'refusal',
      reasons: [{ code: 'PROTOCOL_VIOLATION', message: 'The sender broke the protocol too often' }],
    })
    return
  }
  const target = grant && targetOf(grant, offer)
  const facts = await factsOf(parts, registry.all(), peer, target, known)
  const question = {
    // Each lane is a client of an NBD server, which may allow only a few.
    offer:
      target?.kind === 'nbd'
        ? { ...offer, mostLanes: Math.min(offer.mostLanes ?? 0, parts.config.limits.lanes) }
        : offer,
    hello: await viaduct.hello,
    ours: capabilities(parts),
    grant,
    facts,
    sender: peer,
    receiver: parts.identity.peerId,
  }
  const reply = answerOffer(question)
  if (reply.kind === 'refuse') {
    parts.mesh.refusals.count('offer')
    await stream.send({ kind: 'refusal', reasons: reply.reasons })
    return
  }
  const objection = (known && alteration(known, offer, target!)) ?? (await pathObjection(target!))
  if (objection) {
    parts.mesh.refusals.count('offer')
    await stream.send({ kind: 'refusal', reasons: [objection] })
    return
  }
  if (offer.dryRun) {
    if (reply.kind === 'ask')
      await stream.send({ kind: 'pending', reason: 'Every job waits for approval here' })
    const { body, signature } = await signedPlan(parts, reply.agreement)
    await stream.send({ kind: 'agreement', body, signature })
    return
  }
  const job = known ?? (await registry.add(recordOf(peer, id, offer, grant!, target!)))
  if (reply.kind === 'ask') {
    await job.become('awaiting-approval')
    await stream.send({ kind: 'pending', reason: 'The job waits for approval' })
    await registry.approval(job, stream).catch(async (error: unknown) => {
      const { code } = asFluidError(error)
      if (code === 'CANCELLED') {
        const reasons = [
          { code: 'APPROVAL_REJECTED', message: 'The owner of the target refused this job' },
        ] as const
        await stream.send({ kind: 'refusal', reasons }).catch(() => {})
      }
      if (code === 'CANCELLED' || code === 'SOURCE_MISSING') {
        await settle(parts, registry, job, asFluidError(error), stream.signal)
      }
      throw error
    })
  }
  using taken = room.take(peer, id, roomOf(reply.agreement))
  if (!taken) {
    parts.mesh.refusals.count('memory')
    await stream.send({ kind: 'refusal', reasons: [NO_ROOM] })
    return
  }
  await job.update({ allocatedBytes: offer.allocatedBytes }, { durable: false })
  await registry.runAlone(job, async ({ signal: stopped, onWish, moving }) => {
    const revoked = new AbortController()
    const signal = AbortSignal.any([stopped, revoked.signal])
    const ended = AbortSignal.any([signal, stream.signal])
    const heedGrant = () => {
      if (!isGranted(parts.mesh.policy.grantFor(peer), offer, job)) {
        revoked.abort(new FluidError('POLICY_DENIED', 'The grant for this job was taken away', { peer }))
      }
    }
    signal.addEventListener('abort', () => void stream.fail(signal.reason), { once: true })
    using _grant = parts.mesh.policy.onChange(peer, heedGrant)
    // It may have gone while the job waited for its turn.
    heedGrant()
    try {
      const { agreement } = reply
      await runIncoming({ parts, job, offer, agreement, viaduct, room: taken, signal: ended, onWish, moving })
    } catch (error) {
      await settle(parts, registry, job, asFluidError(signal.aborted ? signal.reason : error), signal)
      throw error
    } finally {
      job.rest()
      if (job.record.state === 'complete') registry.completed(job)
    }
  })
}

/** What turned out to be other bytes, came from whoever may not send any more, or has no source, takes up no room. */
const NEVER_RESUMED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'VERIFY_MISMATCH',
  'POLICY_DENIED',
  'SOURCE_MISSING',
])

/** Leaves the job as the failed attempt makes it: waiting for the sender, paused with a reason, or over. */
async function settle(
  parts: JobParts,
  registry: IncomingRegistry,
  job: Job,
  error: FluidError,
  signal: AbortSignal,
): Promise<void> {
  // Stopped for a newer attempt, or with the agent: nothing changes.
  if (job.record.state === 'complete' || (signal.aborted && error.code === 'INTERRUPTED')) return
  if (error.code === 'CANCELLED' || job.record.wanted === 'cancel') {
    await registry.discard(job)
    await job.become('cancelled')
  } else if (restsWith(job.record, error.code)) await job.become('paused', error)
  else {
    if (error.code === 'CHUNK_DIGEST' || error.code === 'PROTOCOL_VIOLATION') {
      job.record.offences++
      parts.mesh.refusals.count(error.code === 'CHUNK_DIGEST' ? 'chunk-digest' : 'lane-violation')
    }
    // First, so that whoever is told that the job is over finds nothing of it.
    const again = error.retryable || error.code === 'PROTOCOL_VIOLATION'
    // Nor is a version that was to be changed in place kept from its name by a job that is over.
    if (NEVER_RESUMED.has(error.code) || (!again && job.record.options.inPlace)) await registry.discard(job)
    await job.become(again ? 'reconnecting' : 'failed', error)
  }
}

async function signedPlan(parts: JobParts, agreement: Agreement) {
  const body = encodeAgreement(agreement)
  return { body, signature: await parts.identity.sign(agreementSigningBytes(body)) }
}

function recordOf(peer: string, job: string, offer: Offer, grant: Grant, target: Destination): Job['record'] {
  return freshRecord({
    job,
    direction: 'in',
    peer,
    source: offer.label || 'a volume',
    destination: offer.destination,
    options: {
      lanes: offer.lanes,
      verifyDeep: offer.verifyDeep,
      replace: offer.replace,
      inPlace: offer.inPlace,
      format: offer.targetFormat === 'qcow2' ? 'qcow2' : 'raw',
      compression: offer.compression,
    },
    sizeBytes: offer.sizeBytes,
    allocatedBytes: offer.allocatedBytes,
    target,
    scope: grant.id,
  })
}
