/**
 * What snapshots make inside a QEMU, and its names. All of an owner's names begin with the same letters, so that they are
 * found again by whoever comes after a crash. Of each disk and owner there are two bitmaps: `active` takes down what is
 * written now; `frozen` holds what was written before the last snapshot. The epoch is part of their names: it lives as
 * long as they do.
 */
import { randomBytes } from 'node:crypto'
import type { Qmp } from './qmp.ts'

/** Node names have at most 31 characters: they hold this much of the owner. */
const NODE_OWNER_CHARS = 24
const EPOCH = /-(active|frozen)-([0-9a-f]{16})$/
/** Time for QEMU to end an export, or a job that copies. */
const END_TIMEOUT_MS = 30_000

/** One bitmap, as QEMU tells of it. */
export interface Bitmap {
  readonly name: string
  /** Bytes that it calls dirty. */
  readonly count: number
}

/** Start of all names of an owner but those of nodes. */
export function ownerPrefix(owner: string): string {
  return `fc-${owner}-`
}

export function nodePrefix(owner: string): string {
  return `fc${owner.slice(0, NODE_OWNER_CHARS)}-`
}

export function bitmapName(owner: string, kind: 'active' | 'frozen', epoch: string): string {
  return `${ownerPrefix(owner)}${kind}-${epoch}`
}

export function newEpoch(): string {
  return randomBytes(8).toString('hex')
}

/** Of one disk: the epoch of its active bitmap, if there is one. */
export function activeEpoch(owner: string, bitmaps: readonly Bitmap[]): string | undefined {
  const active = bitmaps.find(({ name }) => name.startsWith(`${ownerPrefix(owner)}active-`))
  return active && EPOCH.exec(active.name)?.[2]
}

/** Bitmaps by node. */
export async function bitmapsOf(qmp: Qmp): Promise<Map<string, Bitmap[]>> {
  const nodes = (await qmp.execute('query-named-block-nodes', { flat: true })) as {
    readonly 'node-name': string
    readonly 'dirty-bitmaps'?: readonly Bitmap[]
  }[]
  // Jobs keep bitmaps without a name.
  const named = (bitmaps: readonly Bitmap[] = []) => bitmaps.filter(({ name }) => name !== undefined)
  return new Map(nodes.map((node) => [node['node-name'], named(node['dirty-bitmaps'])]))
}

/** Ends exports, copying and overlays of an owner's last snapshot; its bitmaps stay. Idempotent. */
export async function endSnapshot(qmp: Qmp, owner: string): Promise<void> {
  const prefix = ownerPrefix(owner)
  for (const { id } of await exportsOf(qmp)) {
    if (!id.startsWith(prefix)) continue
    await qmp.execute('block-export-del', { id, mode: 'hard' })
    await qmp.event('BLOCK_EXPORT_DELETED', (data) => data.id === id, { timeoutMs: END_TIMEOUT_MS })
  }
  const jobs = (await qmp.execute('query-block-jobs')) as { readonly device: string }[]
  for (const { device } of jobs) {
    if (!device.startsWith(prefix)) continue
    await qmp.execute('block-job-cancel', { device, force: true })
    await jobEnded(qmp, device)
  }
  const overlays = [...(await bitmapsOf(qmp)).keys()].filter((node) => node.startsWith(nodePrefix(owner)))
  for (const node of overlays) await qmp.execute('blockdev-del', { 'node-name': node })
}

/** Removes those of an owner's bitmaps that `wanted` does not want, on every node. */
export async function removeBitmaps(
  qmp: Qmp,
  owner: string,
  wanted: (bitmap: Bitmap) => boolean = () => false,
): Promise<void> {
  for (const [node, bitmaps] of await bitmapsOf(qmp))
    for (const bitmap of bitmaps)
      if (bitmap.name.startsWith(ownerPrefix(owner)) && !wanted(bitmap))
        await qmp.execute('block-dirty-bitmap-remove', { node, name: bitmap.name })
}

/** Starts QEMU's NBD server, if it does not run, for as many connections as come. */
export async function startNbdServer(qmp: Qmp, path: string): Promise<void> {
  try {
    await qmp.execute('nbd-server-start', { addr: { type: 'unix', data: { path } }, 'max-connections': 0 })
  } catch (error) {
    if (!/already running/.test((error as Error).message)) throw error
  }
}

/** Ends the NBD server when nothing is exported any more. */
export async function stopIdleNbdServer(qmp: Qmp): Promise<void> {
  if ((await exportsOf(qmp)).length > 0) return
  await qmp.execute('nbd-server-stop').catch((error: unknown) => {
    if (!/not running/.test((error as Error).message)) throw error
  })
}

async function exportsOf(qmp: Qmp): Promise<{ readonly id: string }[]> {
  return (await qmp.execute('query-block-exports')) as { readonly id: string }[]
}

async function jobEnded(qmp: Qmp, device: string): Promise<void> {
  const ends = ['BLOCK_JOB_CANCELLED', 'BLOCK_JOB_COMPLETED'].map((name) =>
    qmp.event(name, (data) => data.device === device, { timeoutMs: END_TIMEOUT_MS }),
  )
  await Promise.any(ends)
}
