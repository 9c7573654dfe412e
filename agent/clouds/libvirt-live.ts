/**
 * Snapshots of a domain that has a QEMU, running or paused. Each is a backup job with a checkpoint, which libvirt makes at one
 * instant. What was written is told since the checkpoint that the owner's folder names: that of its last snapshot that was
 * disposed. So an agent that dies loses no write, whenever it does; without such a checkpoint a new chain, and epoch, begins.
 */
import type { Element } from '@xmldom/xmldom'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import { readDirtyBitmap } from '../../transfer/backends/nbd-dirty.ts'
import { formatNbdUnixUrl } from '../../transfer/backends/nbd-url.ts'
import type { DiskSnapshot, Snapshot } from './cloud.ts'
import { abortBackup, exportedBitmap, formatBackup, runningBackup } from './libvirt-backup.ts'
import {
  type Checkpoint,
  checkpointsOf,
  formatCheckpoint,
  nameCheckpoint,
  removeCheckpoint,
} from './libvirt-checkpoints.ts'
import type { DomainDisk } from './libvirt-domain.ts'
import type { OwnerFolder } from './libvirt-folder.ts'
import { diskSizesOf } from './libvirt-host.ts'
import { saidBy, type Virsh } from './libvirt-virsh.ts'
import { checkRoom, freeBytesIn, watchRoom } from './scratch-room.ts'

/** A domain as a snapshot finds it. */
export interface LiveDomain {
  readonly uuid: string
  readonly name: string
  /** Its XML as it runs. */
  readonly live: Element
  readonly disks: readonly DomainDisk[]
}

/** Begins a backup job for `owner`. Throws CLOUD_FAILED, also while another has one. */
export async function openLiveSnapshot(
  virsh: Virsh,
  domain: LiveDomain,
  folder: OwnerFolder,
  owner: string,
  signal: AbortSignal | undefined,
): Promise<Snapshot> {
  const { uuid, live, disks } = domain
  await folder.make(live)
  const [sizes, socket, known, marked] = await Promise.all([
    diskSizesOf(virsh, uuid, signal),
    runningBackup(virsh, uuid),
    checkpointsOf(virsh, uuid, owner),
    folder.base(uuid),
  ])
  if (socket !== undefined) await endBackupOf(virsh, domain, folder, socket)
  const diskBytes = disks.reduce((sum, disk) => sum + (disk.readOnly ? 0 : (sizes.get(disk.target) ?? 0)), 0)
  await checkRoom(folder.path, diskBytes, 'images in [clouds.libvirt]')
  signal?.throwIfAborted()
  const base = known.find(({ name }) => name === marked)
  const next = { owner, number: (known.at(-1)?.number ?? 0) + 1 }
  const begun = await beginBackup(virsh, domain, folder, { ...next, base }).catch((error: unknown) => {
    if (!base || !/checkpoint|bitmap/i.test(saidBy(error))) throw error
    // A bitmap is lost when a QEMU is killed, and with a disk that was replaced. Then nothing is known of what was written.
    return beginBackup(virsh, domain, folder, next)
  })
  const endJob = async () => {
    if ((await runningBackup(virsh, uuid)) === begun.socket) await abortBackup(virsh, uuid)
  }
  let cutShort = false
  const unwatch = watchRoom(
    () => freeBytesIn(folder.path),
    diskBytes,
    () => {
      cutShort = true
      return endJob()
    },
  )
  const end = async () => {
    unwatch()
    await endJob()
    await rm(begun.socket, { force: true })
    for (const scratch of begun.scratches) await rm(scratch, { force: true })
  }
  try {
    // Nothing is told any more from the other checkpoints.
    const old = known.filter((checkpoint) => checkpoint !== begun.base)
    const [shown] = await Promise.all([
      Promise.all(begun.disks.map((disk) => shownDisk(disk, sizes, begun, signal))),
      removeAll(virsh, uuid, old, disks),
    ])
    return {
      disks: shown,
      [Symbol.asyncDispose]: once(async () => {
        // The owner has what it wanted: what is written from this snapshot on is the next one's.
        if (begun.checkpoint && !cutShort) await folder.setBase(uuid, begun.checkpoint.name)
        await end()
      }),
    }
  } catch (error) {
    // Nobody saw it: what it would have told is the next one's to tell.
    await end().catch(() => {})
    if (begun.checkpoint) await removeCheckpoint(virsh, uuid, begun.checkpoint, disks).catch(() => {})
    throw error
  }
}

