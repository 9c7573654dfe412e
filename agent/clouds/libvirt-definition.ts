/** From a machine to a domain's XML: https://libvirt.org/formatdomain.html. */
import { randomUUID } from 'node:crypto'
import { FluidError } from '../../protocol/errors.ts'
import type { Machine, MachineDisk, MachineNic } from '../../protocol/machine.ts'
import { defaultCpuMode, GUEST_AGENT, type LibvirtExtra, readExtra } from './libvirt-extra.ts'
import { formatMetadata } from './libvirt-metadata.ts'
import { commandLineOf, QEMU_NAMESPACE } from './libvirt-user-net.ts'
import { escapeXml, xml } from './libvirt-xml.ts'

/** What this host has, as far as a definition depends on it. */
export interface DomainHost {
  readonly accel: 'tcg' | 'kvm'
  /** What a name of a network is here; undefined: nothing. */
  network(name: string): 'network' | 'bridge' | undefined
  /** True for disks that are block devices. */
  isDevice(path: string): boolean
  /** Versioned machine types that QEMU has here. */
  readonly machineTypes: ReadonlySet<string>
}

const PREFIXES = { virtio: 'vd', scsi: 'sd', sata: 'sd', ide: 'hd' } as const

/** Throws CLOUD_FAILED for what cannot be had here. */
export function formatDomain(machine: Machine, host: DomainHost): string {
  const { libvirt, ...otherExtra } = machine.extra ?? {}
  const extra = readExtra(libvirt)
  const type = host.accel === 'kvm' ? 'kvm' : 'qemu'
  const targets = targetsOf(machine.disks)
  const forwarded = machine.nics.filter((nic) => nic.forwards.length > 0)
  const plain = machine.nics.filter((nic) => nic.forwards.length === 0)
  const wrong = forwarded.find((nic) => nic.network !== 'user')
  if (wrong) throw refuse(`card ${wrong.id} forwards ports on ${wrong.network}: only "user" can`)
  const bootOrder = machine.disks.filter((disk) => disk.boot)
  const versioned = extra.machine !== undefined && host.machineTypes.has(extra.machine)

  return xml(
    'domain',
    { type, 'xmlns:qemu': QEMU_NAMESPACE },
    xml('name', {}, escapeXml(machine.name)),
    xml('uuid', {}, randomUUID()),
    formatMetadata({
      disks: Object.fromEntries(machine.disks.map(({ id }, index) => [targets[index], id])),
      nics: machine.nics.map(({ mac, id }) => [mac, id]),
      ...(Object.keys(otherExtra).length === 0 ? {} : { extra: otherExtra }),
      versioned: extra.machine !== undefined,
    }),
    xml('memory', { unit: 'b' }, String(machine.memoryBytes)),
    xml('vcpu', {}, String(machine.vcpus)),
    xml(
      'os',
      machine.firmware === 'uefi' ? { firmware: 'efi' } : {},
      xml('type', { arch: 'x86_64', machine: versioned ? extra.machine : machine.chipset }, 'hvm'),
      // Without any word libvirt would boot from the first disk.
      ...(bootOrder.length === 0 ? [xml('boot', { dev: 'network' })] : []),
    ),
    xml('features', {}, xml('acpi', {}), xml('apic', {})),
    formatCpu(extra, type),
    xml('clock', { offset: extra.clock ?? 'utc' }),
    xml('on_poweroff', {}, 'destroy'),
    xml('on_reboot', {}, 'restart'),
    xml('on_crash', {}, 'destroy'),
    xml(
      'devices',
      {},
      ...machine.disks.map((disk, index) =>
        formatDisk(disk, targets[index], bootOrder.indexOf(disk) + 1, host.isDevice(disk.path)),
      ),
      ...(machine.disks.some((disk) => disk.bus === 'scsi')
        ? [xml('controller', { type: 'scsi', model: 'virtio-scsi' })]
        : []),
      ...plain.map((nic) => formatNic(nic, extra, host)),
      ...formatExtras(extra),
      xml('serial', { type: 'pty' }),
      xml('memballoon', { model: 'none' }),
    ),
    ...commandLineOf(forwarded, machine.chipset),
  )
}

