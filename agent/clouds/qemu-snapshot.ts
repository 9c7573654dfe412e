/**
 * Snapshots of a QEMU that runs or is paused. Over each disk goes an overlay that QEMU fills with the old bytes of whatever
 * is written from that instant on (blockdev-backup, sync=none), and the overlay is exported. One transaction does it
 * for all disks at once, and turns their bitmaps over. https://www.qemu.org/docs/master/interop/bitmaps.html
 *
 * An agent may die anywhere here. `frozen` gathers until the agent that disposed the snapshot asks for the next one: so
 * whoever comes after a crash is told of everything that might not have been read, and some of it again.
 */
import { execFile } from 'node:child_process'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { FluidError } from '../../protocol/errors.ts'
import { readDirtyBitmap } from '../../transfer/backends/nbd-dirty.ts'
import { formatNbdUnixUrl } from '../../transfer/backends/nbd-url.ts'
import type { DiskSnapshot } from './cloud.ts'
import { diskNode, socketsIn } from './qemu-arguments.ts'
import {
  activeEpoch,
  type Bitmap,
  bitmapName,
  bitmapsOf,
  endSnapshot,
  newEpoch,
  nodePrefix,
  ownerPrefix,
  removeBitmaps,
  startNbdServer,
  stopIdleNbdServer,
} from './qemu-blocks.ts'
import type { Qmp } from './qmp.ts'

const run = promisify(execFile)

/** A disk that is to be in the snapshot, and its number in the machine. */
export interface LiveDisk {
  readonly id: string
  readonly index: number
}

interface LiveOptions {
  /** The machine's run folder. */
  readonly folder: string
  /** True when what the snapshot before named has been read and kept. */
  readonly keptLast: boolean
  readonly signal?: AbortSignal
}

/** Takes a snapshot, after ending the owner's last. What fails is cleaned up; bitmaps never forget by it. */
export async function takeSnapshot(
  qmp: Qmp,
  disks: readonly LiveDisk[],
  owner: string,
  { folder, keptLast, signal }: LiveOptions,
): Promise<DiskSnapshot[]> {
  await endLiveSnapshot(qmp, owner, folder)
  const { epoch, isNew } = await chainOf(qmp, disks, owner)
  const frozen = bitmapName(owner, 'frozen', epoch)
  await startNbdServer(qmp, socketsIn(folder).nbd)
  try {
    const sizes: number[] = []
    for (const disk of disks) sizes.push(await addOverlay(qmp, disk, owner, folder))
    signal?.throwIfAborted()
    await turnOver(qmp, disks, owner, { epoch, isNew, keptLast })
    const shown: DiskSnapshot[] = []
    for (const [position, disk] of disks.entries()) {
      const url = await exportOverlay(qmp, disk, owner, folder, isNew ? [] : [frozen])
      const dirty = isNew ? undefined : await readDirtyBitmap(url, frozen, { signal })
      shown.push({ disk: disk.id, sizeBytes: sizes[position], url, epoch, ...(dirty ? { dirty } : {}) })
    }
    return shown
  } catch (error) {
    await endLiveSnapshot(qmp, owner, folder).catch(() => {})
    throw error
  }
}

/** Ends exports and overlays of the owner's snapshot; what was written stays known. Idempotent. */
export async function endLiveSnapshot(qmp: Qmp, owner: string, folder: string): Promise<void> {
  await endSnapshot(qmp, owner)
  await stopIdleNbdServer(qmp)
  await removeScratch(folder, owner)
}

/** Removes the files of overlays, which must be closed. */
export async function removeScratch(folder: string, owner: string): Promise<void> {
  const names = await readdir(folder).catch(() => [])
  for (const name of names)
    if (name.startsWith(ownerPrefix(owner))) await rm(join(folder, name), { force: true })
}

/** Bytes written since the owner's last snapshot. */
export async function liveDirtyBytes(qmp: Qmp, owner: string): Promise<number> {
  let total = 0
  for (const bitmaps of (await bitmapsOf(qmp)).values())
    for (const { name, count } of bitmaps) if (name.startsWith(`${ownerPrefix(owner)}active-`)) total += count
  return total
}

