/**
 * One round of all disks: a snapshot of every machine, one job a disk, all at the same time. Which writes a round still
 * has to carry is in the jobs' records as soon as they begin it. Until then a crash leaves the snapshot open, and its cloud
 * names the same writes again; where it is closed before, the record says `unsure`, and everything is looked at anew.
 */
import { fileURLToPath } from 'node:url'
import { FluidError } from '../../protocol/errors.ts'
import { PROGRESS_INTERVAL_MS } from '../../protocol/limits.ts'
import type { DiskSnapshot } from '../clouds/cloud.ts'
import type { JobOptions } from '../jobs/job-record.ts'
import { crashPoint } from './crash-point.ts'
import type { MovingDisk, RoundFacts } from './relocation-record.ts'
import { withClouds, type RelocationParts } from './relocation-parts.ts'
import type { Relocation } from './relocation.ts'

/** Has a job for every disk, under the name that the target gave it. Idempotent. */
export async function openDiskJobs(parts: RelocationParts, relocation: Relocation): Promise<void> {
  const { record } = relocation
  for (const disk of record.disks) {
    if (disk.job !== undefined) continue
    const machine = record.machines.find(({ name }) => name === disk.machine)!
    const place = record.places?.find(
      (each) => each.machine === machine.targetName && each.disk === disk.disk,
    )
    if (!place) throw new TypeError(`The target gave no place to disk ${disk.disk} of ${disk.machine}`)
    const found = findJob(parts, relocation.id, place.destination)
    const options: JobOptions = {
      verifyDeep: false,
      replace: false,
      format: place.format,
      compression: 'auto',
    }
    const job =
      found ??
      (
        await parts.jobs.openRounds(
          {
            source: `machine ${disk.machine}, disk ${disk.disk}`,
            destination: place.destination,
            sizeBytes: disk.sizeBytes,
          },
          { peer: record.peer, owner: relocation.id, options },
        )
      ).id
    await changeDisk(relocation, disk, { job })
  }
}

/** One that was begun before a crash, and not noted here. */
function findJob({ jobs }: RelocationParts, owner: string, destination: string): string | undefined {
  return jobs
    .list()
    .find(
      ({ job, destination: name, state }) =>
        name === destination && state !== 'cancelled' && jobs.get(job).record.rounds?.owner === owner,
    )?.job
}

/** Moves what the machines have and the target lacks. With `last` their disks are final, and the record gets the roots. */
export async function carryRound(
  parts: RelocationParts,
  relocation: Relocation,
  { last, signal }: { last: boolean; signal: AbortSignal },
): Promise<Omit<RoundFacts, 'dirtyBytes'>> {
  await openDiskJobs(parts, relocation)
  const { record } = relocation
  const unsure = record.unsure === true
  crashPoint(last ? 'before-last-snapshot' : 'before-snapshot')
  await using snapshots = new AsyncDisposableStack()
  const taken = await Promise.allSettled(
    (await withClouds(parts, record.machines)).map(async ({ machine, cloud }) => {
      const snapshot = snapshots.use(await cloud.snapshot(machine.name, relocation.id, { signal }))
      return snapshot.disks.map((disk) => ({ machine: machine.name, disk }))
    }),
  )
  const failed = taken.find((each) => each.status === 'rejected')
  if (failed) {
    // The others are closed unread, and what they told is told no more.
    if (taken.some(({ status }) => status === 'fulfilled')) await relocation.update({ unsure: true })
    throw failed.reason as Error
  }
  const all = taken.map((each) => (each.status === 'fulfilled' ? each.value : []))
  await requireSameDisks(relocation, all.flat())
  crashPoint(last ? 'after-last-snapshot' : 'after-snapshot')
  const ending = new AbortController()
  const stop = AbortSignal.any([signal, ending.signal])
  const begun = performance.now()
  const showing = setInterval(() => showProgress(parts, relocation), PROGRESS_INTERVAL_MS)
  try {
    const rounds = all.flat().flatMap(({ machine, disk }) => {
      const moving = record.disks.find((each) => each.machine === machine && each.disk === disk.disk)
      return moving && !(last && moving.root !== undefined) ? [{ moving, disk }] : []
    })
    const noted = rounds.map(({ moving }) => roundNoted(parts, moving.job!))
    snapshots.defer(async () => {
      for (const each of noted) each[Symbol.dispose]()
      const all = noted.every(({ isNoted }) => isNoted())
      if (all === unsure) await relocation.update({ unsure: all ? undefined : true })
    })
    const reports = await Promise.all(
      rounds.map(({ moving, disk }) =>
        carryDisk(parts, relocation, moving, disk, { unsure, last, signal: stop }).catch((error: unknown) => {
          // One that cannot go on: the others need not.
          ending.abort(error)
          throw error
        }),
      ),
    ).finally(() => ending.abort(new Error('The round is over')))
    const sum = (of: (report: (typeof reports)[number]) => number) =>
      reports.reduce((total, report) => total + of(report), 0)
    return {
      round: record.rounds.length + 1,
      renewedBytes: sum(({ renewedBytes }) => renewedBytes),
      sentBytes: sum(({ sentBytes }) => sentBytes),
      wireBytes: sum(({ wireBytes }) => wireBytes),
      seconds: (performance.now() - begun) / 1000,
    }
  } finally {
    clearInterval(showing)
  }
}

