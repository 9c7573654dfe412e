/**
 * The `libvirt` cloud: domains of one libvirt on this host, through virsh. While a domain has a QEMU its disks are shown by
 * a backup job of libvirt, one at a time, and otherwise by their images.
 */
import type { Element } from '@xmldom/xmldom'
import { FluidError } from '../../protocol/errors.ts'
import type { Cloud, Snapshot } from './cloud.ts'
import type { LibvirtCloudConfig } from './cloud-config.ts'
import { abortBackup, runningBackup } from './libvirt-backup.ts'
import { bytesSince, checkpointsOf, removeCheckpoint } from './libvirt-checkpoints.ts'
import { defineDomain, undefineDomain } from './libvirt-define.ts'
import { imageMarks } from './image-file.ts'
import { disksOf, imagesOf, isActive, readDomain } from './libvirt-domain.ts'
import { ownerFolder } from './libvirt-folder.ts'
import { abilitiesOf, diskSizesOf, domainOf, domainsOf } from './libvirt-host.ts'
import { openLiveSnapshot } from './libvirt-live.ts'
import { domainState, holdDomain, resumeDomain, startDomain, stopDomain } from './libvirt-power.ts'
import { openStoppedSnapshot } from './libvirt-stopped.ts'
import { createVirsh } from './libvirt-virsh.ts'
import { first, parseXml, text } from './libvirt-xml.ts'
import { createTurns } from './turns.ts'

