/**
 * Checkpoints of libvirt, each a bitmap in every qcow2 disk that has recorded since it was made, independent of the others.
 * Ours are named by owner, chain and number: fluidcloud-<owner>-<chain>-<number>. A chain is what is told as an epoch.
 * https://libvirt.org/formatcheckpoint.html
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { FluidError } from '../../protocol/errors.ts'
import type { DomainImage } from './libvirt-domain.ts'
import { saidBy, type Virsh } from './libvirt-virsh.ts'
import { all, attr, escapeXml, parseXml, xml } from './libvirt-xml.ts'

const run = promisify(execFile)
const IMAGE_TIMEOUT_MS = 30_000
const NAME = /^fluidcloud-([0-9a-f]{32})-([0-9a-f]{16})-(\d{1,12})$/

export interface Checkpoint {
  readonly name: string
  readonly owner: string
  readonly chain: string
  readonly number: number
}

/** A name that no checkpoint of this owner has had. */
export function nameCheckpoint(owner: string, chain: string, number: number): Checkpoint {
  return { name: `fluidcloud-${owner}-${chain}-${number}`, owner, chain, number }
}

/** For `virsh backup-begin`: a bitmap for each of `tracked`, none for the others. */
export function formatCheckpoint(
  { name }: Checkpoint,
  tracked: readonly string[],
  others: readonly string[],
): string {
  return xml(
    'domaincheckpoint',
    {},
    xml('name', {}, escapeXml(name)),
    xml(
      'disks',
      {},
      ...tracked.map((disk) => xml('disk', { name: disk, checkpoint: 'bitmap' })),
      ...others.map((disk) => xml('disk', { name: disk, checkpoint: 'no' })),
    ),
  )
}

/** Those of an owner, or of all owners, oldest first. */
export async function checkpointsOf(virsh: Virsh, uuid: string, owner?: string): Promise<Checkpoint[]> {
  const found: Checkpoint[] = []
  for (const line of (await virsh(['checkpoint-list', uuid, '--name'])).split('\n')) {
    const [name, whose, chain, number] = NAME.exec(line.trim()) ?? []
    if (name !== undefined && (owner === undefined || owner === whose))
      found.push({ name, owner: whose, chain, number: Number(number) })
  }
  return found.sort((a, b) => a.number - b.number)
}

/** Bytes written since it was made, in whole blocks of its bitmaps. */
export async function bytesSince(virsh: Virsh, uuid: string, { name }: Checkpoint): Promise<number> {
  const text = await virsh(['checkpoint-dumpxml', uuid, name, '--size', '--no-domain'])
  const sizes = all(parseXml(text, 'domaincheckpoint'), 'disks', 'disk').map(
    (disk) => attr(disk, 'size') ?? 0,
  )
  return sizes.reduce<number>((sum, size) => sum + Number(size), 0)
}

/** Forgets a checkpoint and its bitmaps; what is gone already is fine. */
export async function removeCheckpoint(
  virsh: Virsh,
  uuid: string,
  { name }: Checkpoint,
  images: readonly DomainImage[],
): Promise<void> {
  try {
    return void (await virsh(['checkpoint-delete', uuid, name]))
  } catch (error) {
    const said = saidBy(error)
    if (/no domain checkpoint with matching name/i.test(said)) return
    if (/inactive domain|not running/.test(said)) {
      for (const { path, format } of images) if (format === 'qcow2') await removeFromImage(path, name)
    } else if (/bitmap .* not found/.test(said)) await removeFromNodes(virsh, uuid, name)
    else throw error
  }
  await virsh(['checkpoint-delete', uuid, name, '--metadata'])
}

/** libvirt keeps its hands off the images of a stopped domain. */
async function removeFromImage(path: string, bitmap: string): Promise<void> {
  try {
    await run('qemu-img', ['bitmap', '--remove', '-f', 'qcow2', path, bitmap], { timeout: IMAGE_TIMEOUT_MS })
  } catch (cause) {
    const said = String((cause as { stderr?: string }).stderr || cause).trim()
    // The image too may be gone by now.
    if (/not found|No such file/i.test(said)) return
    throw new FluidError('CLOUD_FAILED', `Removing a bitmap from ${path} failed: ${said}`, {
      cause,
      hint: 'The agent needs to write the image while the machine is stopped; or start the machine',
    })
  }
}

/** Where one disk has lost its bitmap (a qcow2 that was replaced), libvirt does not remove the others'. */
async function removeFromNodes(virsh: Virsh, uuid: string, bitmap: string): Promise<void> {
  const qmp = async (command: object): Promise<unknown> =>
    JSON.parse(await virsh(['qemu-monitor-command', uuid, JSON.stringify(command)]))
  const { return: nodes = [] } = (await qmp({ execute: 'query-named-block-nodes' })) as {
    return?: { 'node-name': string; 'dirty-bitmaps'?: { name?: string }[] }[]
  }
  for (const { 'node-name': node, 'dirty-bitmaps': bitmaps = [] } of nodes)
    if (bitmaps.some(({ name }) => name === bitmap))
      await qmp({ execute: 'block-dirty-bitmap-remove', arguments: { node, name: bitmap } })
}
