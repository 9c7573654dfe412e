/** What is to be known of a target before an offer is answered: where its name leads, what is there, what is free. */
import { access, constants, lstat, statfs } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import type { Offer, Reason } from '../../protocol/control-message.ts'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { grantedTarget } from '../../protocol/grant.ts'
import type { OfferFacts } from '../../protocol/offer.ts'
import { CHUNKING_FIXED_64K } from '../../transfer/chunker.ts'
import type { Destination } from '../../transfer/destination.ts'
import { resolveDestinationName } from '../../transfer/destination-name.ts'
import { inPlaceBytes } from '../../transfer/file-placement.ts'
import { blockUrl, openSink } from '../../transfer/open.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'
import { isOver } from './job-record.ts'
import type { Grant } from '../pairing/policy.ts'

/** What the destination stands for under the grant. */
export function targetOf(grant: Grant, offer: Offer): Destination {
  const target = grantedTarget(grant, offer.destination)
  if (target !== undefined)
    return isAbsolute(target) ? { kind: 'block', path: target } : { kind: 'nbd', url: target }
  const format = offer.targetFormat === 'qcow2' ? 'qcow2' : 'raw'
  const { destination: name, replace, inPlace = false } = offer
  return { kind: 'file', folder: grant.folder, name, format, replace, inPlace: inPlace && replace }
}

/** What answerOffer() has to know of a target: what is there, what is free for this peer, what can be written. */
export async function factsOf(
  parts: JobParts,
  jobs: Iterable<Job>,
  peer: string,
  target: Destination | undefined,
  known: Job | undefined,
): Promise<OfferFacts> {
  const now = Date.now()
  const none = {
    exists: false,
    busy: false,
    freeBytes: 0,
    resumes: false,
    chunking: known?.record.chunking,
    writableFormats: parts.writableFormats,
    now,
  }
  if (!target) return none
  const resumes = known !== undefined
  const approved = known?.record.approved === true
  const others = [...jobs].filter((job) => job !== known)
  // A job that is complete writes nothing more: its receipt is told again.
  const isTaken = known?.record.state !== 'complete' && parts.heldPlaces.has(target)
  const busy = isTaken || others.some((job) => sameTarget(job, target))
  if (target.kind !== 'file') {
    // Which server it is, the sender is not told.
    const unfit = (why: string, hint: string | undefined) =>
      new FluidError('FORMAT_UNSUPPORTED', `${parts.config.name} cannot write there: the NBD server ${why}`, {
        hint,
      })
    const sink = await openSink(target.kind === 'block' ? blockUrl(target.path) : target.url).catch(
      (error: unknown) => {
        const { code, hint } = asFluidError(error)
        if (code === 'FORMAT_UNSUPPORTED') throw unfit('takes no flush', hint)
      },
    )
    const targetBytes = sink?.sizeBytes
    const shared = sink?.supports.shared ?? true
    await sink?.[Symbol.asyncDispose]()
    if (!shared)
      throw unfit('serves one connection only', 'Let the server take several: qemu-nbd --shared=8, or nbdkit')
    return { ...none, busy, resumes, approved, targetBytes: targetBytes ?? 0, writableFormats: ['raw'] }
  }
  const { bavail, bsize } = await statfs(target.folder)
  const claimed = others.reduce((sum, job) => sum + claimOf(job, peer), 0)
  const freeBytes = Math.max(0, bavail * bsize - claimed)
  const exists = await existsAt(target)
  const staged = known?.record.snapshot !== undefined
  const held = target.inPlace ? await inPlaceBytes(target, known?.id).catch(() => undefined) : undefined
  // What was staged beside the version goes on there.
  const inPlace = typeof held === 'number' && (held === 0 || !staged)
  return {
    ...none,
    busy,
    resumes,
    approved,
    exists: exists && !staged,
    readOnly: await isReadOnly(target.folder),
    freeBytes,
    ...(inPlace && { inPlaceBytes: held }),
    // What changed in place is found by comparing places: blocks are as good for that as cuts by content, and cost less.
    chunking: known?.record.chunking ?? (inPlace ? CHUNKING_FIXED_64K : undefined),
  }
}

/**
 * What an unfinished job of `peer` has still to write into files here, as far as its sender told. Only a peer's own jobs
 * count against it: what one claims and never sends takes nothing away from another.
 */
function claimOf(job: Job, peer: string): number {
  const { direction, target, allocatedBytes = 0, sizeBytes } = job.record
  if (job.over || direction !== 'in' || job.record.peer !== peer || target?.kind !== 'file') return 0
  return sizeBytes > 0 ? allocatedBytes * (1 - job.report().doneBytes / sizeBytes) : 0
}

/** For this process: a file system mounted so, or a folder whose owner does not let it. */
async function isReadOnly(folder: string): Promise<boolean> {
  return access(folder, constants.W_OK).then(
    () => false,
    () => true,
  )
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
export function alteration({ record }: Job, offer: Offer, target: Destination): Reason | undefined {
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
export async function pathObjection(target: Destination): Promise<Reason | undefined> {
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
export function isGranted(grant: Grant | undefined, offer: Offer, { record }: Job): boolean {
  if (!grant || !record.target || (grant.maxBytes > 0 && offer.sizeBytes > grant.maxBytes)) return false
  return placeName(targetOf(grant, offer)) === placeName(record.target)
}
