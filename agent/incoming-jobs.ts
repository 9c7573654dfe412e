/**
 * Serves viaducts that peers open: plans, offers and verifications. Policy is asked for each; a job is one destination
 * at a time, and one attempt at a time, so that bytes of an old attempt never meet those of a new one.
 */
import { lstat, statfs } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import type { Connection, Stream } from '@libp2p/interface'
import { agreementSigningBytes, encodeAgreement } from '../protocol/agreement.ts'
import type { Agreement, ControlMessageOf, Hello, Offer, Reason } from '../protocol/control-message.ts'
import { asFluidError, FluidError } from '../protocol/errors.ts'
import { grantedTarget } from '../protocol/grant.ts'
import { VIADUCT_PROTOCOL } from '../protocol/ids.ts'
import { MAX_JOBS_RUNNING, MAX_LANE_OFFENCES } from '../protocol/limits.ts'
import { answerOffer, type OfferFacts } from '../protocol/offer.ts'
import type { Destination } from '../transfer/destination.ts'
import { resolveDestinationName } from '../transfer/destination-name.ts'
import { blockUrl, openSink } from '../transfer/open.ts'
import { createCounters } from '../transfer/transfer-counters.ts'
import { createBenchAnswers, type BenchAnswers } from './bench-answer.ts'
import { openControlStream, type ControlStream } from './control-stream.ts'
import { runIncoming } from './incoming-attempt.ts'
import type { Job } from './job.ts'
import { capabilities, helloOf, type JobParts } from './job-parts.ts'
import { isOver } from './job-record.ts'
import type { Grant } from './policy.ts'
import type { Viaduct } from './viaduct.ts'

/** What serving needs of the registry of jobs. */
export interface IncomingRegistry {
  all(): Iterable<Job>
  find(id: string): Job | undefined
  add(record: Job['record']): Promise<Job>
  /** Runs `attempt` as the job's only one: waits for, or ends, the one before. */
  runAlone(
    job: Job,
    attempt: (signals: { signal: AbortSignal; onWish(listener: () => void): Disposable }) => Promise<void>,
  ): Promise<void>
  /** Resolves when the job's owner says yes; rejects when it ends otherwise, CANCELLED when either side ends it. */
  approval(job: Job, stream: ControlStream): Promise<void>
  /** Removes what a job staged, when no attempt of it runs. */
  discard(job: Job): Promise<void>
  completed(job: Job): void
  /** Root of a job's volume here, read again. */
  readAgain(job: Job, deep: boolean, signal: AbortSignal): Promise<{ root: Uint8Array; checkedBytes: number }>
}

/** Viaducts one peer may have open at a time. */
const MAX_VIADUCTS_PER_PEER = MAX_JOBS_RUNNING * 2

/** Handles VIADUCT_PROTOCOL on the node, until disposed. */
export async function serveViaducts(parts: JobParts, registry: IncomingRegistry): Promise<AsyncDisposable> {
  const { node, connectionPolicy, refusals } = parts.mesh
  const open = new Map<string, number>()
  const benches = createBenchAnswers(parts)
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
    void serve(parts, registry, benches, stream, connection).finally(() =>
      open.set(peer, open.get(peer)! - 1),
    )
  })
  await node.handle(VIADUCT_PROTOCOL, handler, { maxInboundStreams: 256 })
  return { [Symbol.asyncDispose]: async () => node.unhandle(VIADUCT_PROTOCOL) }
}