/** Connects once, to see what this libvirt can. Throws CLOUD_FAILED. */
export async function openLibvirtCloud({ uri, images, accel }: LibvirtCloudConfig): Promise<Cloud> {
  const virsh = createVirsh(uri)
  const { firmware, live } = await abilitiesOf(virsh, accel)
  const inTurn = createTurns()
  /** Starting and stopping have turns of their own: power is taken whatever else is under way. */
  const inPowerTurn = createTurns()
  /** Snapshots of stopped machines that are open here. */
  const open = new Map<AsyncDisposable, string>()

  const xmlOf = async (uuid: string, how: readonly string[], signal?: AbortSignal): Promise<Element> =>
    parseXml(await virsh(['dumpxml', uuid, ...how], { signal }), 'domain')

  /** What is started next: the same, while there is no QEMU of it. */
  const nextOf = async (uuid: string, domain: Element, signal?: AbortSignal): Promise<Element> =>
    isActive(domain) ? await xmlOf(uuid, ['--inactive'], signal) : domain

  /** UUIDs that were found by name. */
  const found = new Map<string, string>()

  /** A domain by its name, and its XML as it is now. Throws MACHINE_UNKNOWN. */
  async function lookUp(name: string, signal?: AbortSignal): Promise<{ uuid: string; domain: Element }> {
    const known = found.get(name)
    if (known !== undefined) {
      const domain = await xmlOf(known, [], signal).catch(() => undefined)
      signal?.throwIfAborted()
      if (domain && text(first(domain, 'name')) === name) return { uuid: known, domain }
      found.delete(name)
    }
    const uuid = await domainOf(virsh, name, signal)
    const domain = await xmlOf(uuid, [], signal)
    found.set(name, uuid)
    return { uuid, domain }
  }

  /** Closes snapshots of stopped machines: those of one owner, or all. */
  async function closeStopped(owner?: string): Promise<void> {
    for (const [shown, whose] of open)
      if (owner === undefined || owner === whose) await shown[Symbol.asyncDispose]()
  }

  async function stoppedSnapshot(
    { uuid, domain, name }: { uuid: string; domain: Element; name: string },
    owner: string,
    signal: AbortSignal | undefined,
  ): Promise<Snapshot> {
    const about = await virsh(['dominfo', uuid], { signal })
    if (/^Managed save:\s+yes$/m.test(about))
      throw new FluidError('CLOUD_FAILED', `${name} sleeps with its memory saved (virsh managedsave)`, {
        hint: `Start it, or let its memory go: virsh managedsave-remove ${name}`,
      })
    const sizes = await diskSizesOf(virsh, uuid, signal)
    const shown = await openStoppedSnapshot({ name, disks: disksOf(domain, name), sizes }, signal)
    open.set(shown, owner)
    return {
      disks: shown.disks,
      async [Symbol.asyncDispose]() {
        open.delete(shown)
        await shown[Symbol.asyncDispose]()
      },
    }
  }

  async function liveSnapshot(
    { uuid, domain, name }: { uuid: string; domain: Element; name: string },
    owner: string,
    signal: AbortSignal | undefined,
  ): Promise<Snapshot> {
    if (!live)
      throw new FluidError('CLOUD_FAILED', `This libvirt cannot tell what ${name} writes`, {
        hint: 'Live snapshots need libvirt 7 and QEMU 5.2 or newer; stop the machine and move it without --live',
      })
    const machine = { uuid, name, live: domain, disks: disksOf(domain, name) }
    const shown = await openLiveSnapshot(virsh, machine, ownerFolder(images, owner), owner, signal)
    return {
      disks: shown.disks,
      [Symbol.asyncDispose]: async () => inTurn(name, undefined, async () => shown[Symbol.asyncDispose]()),
    }
  }

  async function releaseIn(uuid: string, owner: string): Promise<void> {
    const folder = ownerFolder(images, owner)
    const socket = await runningBackup(virsh, uuid)
    if (socket?.startsWith(`${folder.path}/`)) await abortBackup(virsh, uuid)
    const mine = await checkpointsOf(virsh, uuid, owner)
    if (mine.length === 0) return
    const disks = imagesOf(await xmlOf(uuid, []))
    for (const checkpoint of mine) await removeCheckpoint(virsh, uuid, checkpoint, disks)
  }

  return {
    kind: 'libvirt',
    supports: { live, pause: true, formats: ['raw', 'qcow2'], firmware },
    machines: async ({ signal } = {}) => [...(await domainsOf(virsh, signal)).keys()].sort(),
    async machine(name, { signal } = {}) {
      const { uuid, domain } = await lookUp(name, signal)
      const { disks, ...machine } = readDomain(domain, await nextOf(uuid, domain, signal))
      const sizes = await diskSizesOf(virsh, uuid, signal)
      return {
        ...machine,
        disks: disks.map(({ target, device: _, ...disk }) => ({
          ...disk,
          sizeBytes: sizes.get(target) ?? 0,
        })),
      }
    },
    state: async (name, { signal } = {}) => domainState(virsh, await domainOf(virsh, name, signal), signal),
    async identity(name, { signal } = {}) {
      const { uuid, domain } = await lookUp(name, signal)
      return [`domain-${uuid}`, ...(await imageMarks(imagesOf(await nextOf(uuid, domain, signal))))]
    },
    snapshot: async (name, owner, { signal } = {}) =>
      inTurn(name, signal, async () => {
        checkOwner(owner)
        const found = { name, ...(await lookUp(name, signal)) }
        return isActive(found.domain)
          ? liveSnapshot(found, owner, signal)
          : stoppedSnapshot(found, owner, signal)
      }),
    async dirtyBytes(name, owner, { signal } = {}) {
      checkOwner(owner)
      const uuid = await domainOf(virsh, name, signal)
      if ((await domainState(virsh, uuid, signal)) === 'stopped') return 0
      const last = (await checkpointsOf(virsh, uuid, owner)).at(-1)
      return last ? bytesSince(virsh, uuid, last) : 0
    },
    pause: async (name, { signal } = {}) =>
      inTurn(name, signal, async () => holdDomain(virsh, await domainOf(virsh, name, signal), signal)),
    resume: async (name, { signal } = {}) =>
      inTurn(name, signal, async () => resumeDomain(virsh, await domainOf(virsh, name, signal), signal)),
    start: async (name, { signal } = {}) =>
      inPowerTurn(name, signal, async () => startDomain(virsh, await domainOf(virsh, name, signal), signal)),
    stop: async (name, { graceMs, signal }) =>
      inPowerTurn(name, signal, async () =>
        stopDomain(virsh, await domainOf(virsh, name, signal), graceMs, signal),
      ),
    define: async (machine, { signal } = {}) =>
      inTurn(machine.name, signal, async () => defineDomain(virsh, machine, { accel, firmware }, signal)),
    undefine: async (name, { disks, signal }) =>
      inPowerTurn(name, signal, async () => {
        const uuid = (await domainsOf(virsh, signal)).get(name)
        if (uuid === undefined) return
        await undefineDomain(virsh, uuid, name, { disks, signal })
      }),
    async release(owner, { signal } = {}) {
      checkOwner(owner)
      await closeStopped(owner)
      for (const [name, uuid] of await domainsOf(virsh, signal))
        await inTurn(name, signal, async () => releaseIn(uuid, owner))
      await ownerFolder(images, owner).remove()
    },
    async [Symbol.asyncDispose]() {
      await closeStopped()
    },
  }
}

function checkOwner(owner: string): void {
  if (!/^[0-9a-f]{32}$/.test(owner)) throw new TypeError(`${owner} is no owner's id`)
}
