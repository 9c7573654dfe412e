/** Making and forgetting domains. */
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FluidError } from '../../protocol/errors.ts'
import type { Machine } from '../../protocol/machine.ts'
import { removeImages } from './image-file.ts'
import { requireWhole } from './image-size.ts'
import { checkpointsOf, removeCheckpoint } from './libvirt-checkpoints.ts'
import { formatDomain } from './libvirt-definition.ts'
import { type DomainImage, imagesOf } from './libvirt-domain.ts'
import { domainsOf, machineTypesOf, networksOf } from './libvirt-host.ts'
import { domainState } from './libvirt-power.ts'
import { saidBy, type Virsh } from './libvirt-virsh.ts'
import { parseXml } from './libvirt-xml.ts'
import { formatMachine } from './machine-file.ts'

/** Throws CLOUD_FAILED for a machine that cannot be had here, or whose name is taken. */
export async function defineDomain(
  virsh: Virsh,
  machine: Machine,
  { accel, firmware }: { accel: 'tcg' | 'kvm'; firmware: readonly Machine['firmware'][] },
  signal: AbortSignal | undefined,
): Promise<void> {
  const devices = await checkDisks(machine)
  // Written as a description and read again, so that what came from afar has the shape of a machine.
  formatMachine({ ...machine, disks: machine.disks.map(({ sizeBytes: _, ...disk }) => disk) })
  if (!firmware.includes(machine.firmware))
    throw new FluidError(
      'CLOUD_FAILED',
      `${machine.name} boots from ${machine.firmware}, and this host has none`,
      {
        hint: 'Install OVMF on this host (Debian: the package ovmf)',
      },
    )
  const definition = formatDomain(machine, {
    accel,
    network: await networksOf(virsh, signal),
    isDevice: (path) => devices.has(path),
    machineTypes: await machineTypesOf(virsh, signal),
  })
  const folder = await mkdtemp(join(tmpdir(), 'fluidcloud-define-'))
  try {
    const file = join(folder, 'domain.xml')
    await writeFile(file, definition, { mode: 0o600 })
    await virsh(['define', file, '--validate'], { signal })
  } catch (cause) {
    // Its UUID is new, so libvirt does not take it for a change of the other.
    if (!/already exists/.test(saidBy(cause))) throw cause
    throw new FluidError('CLOUD_FAILED', `libvirt has a machine ${machine.name} already`, { cause })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Those of a machine's disks that are block devices. Throws CLOUD_FAILED for one that is not there, or not whole. */
async function checkDisks({ disks }: Machine): Promise<Set<string>> {
  const devices = new Set<string>()
  for (const { id, path } of disks) {
    const found = await stat(path).catch((cause: Error) => {
      throw new FluidError('CLOUD_FAILED', `Disk ${id} is not there: ${cause.message}`, { cause })
    })
    if (found.isBlockDevice()) devices.add(path)
    else if (!found.isFile())
      throw new FluidError('CLOUD_FAILED', `Disk ${id} is neither a file nor a block device: ${path}`)
  }
  await requireWhole(disks)
  return devices
}

/** Forgets a domain that is shut off; with `disks`, its images go first, so that what fails can be tried again. */
export async function undefineDomain(
  virsh: Virsh,
  uuid: string,
  name: string,
  { disks, signal }: { disks: boolean; signal?: AbortSignal },
): Promise<void> {
  if ((await domainState(virsh, uuid, signal)) !== 'stopped')
    throw new FluidError('CLOUD_FAILED', `${name} runs; stop it first`)
  const images = imagesOf(parseXml(await virsh(['dumpxml', uuid], { signal }), 'domain'))
  if (disks) {
    await refuseShared(virsh, name, images, signal)
    await removeImages(images)
  } else {
    for (const checkpoint of await checkpointsOf(virsh, uuid))
      await removeCheckpoint(virsh, uuid, checkpoint, images)
  }
  const withAll = ['--nvram', '--managed-save', '--snapshots-metadata', '--checkpoints-metadata']
  await virsh(['undefine', uuid, ...withAll], { signal })
}

/** Throws CLOUD_FAILED when another domain has one of these too. */
async function refuseShared(
  virsh: Virsh,
  name: string,
  images: readonly DomainImage[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const paths = new Set(images.filter((image) => !image.readOnly).map(({ path }) => path))
  for (const [other, uuid] of await domainsOf(virsh, signal)) {
    if (other === name) continue
    const theirs = imagesOf(parseXml(await virsh(['dumpxml', uuid], { signal }), 'domain'))
    const shared = theirs.find(({ path }) => paths.has(path))
    if (shared)
      throw new FluidError('CLOUD_FAILED', `${shared.path} is a disk of ${other} too, so it is not removed`)
  }
}