async function serve(
  parts: JobParts,
  registry: IncomingRegistry,
  benches: BenchAnswers,
  raw: Stream,
  connection: Connection,
): Promise<void> {
  const peer = connection.remotePeer.toString()
  const stream = openControlStream(raw, { role: 'responder', peer })
  try {
    const hello = await stream.expect('hello')
    await stream.send(helloOf(parts))
    const viaduct = { stream, hello, remoteAddr: connection.remoteAddr }
    const question = await stream.expect('offer', 'verify-request')
    if (question.kind === 'verify-request') await answerVerify(parts, registry, viaduct, question)
    else if (question.bench) await benches.answer(viaduct, question)
    else await answer(parts, registry, viaduct, hello, question)
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
  viaduct: Viaduct,
  hello: Hello,
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
  const facts = await factsOf(parts, registry, target, known)
  const question = {
    offer,
    hello,
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
      if (asFluidError(error).code === 'CANCELLED') {
        const reasons = [
          { code: 'APPROVAL_REJECTED', message: 'The owner of the target refused this job' },
        ] as const
        await stream.send({ kind: 'refusal', reasons }).catch(() => {})
        await settle(parts, registry, job, asFluidError(error), stream.signal)
      }
      throw error
    })
  }
  await registry.runAlone(job, async ({ signal: stopped, onWish }) => {
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
      await runIncoming({ parts, job, offer, agreement: reply.agreement, viaduct, signal: ended, onWish })
    } catch (error) {
      await settle(parts, registry, job, asFluidError(signal.aborted ? signal.reason : error), signal)
      throw error
    } finally {
      job.rest()
      if (job.record.state === 'complete') registry.completed(job)
    }
  })
}

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
    await job.become('cancelled')
    await registry.discard(job)
  } else if (error.code === 'NO_SPACE' || error.code === 'TARGET_WRITE' || error.code === 'SOURCE_READ')
    await job.become('paused', error)
  else {
    if (error.code === 'CHUNK_DIGEST' || error.code === 'PROTOCOL_VIOLATION') {
      job.record.offences++
      parts.mesh.refusals.count(error.code === 'CHUNK_DIGEST' ? 'chunk-digest' : 'lane-violation')
    }
    await job.become(
      error.retryable || error.code === 'PROTOCOL_VIOLATION' ? 'reconnecting' : 'failed',
      error,
    )
    // What turned out to be other bytes, or came from whoever may not send any more, takes up no room.
    if (error.code === 'VERIFY_MISMATCH' || error.code === 'POLICY_DENIED') await registry.discard(job)
  }
}

async function answerVerify(
  parts: JobParts,
  registry: IncomingRegistry,
  { stream }: Viaduct,
  { job: id, deep }: ControlMessageOf<'verify-request'>,
): Promise<void> {
  const job = registry.find(Buffer.from(id).toString('hex'))
  try {
    if (!job || job.record.peer !== stream.peer)
      throw new FluidError('JOB_UNKNOWN', 'This agent knows no such job of yours')
    if (job.record.direction === 'in' && !parts.mesh.policy.grantFor(stream.peer)) {
      throw new FluidError('POLICY_DENIED', 'This peer may have nothing read here')
    }
    const { root, checkedBytes } = await registry.readAgain(job, deep, stream.signal)
    await stream.send({ kind: 'verify-result', root, checkedBytes })
  } catch (error) {
    const { code, message } = asFluidError(error)
    await stream.send({ kind: 'verify-result', checkedBytes: 0, error: { code, message } })
  }
}

async function signedPlan(parts: JobParts, agreement: Agreement) {
  const body = encodeAgreement(agreement)
  return { body, signature: await parts.identity.sign(agreementSigningBytes(body)) }
}

/** What the destination stands for under the grant. */
function targetOf(grant: Grant, offer: Offer): Destination {
  const target = grantedTarget(grant, offer.destination)
  if (target !== undefined)
    return isAbsolute(target) ? { kind: 'block', path: target } : { kind: 'nbd', url: target }
  const format = offer.targetFormat === 'qcow2' ? 'qcow2' : 'raw'
  return { kind: 'file', folder: grant.folder, name: offer.destination, format, replace: offer.replace }
}