/** The name of each disk's target: its id where libvirt can take it, else one that is free. */
function targetsOf(disks: readonly MachineDisk[]): string[] {
  const fits = ({ id, bus }: MachineDisk) => new RegExp(`^${PREFIXES[bus]}[a-z]$`).test(id)
  const taken = new Set(disks.filter(fits).map(({ id }) => id))
  return disks.map((disk) => {
    if (fits(disk)) return disk.id
    for (const letter of 'abcdefghijklmnopqrstuvwxyz') {
      const target = `${PREFIXES[disk.bus]}${letter}`
      if (taken.has(target)) continue
      taken.add(target)
      return target
    }
    throw refuse(`there are too many disks on ${disk.bus}`)
  })
}

function formatDisk(disk: MachineDisk, target: string, order: number, isDevice: boolean): string {
  const { path, format, bus, readOnly, serial } = disk
  // QEMU has no disk of IDE or SATA that cannot be written, only a drive with a disc in it.
  const disc = readOnly && bus !== 'virtio'
  return xml(
    'disk',
    { type: isDevice ? 'block' : 'file', device: disc ? 'cdrom' : 'disk' },
    xml('driver', { name: 'qemu', type: format, discard: readOnly ? undefined : 'unmap' }),
    xml('source', isDevice ? { dev: path } : { file: path }),
    // Said to be none, so that libvirt looks for none in the image, whose header another wrote.
    xml('backingStore', {}),
    xml('target', { dev: target, bus }),
    ...(readOnly ? [xml('readonly', {})] : []),
    ...(serial === undefined ? [] : [xml('serial', {}, escapeXml(serial))]),
    ...(order === 0 ? [] : [xml('boot', { order })]),
  )
}

function formatNic(nic: MachineNic, extra: LibvirtExtra, host: DomainHost): string {
  const kind = nic.network === 'user' ? 'user' : host.network(nic.network)
  if (!kind) throw refuse(`there is no network or bridge ${nic.network} here`)
  const source = { network: { network: nic.network }, bridge: { bridge: nic.network }, user: undefined }[kind]
  return xml(
    'interface',
    { type: kind },
    xml('mac', { address: nic.mac }),
    ...(source ? [xml('source', source)] : []),
    xml('model', { type: extra.nicModels?.[nic.id] ?? nic.model }),
  )
}

function formatCpu({ cpu, topology }: LibvirtExtra, type: 'qemu' | 'kvm'): string {
  // A processor of the host's kind is there with KVM only; emulated, it is whatever QEMU can.
  const emulated = type === 'qemu' && (cpu?.mode === 'host-passthrough' || cpu?.mode === 'host-model')
  const { mode, model, features = [] } = !cpu || emulated ? { mode: defaultCpuMode(type) } : cpu
  return xml(
    'cpu',
    mode === 'custom' ? { mode, match: 'exact' } : { mode },
    ...(mode === 'custom' && model !== undefined
      ? [xml('model', { fallback: 'allow' }, escapeXml(model))]
      : []),
    ...(topology ? [xml('topology', { ...topology })] : []),
    ...(mode === 'maximum' ? [] : features.map(({ policy, name }) => xml('feature', { policy, name }))),
  )
}

function formatExtras({ guestAgent, rng, video }: LibvirtExtra): string[] {
  const target = xml('target', { type: 'virtio', name: GUEST_AGENT })
  const screen = [
    xml('graphics', { type: 'vnc' }, xml('listen', { type: 'socket' })),
    xml('video', {}, xml('model', { type: video })),
  ]
  return [
    ...(guestAgent ? [xml('channel', { type: 'unix' }, target)] : []),
    ...(rng ? [xml('rng', { model: 'virtio' }, xml('backend', { model: 'random' }, '/dev/urandom'))] : []),
    ...(video === undefined ? [] : screen),
  ]
}

function refuse(why: string): FluidError {
  return new FluidError('CLOUD_FAILED', `The machine cannot be defined: ${why}`)
}