/** The chain of bitmaps that all disks have, or a new one; what is left of others goes. */
async function chainOf(
  qmp: Qmp,
  disks: readonly LiveDisk[],
  owner: string,
): Promise<{ epoch: string; isNew: boolean }> {
  const bitmaps = await bitmapsOf(qmp)
  const epochs = new Set(disks.map(({ index }) => activeEpoch(owner, bitmaps.get(diskNode(index)) ?? [])))
  const [epoch] = epochs
  if (epochs.size === 1 && epoch !== undefined) {
    await removeBitmaps(qmp, owner, ({ name }) => name.endsWith(`-${epoch}`))
    return { epoch, isNew: false }
  }
  await removeBitmaps(qmp, owner)
  return { epoch: newEpoch(), isNew: true }
}

/** Returns the size of the disk as the machine sees it. */
async function addOverlay(qmp: Qmp, { id, index }: LiveDisk, owner: string, folder: string): Promise<number> {
  const nodes = (await qmp.execute('query-named-block-nodes', { flat: true })) as {
    readonly 'node-name': string
    readonly image: { readonly 'virtual-size': number }
  }[]
  const size = nodes.find((node) => node['node-name'] === diskNode(index))?.image['virtual-size']
  if (size === undefined) throw new FluidError('CLOUD_FAILED', `The running machine has no disk ${id}`)
  const scratch = join(folder, `${ownerPrefix(owner)}${index}.qcow2`)
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', scratch, String(size)])
  await qmp.execute('blockdev-add', {
    driver: 'qcow2',
    'node-name': overlayNode(owner, index),
    file: { driver: 'file', filename: scratch },
    backing: diskNode(index),
  })
  return size
}

/** The instant: every overlay begins to be filled, and what is written from here on is in `active` alone. */
async function turnOver(
  qmp: Qmp,
  disks: readonly LiveDisk[],
  owner: string,
  { epoch, isNew, keptLast }: { epoch: string; isNew: boolean; keptLast: boolean },
): Promise<void> {
  const [active, frozen] = [bitmapName(owner, 'active', epoch), bitmapName(owner, 'frozen', epoch)]
  const bitmaps = await bitmapsOf(qmp)
  const actions = disks.flatMap(({ index }) => {
    const node = diskNode(index)
    const has = (name: string) => (bitmaps.get(node) ?? []).some((bitmap: Bitmap) => bitmap.name === name)
    const add = (name: string, more: object) => ({
      type: 'block-dirty-bitmap-add',
      data: { node, name, ...more },
    })
    const turn = isNew
      ? [add(active, {})]
      : [
          ...(has(frozen)
            ? keptLast
              ? [{ type: 'block-dirty-bitmap-clear', data: { node, name: frozen } }]
              : []
            : [add(frozen, { disabled: true })]),
          { type: 'block-dirty-bitmap-merge', data: { node, target: frozen, bitmaps: [active] } },
          { type: 'block-dirty-bitmap-clear', data: { node, name: active } },
        ]
    const copy = {
      'job-id': `${ownerPrefix(owner)}${index}`,
      device: node,
      target: overlayNode(owner, index),
      sync: 'none',
    }
    return [...turn, { type: 'blockdev-backup', data: copy }]
  })
  await qmp.execute('transaction', { actions, properties: { 'completion-mode': 'individual' } })
}

async function exportOverlay(
  qmp: Qmp,
  { id, index }: LiveDisk,
  owner: string,
  folder: string,
  bitmaps: readonly string[],
): Promise<string> {
  const exportName = `${ownerPrefix(owner)}${id}`
  await qmp.execute('block-export-add', {
    type: 'nbd',
    id: `${ownerPrefix(owner)}${index}`,
    'node-name': overlayNode(owner, index),
    name: exportName,
    ...(bitmaps.length > 0 ? { bitmaps } : {}),
  })
  return formatNbdUnixUrl(socketsIn(folder).nbd, { exportName })
}

function overlayNode(owner: string, index: number): string {
  return `${nodePrefix(owner)}${index}`
}
