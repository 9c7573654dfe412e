/**
 * One attempt of the receiving side, from the agreement on: placement, what is durable already, lanes, data,
 * verification, rename, receipt. Whatever happens, what is staged stays for the next attempt unless the job is cancelled.
 */
import { agreementSigningBytes, encodeAgreement } from '../../protocol/agreement.ts'
import { FluidError } from '../../protocol/errors.ts'
import { BLOCKS_MINOR } from '../../protocol/ids.ts'
import { MAX_RANGES_PER_FRAME, UNASKED_BYTES } from '../../protocol/limits.ts'
import { entryCount, entryDigest, entryOffset } from '../../protocol/manifest.ts'
import { verifyPeerSignature } from '../../protocol/peer-signature.ts'
import type { State } from '../../protocol/state.ts'
import { SEED_SCOPE, type Scope } from '../../transfer/chunk-index.ts'
import { CHUNKING_FASTCDC_64K } from '../../transfer/chunker.ts'
import type { Placement, PlacementOptions } from '../../transfer/destination.ts'
import { isPlaced } from '../../transfer/file-placement.ts'
import { Inbound } from '../../transfer/inbound.ts'
import { Journal } from '../../transfer/journal.ts'
import { openPlacement } from '../../transfer/placement.ts'
import { createRecentTable, openRecentTable } from '../../transfer/recent-chunks.ts'
import { type IncomingAttempt, openBooks, type WireBooks } from './attempt.ts'
import { cancelled, hear, heed, untilPlaced } from './incoming-control.ts'
import { dialSender, type LanesOfAttempt, takeLanes } from './incoming-lanes.ts'
import { recentChunksOf } from './incoming-room.ts'
import { finish, repeatReceipt, VERIFY_LANES } from './incoming-receipt.ts'
import { indexPrevious } from './indexing.ts'
import type { JobParts } from '../job-parts.ts'
import type { Job } from './job.ts'
import { EarlySockets } from '../viaduct/early-sockets.ts'
import { firstAddress, reachableAt } from '../viaduct/lane-dialing.ts'
import { mostOf } from '../viaduct/lane-growth.ts'
import { withVerdict } from '../viaduct/peer-verdict.ts'
import { whileMoving } from './progress-watch.ts'
import { signedBody } from './signed-body.ts'
import { reportStages } from './stage-report.ts'
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

async function flow(
  attempt: IncomingAttempt,
  placement: Placement,
  journal: Journal,
  { endpoint, senderAt, early, roundTripMs }: LanesOfAttempt,
  books: WireBooks,
): Promise<void> {
  const { parts, job, agreement, viaduct } = attempt
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
  using _lanes = takeLanes(attempt, inbound, endpoint)
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
