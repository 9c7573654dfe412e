/**
 * From a domain's XML to a machine. What cannot be moved (disks that are no files or devices here, hardware of the host,
 * secrets in a TPM) is refused by name, never left out in silence.
 */
import type { Element } from '@xmldom/xmldom'
import { FluidError } from '../../protocol/errors.ts'
import type { Machine, MachineDisk, MachineNic } from '../../protocol/machine.ts'
import { extraOf, isForeignNicModel } from './libvirt-extra.ts'
import { readMetadata } from './libvirt-metadata.ts'
import { commandLineNics } from './libvirt-user-net.ts'
import { all, attr, first, text } from './libvirt-xml.ts'

/** A disk, and what libvirt calls it. */
export interface DomainDisk extends Omit<MachineDisk, 'sizeBytes'> {
  readonly target: string
  readonly device: string
}

export type DomainImage = Pick<DomainDisk, 'path' | 'format' | 'readOnly'>

/** A machine without the sizes of its disks. */
export interface DomainMachine extends Omit<Machine, 'disks'> {
  readonly disks: readonly DomainDisk[]
}

const BUSES = ['virtio', 'scsi', 'sata', 'ide'] as const
/** What makes a domain more than its disks and cards. */
const IMMOVABLE: Readonly<Record<string, string>> = {
  hostdev: 'a device of the host is passed through to it',
  tpm: 'its TPM keeps secrets that cannot be taken along',
  filesystem: 'it shares a folder of the host',
  shmem: 'it shares memory with other machines',
  memory: 'it has memory devices',
  vsock: 'it has a vsock device',
}

/** `live` is what runs, or the same as `config`, which is what is started next. Throws CLOUD_FAILED with what is in the way. */
export function readDomain(live: Element, config: Element): DomainMachine {
  const name = text(first(config, 'name')) ?? ''
  const metadata = readMetadata(config)
  for (const [device, why] of Object.entries(IMMOVABLE))
    if (first(live, 'devices', device)) throw immovable(name, why)
  const type = first(config, 'os', 'type')
  if (attr(type, 'arch') !== 'x86_64' || text(type) !== 'hvm')
    throw immovable(name, `it is of type ${text(type)} for ${attr(type, 'arch')}`)
  if (first(config, 'os', 'kernel')) throw immovable(name, 'it boots a kernel of the host')
  const nics = readNics(live, name)
  const ids = new Map(metadata?.nics)
  const withIds = nics.map((nic, index) => ({ ...nic, id: ids.get(nic.mac) ?? `net${index}` }))
  const order = [...ids.keys()]
  withIds.sort((a, b) => order.indexOf(a.mac) - order.indexOf(b.mac))
  const foreign = withIds.filter(({ exactModel }) => isForeignNicModel(exactModel))
  const derived = extraOf(
    config,
    attr(config, 'type') === 'kvm' ? 'kvm' : 'qemu',
    Object.fromEntries(foreign.map(({ id, exactModel }) => [id, exactModel])),
  )
  const { machine, ...others } = derived
  const libvirt = metadata?.versioned === false ? others : { machine, ...others }
  const extra = { ...metadata?.extra, ...(Object.keys(libvirt).length === 0 ? {} : { libvirt }) }
  return {
    name,
    architecture: 'x86_64',
    vcpus: countOf(first(live, 'vcpu')),
    memoryBytes: memoryOf(first(live, 'memory')),
    firmware: firmwareOf(config, name),
    chipset: chipsetOf(attr(type, 'machine') ?? '', name),
    disks: readDisks(live, name, metadata?.disks ?? {}),
    nics: withIds.map(({ exactModel: _, ...nic }) => nic),
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  }
}

/** True for the XML of a domain that has a QEMU now. */
export function isActive(domain: Element): boolean {
  return attr(domain, 'id') !== undefined
}

/** Disks with something in them. Throws CLOUD_FAILED for one that is neither file nor block device here. */
export function disksOf(domain: Element, name: string): DomainDisk[] {
  return readDisks(domain, name, readMetadata(domain)?.disks ?? {})
}

function readDisks(live: Element, name: string, ids: Readonly<Record<string, string>>): DomainDisk[] {
  const bootsFromDisk = all(live, 'os', 'boot').some((boot) => attr(boot, 'dev') === 'hd')
  const disks: DomainDisk[] = []
  for (const disk of all(live, 'devices', 'disk')) {
    const source = first(disk, 'source')
    const device = attr(disk, 'device') ?? 'disk'
    const removable = device === 'cdrom' || device === 'floppy'
    if (removable && !source) continue
    const target = attr(first(disk, 'target'), 'dev') ?? ''
    const refuse = (why: string): never => {
      throw immovable(name, `disk ${target} ${why}`)
    }
    const path = attr(source, 'file') ?? attr(source, 'dev')
    const bus = BUSES.find((known) => known === attr(first(disk, 'target'), 'bus'))
    const format = attr(first(disk, 'driver'), 'type') ?? 'raw'
    if (device === 'floppy' || device === 'lun') refuse(`is a ${device}`)
    if (path === undefined) return refuse(`is of type ${attr(disk, 'type')}, no file or block device`)
    if (bus === undefined) return refuse(`is on bus ${attr(first(disk, 'target'), 'bus')}`)
    if (format !== 'raw' && format !== 'qcow2') return refuse(`has format ${format}`)
    if (first(disk, 'source', 'encryption') ?? first(disk, 'encryption')) refuse('is encrypted by QEMU')
    if (first(disk, 'shareable')) refuse('is shared with other machines')
    if (first(disk, 'transient')) refuse('forgets what is written to it')
    const serial = text(first(disk, 'serial'))
    const leads = bootsFromDisk && device === 'disk' && !disks.some((other) => other.device === 'disk')
    disks.push({
      target,
      device,
      id: ids[target] ?? target,
      path,
      format,
      boot: first(disk, 'boot') !== undefined || leads,
      bus,
      readOnly: device === 'cdrom' || first(disk, 'readonly') !== undefined,
      ...(serial === undefined ? {} : { serial }),
    })
  }
  return disks
}