/** Throws CLOUD_FAILED when disks came or went since the plan: what stays behind would be removed with its machine. */
async function requireSameDisks(
  relocation: Relocation,
  shown: readonly { readonly machine: string; readonly disk: DiskSnapshot }[],
): Promise<void> {
  const nameOf = (machine: string, disk: string) => `disk ${disk} of ${machine}`
  const planned = new Set(relocation.record.disks.map(({ machine, disk }) => nameOf(machine, disk)))
  const found = new Set(shown.map(({ machine, disk: { disk } }) => nameOf(machine, disk)))
  const changed =
    [...found.difference(planned)].map((name) => `${name} was added`)[0] ??
    [...planned.difference(found)].map((name) => `${name} was removed`)[0]
  if (changed === undefined) return
  // They are closed unread, and what they told is told no more.
  await relocation.update({ unsure: true })
  throw new FluidError('CLOUD_FAILED', `Since it was planned, ${changed}`, {
    hint: 'Put that back and resume, or go back and relocate it as it is now',
  })
}

async function carryDisk(
  { jobs }: RelocationParts,
  relocation: Relocation,
  moving: MovingDisk,
  { url, epoch, dirty }: DiskSnapshot,
  { unsure, last, signal }: { unsure: boolean; last: boolean; signal: AbortSignal },
) {
  const snapshot = { url: placeOf(url), epoch, dirty: unsure ? undefined : dirty }
  const report = await jobs.round(moving.job!, snapshot, { last, signal })
  if (report.root !== undefined) await changeDisk(relocation, moving, { root: report.root })
  return report
}

/** What a job takes as its source. */
function placeOf(url: string): string {
  if (url.startsWith('file:')) return fileURLToPath(url)
  return url.startsWith('block:') ? decodeURI(url.slice('block:'.length)) : url
}

/** Whether the job's record has the round that begins now. */
function roundNoted({ jobs }: RelocationParts, id: string): { isNoted(): boolean } & Disposable {
  const job = jobs.get(id)
  const numberOf = () => job.record.rounds?.number ?? 0
  const before = numberOf()
  let noted = false
  // Watchers are told once it is on the disk.
  const watch = job.watch(() => (noted ||= numberOf() > before))
  return { isNoted: () => noted, [Symbol.dispose]: () => watch[Symbol.dispose]() }
}

function showProgress({ jobs }: RelocationParts, relocation: Relocation): void {
  const done = relocation.record.disks.map(({ job }) =>
    job === undefined ? 0 : jobs.get(job).report().doneBytes,
  )
  relocation.show({ doneBytes: done.reduce((sum, bytes) => sum + bytes, 0) })
}

/** Bytes that all machines wrote since the last snapshots, roughly. */
export async function dirtyBytes(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<number> {
  const each = await Promise.all(
    (await withClouds(parts, relocation.record.machines)).map(({ machine, cloud }) =>
      cloud.dirtyBytes(machine.name, relocation.id, { signal }),
    ),
  )
  return each.reduce((sum, bytes) => sum + bytes, 0)
}

/** Ends the jobs of all disks; what is staged at the target goes as soon as it can be reached. Idempotent. */
export async function cancelDiskJobs({ jobs }: RelocationParts, relocation: Relocation): Promise<void> {
  await Promise.all(
    relocation.record.disks.map(async ({ job }) => {
      const state = job === undefined ? undefined : jobs.get(job).record.state
      // What is complete lies in its place there, and goes with the relocation.
      if (job !== undefined && state !== 'complete' && state !== 'cancelled')
        await jobs.cancel(job, relocation.id)
    }),
  )
}

async function changeDisk(
  relocation: Relocation,
  { machine, disk }: MovingDisk,
  change: Partial<MovingDisk>,
): Promise<void> {
  const disks = relocation.record.disks.map((each) =>
    each.machine === machine && each.disk === disk ? { ...each, ...change } : each,
  )
  await relocation.update({ disks })
}