async function factsOf(
  parts: JobParts,
  registry: IncomingRegistry,
  target: Destination | undefined,
  known: Job | undefined,
): Promise<OfferFacts> {
  const now = Date.now()
  const none = {
    exists: false,
    busy: false,
    freeBytes: 0,
    resumes: false,
    writableFormats: parts.writableFormats,
    now,
  }
  if (!target) return none
  const resumes = known !== undefined
  const approved = known?.record.approved === true
  const busy = [...registry.all()].some((job) => job !== known && sameTarget(job, target))
  if (target.kind !== 'file') {
    const sink = await openSink(target.kind === 'block' ? blockUrl(target.path) : target.url).catch(
      () => undefined,
    )
    const targetBytes = sink?.sizeBytes
    const shared = sink?.supports.shared ?? true
    await sink?.[Symbol.asyncDispose]()
    if (!shared) {
      throw new FluidError(
        'FORMAT_UNSUPPORTED',
        `${parts.config.name} cannot write there: the NBD server serves one connection only`,
        {
          hint: 'Let the server take several: qemu-nbd --shared=8, or nbdkit',
        },
      )
    }
    return { ...none, busy, resumes, approved, targetBytes: targetBytes ?? 0, writableFormats: ['raw'] }
  }
  const { bavail, bsize } = await statfs(target.folder)
  const exists = await existsAt(target)
  const finished = known?.record.state === 'complete' || known?.record.placed !== undefined
  return { ...none, busy, resumes, approved, exists: exists && !finished, freeBytes: bavail * bsize }
}

async function existsAt({ folder, name }: Extract<Destination, { kind: 'file' }>): Promise<boolean> {
  try {
    await lstat(await resolveDestinationName(folder, name))
    return true
  } catch {
    // A name that cannot be resolved is refused for that reason, not for this.
    return false
  }
}

function sameTarget(job: Job, target: Destination): boolean {
  const { record } = job
  if (record.direction !== 'in' || isOver(record.state) || !record.target) return false
  return placeName(record.target) === placeName(target)
}

function placeName(where: Destination): string {
  return where.kind === 'file'
    ? `${where.folder}/${where.name}`
    : where.kind === 'block'
      ? where.path
      : where.url
}

/** How an offer differs from the job that was begun under its id, and that a person may have approved. */
function alteration({ record }: Job, offer: Offer, target: Destination): Reason | undefined {
  const { destination, sizeBytes, options } = record
  const because = (message: string): Reason => ({ code: 'JOB_STATE', message })
  if (offer.destination !== destination) return because(`The job was begun for ${destination}`)
  if (offer.sizeBytes !== sizeBytes) return because(`The job was begun for ${sizeBytes} bytes`)
  if (offer.replace !== options.replace || offer.targetFormat !== options.format)
    return because('The job was begun with other options')
  if (record.target && placeName(record.target) !== placeName(target)) {
    return because('The grant opens another place since the job was begun')
  }
  return undefined
}

/** Why a name, sound by itself, leads to no place here: a link or a file stands where a folder is needed. */
async function pathObjection(target: Destination): Promise<Reason | undefined> {
  if (target.kind !== 'file') return undefined
  try {
    await resolveDestinationName(target.folder, target.name)
  } catch (error) {
    // Nothing of where the folder lies.
    if (asFluidError(error).code === 'NAME_INVALID') {
      return {
        code: 'NAME_INVALID',
        message: `Destination ${target.name} passes through something that is no folder`,
      }
    }
  }
  return undefined
}

/** True while the grant covers the job as it was agreed on. */
function isGranted(grant: Grant | undefined, offer: Offer, { record }: Job): boolean {
  if (!grant || !record.target || (grant.maxBytes > 0 && offer.sizeBytes > grant.maxBytes)) return false
  return placeName(targetOf(grant, offer)) === placeName(record.target)
}

function recordOf(peer: string, job: string, offer: Offer, grant: Grant, target: Destination): Job['record'] {
  return {
    job,
    direction: 'in',
    peer,
    source: offer.label || 'a volume',
    destination: offer.destination,
    options: {
      lanes: offer.lanes,
      verifyDeep: offer.verifyDeep,
      replace: offer.replace,
      format: offer.targetFormat === 'qcow2' ? 'qcow2' : 'raw',
      compression: offer.compression,
    },
    createdAt: Date.now(),
    wanted: 'run',
    state: 'connecting',
    sizeBytes: offer.sizeBytes,
    counters: createCounters(),
    wireByPath: {},
    target,
    scope: grant.id,
    offences: 0,
    rescans: 0,
  }
}