/** What lies on this host of a domain, whatever else it has. */
export function imagesOf(domain: Element): DomainImage[] {
  return all(domain, 'devices', 'disk').flatMap((disk) => {
    const source = first(disk, 'source')
    const path = attr(source, 'file') ?? attr(source, 'dev')
    if (path === undefined) return []
    const format = attr(first(disk, 'driver'), 'type') === 'qcow2' ? 'qcow2' : 'raw'
    const readOnly = attr(disk, 'device') === 'cdrom' || first(disk, 'readonly') !== undefined
    return [{ path, format, readOnly }]
  })
}

interface DomainNic extends MachineNic {
  readonly exactModel: string
}

function readNics(live: Element, name: string): Omit<DomainNic, 'id'>[] {
  const nics = all(live, 'devices', 'interface').map((card) => {
    const kind = attr(card, 'type')
    const source = first(card, 'source')
    const mac = attr(first(card, 'mac'), 'address')?.toLowerCase() ?? ''
    const exactModel = attr(first(card, 'model'), 'type') ?? 'rtl8139'
    const network =
      kind === 'user' ? 'user' : kind === 'network' ? attr(source, 'network') : attr(source, 'bridge')
    if (network === undefined || !['user', 'network', 'bridge'].includes(kind ?? ''))
      throw immovable(name, `card ${mac} is of type ${kind}`)
    const virtio = exactModel.startsWith('virtio')
    if (!virtio && exactModel !== 'e1000' && !isForeignNicModel(exactModel))
      throw immovable(name, `card ${mac} has model ${exactModel}`)
    const forwards = all(card, 'portForward').flatMap((forward) => passtForwards(forward, name))
    return { mac, model: virtio ? ('virtio' as const) : ('e1000' as const), network, forwards, exactModel }
  })
  const others = commandLineNics(live)
  if (!others)
    throw immovable(name, 'it has arguments for QEMU (qemu:commandline) besides user networks with forwards')
  return [...nics, ...others.map((nic) => ({ ...nic, exactModel: nic.model as string }))]
}

/** https://libvirt.org/formatdomain.html, "Userspace (SLIRP or passt) connection". */
function passtForwards(forward: Element, name: string) {
  if (attr(forward, 'proto') !== 'tcp') throw immovable(name, 'a port other than of TCP is forwarded to it')
  return all(forward, 'range').map((range) => {
    const hostPort = Number(attr(range, 'start'))
    if (attr(range, 'end') !== undefined && attr(range, 'end') !== attr(range, 'start'))
      throw immovable(name, 'a range of ports is forwarded to it')
    const guestPort = Number(attr(range, 'to') ?? hostPort)
    return { hostAddress: attr(forward, 'address') ?? '0.0.0.0', hostPort, guestPort }
  })
}

function firmwareOf(config: Element, name: string): Machine['firmware'] {
  const loader = first(config, 'os', 'loader')
  if (attr(loader, 'secure') === 'yes')
    throw immovable(name, 'it boots securely, with keys in a memory that cannot be taken along')
  return attr(first(config, 'os'), 'firmware') === 'efi' || attr(loader, 'type') === 'pflash'
    ? 'uefi'
    : 'bios'
}

function chipsetOf(type: string, name: string): Machine['chipset'] {
  if (/^(q35|pc-q35-.*)$/.test(type)) return 'q35'
  if (/^(pc|pc-i440fx-.*|pc-\d.*)$/.test(type)) return 'pc'
  throw immovable(name, `its machine type is ${type}`)
}

function countOf(vcpu: Element | undefined): number {
  return Number(attr(vcpu, 'current') ?? text(vcpu) ?? 1)
}

const UNITS: Readonly<Record<string, number>> = { b: 1, bytes: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }

function memoryOf(memory: Element | undefined): number {
  return Number(text(memory) ?? 0) * (UNITS[attr(memory, 'unit') ?? 'KiB'] ?? 2 ** 10)
}

function immovable(name: string, why: string): FluidError {
  return new FluidError('CLOUD_FAILED', `Domain ${name} cannot be described as a machine: ${why}`, {
    hint: 'Change the domain (virsh edit), or move its disks by themselves',
  })
}