/** What fails here is for the next snapshot, or release(). */
async function removeAll(
  virsh: Virsh,
  uuid: string,
  checkpoints: readonly Checkpoint[],
  disks: readonly DomainDisk[],
): Promise<void> {
  for (const checkpoint of checkpoints) await removeCheckpoint(virsh, uuid, checkpoint, disks).catch(() => {})
}

/** Ends a job that an agent of this owner left. Throws CLOUD_FAILED when the job is somebody else's. */
async function endBackupOf(
  virsh: Virsh,
  { uuid, name }: LiveDomain,
  folder: OwnerFolder,
  socket: string,
): Promise<void> {
  if (!socket.startsWith(`${folder.path}/`))
    throw new FluidError(
      'CLOUD_FAILED',
      `Another backup of ${name} is under way, and libvirt has one at a time`,
      {
        hint: `Wait for it, or end it: virsh domjobabort ${name}`,
      },
    )
  await abortBackup(virsh, uuid)
}

interface Begun {
  readonly socket: string
  readonly scratches: readonly string[]
  readonly disks: readonly DomainDisk[]
  /** Undefined when no disk can be tracked. */
  readonly checkpoint?: Checkpoint
  readonly base?: Checkpoint
}

async function beginBackup(
  virsh: Virsh,
  { uuid, name, disks }: LiveDomain,
  folder: OwnerFolder,
  { owner, number, base }: { owner: string; number: number; base?: Checkpoint },
): Promise<Begun> {
  const shown = disks.filter((disk) => !disk.readOnly)
  if (shown.length === 0) throw new FluidError('CLOUD_FAILED', `${name} has no disk that is written to`)
  const tracked = shown.filter(isTracked).map(({ target }) => target)
  const untracked = disks.filter((disk) => disk.readOnly || !isTracked(disk)).map(({ target }) => target)
  const left = disks.filter((disk) => disk.readOnly).map(({ target }) => target)
  const checkpoint =
    tracked.length === 0
      ? undefined
      : nameCheckpoint(owner, base?.chain ?? randomBytes(8).toString('hex'), number)
  const socket = folder.socket(uuid, randomBytes(4).toString('hex'))
  const plan = shown.map((disk) => ({
    target: disk.target,
    scratch: `${socket}.${disk.target}`,
    since: isTracked(disk) ? base?.name : undefined,
  }))
  const files = [await folder.write(uuid, 'backup.xml', formatBackup({ socket, disks: plan, others: left }))]
  if (checkpoint)
    files.push(await folder.write(uuid, 'checkpoint.xml', formatCheckpoint(checkpoint, tracked, untracked)))
  const begun = { socket, scratches: plan.map(({ scratch }) => scratch), disks: shown, checkpoint, base }
  try {
    // Not ended by a signal: whether it has begun would then be unknown.
    await virsh(['backup-begin', uuid, ...files])
  } finally {
    for (const file of files) await rm(file, { force: true })
  }
  return begun
}

/** Bitmaps live in qcow2 images only. */
function isTracked({ format }: DomainDisk): boolean {
  return format === 'qcow2'
}

async function shownDisk(
  disk: DomainDisk,
  sizes: ReadonlyMap<string, number>,
  { socket, checkpoint, base }: Begun,
  signal: AbortSignal | undefined,
): Promise<DiskSnapshot> {
  const url = formatNbdUnixUrl(socket, { exportName: disk.target })
  const epoch =
    isTracked(disk) && checkpoint
      ? `libvirt-${checkpoint.chain}`
      : `libvirt-untracked-${randomBytes(8).toString('hex')}`
  const told = base !== undefined && isTracked(disk)
  return {
    disk: disk.id,
    sizeBytes: sizes.get(disk.target) ?? 0,
    url,
    epoch,
    ...(told ? { dirty: await readDirtyBitmap(url, exportedBitmap(disk.target), { signal }) } : {}),
  }
}

function once(work: () => Promise<void>): () => Promise<void> {
  let begun: Promise<void> | undefined
  return () => (begun ??= work())
}
