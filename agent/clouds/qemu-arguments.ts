/** From a machine to the command line of its QEMU. Nodes and devices of disk number n are called dN and disk-N. */
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import type { MachineDisk, MachineNic } from '../../protocol/machine.ts'
import type { QemuCloudConfig } from './cloud-config.ts'
import type { DescribedDisk, DescribedMachine } from './machine-file.ts'
import type { UefiFiles } from './qemu-firmware.ts'

/** Monitors a machine has, so that several processes can speak to it: the agent, a guard, a person. */
const MONITORS = 3
/** Output of the serial port that is kept, in QEMU itself: guests cannot fill the host's disk. */
const SERIAL_BYTES = 64 * 1024
const AHCI_PORTS = 6
/** QEMU takes no longer serial numbers of disks. */
const MAX_SERIAL_CHARS = 20

/** Where one machine's QEMU listens; absolute paths. */
export interface QemuSockets {
  readonly monitors: readonly string[]
  readonly nbd: string
  readonly pidFile: string
}

export function socketsIn(folder: string): QemuSockets {
  return {
    monitors: Array.from({ length: MONITORS }, (_, index) => `${folder}/qmp${index}`),
    nbd: `${folder}/nbd`,
    pidFile: `${folder}/pid`,
  }
}

/** The block node of a disk. */
export function diskNode(index: number): string {
  return `d${index}`
}

/** Throws CLOUD_FAILED for what this driver cannot give a machine. What others have in `extra` is kept, and means nothing here. */
export function checkMachine(
  { name, disks, nics, chipset, firmware }: DescribedMachine,
  { bridges }: QemuCloudConfig,
  uefi: UefiFiles | undefined,
): void {
  const refuse = (what: string) => new FluidError('CLOUD_FAILED', `Machine ${name} cannot be made: ${what}`)
  if (firmware === 'uefi' && !uefi) throw refuse('UEFI firmware (ovmf) is not installed')
  for (const { id, serial } of disks)
    if (serial !== undefined && serial.length > MAX_SERIAL_CHARS)
      throw refuse(`the serial number of ${id} is longer than ${MAX_SERIAL_CHARS}`)
  for (const bus of ['ide', 'sata'] as const) {
    const most = bus === 'ide' && chipset === 'pc' ? 4 : AHCI_PORTS
    const count = disks.filter((disk) => busOf(disk, chipset) === bus).length
    if (count > most) throw refuse(`${count} disks at ${bus}, which has ${most} ports`)
  }
  for (const { id, network, forwards } of nics) {
    if (network !== 'user' && !bridges.includes(network))
      throw refuse(`${id} wants the network ${network}, which [clouds.qemu] does not list`)
    if (network !== 'user' && forwards.length > 0)
      throw refuse(`${id} has forwards, and only user networks do`)
    const v6 = forwards.find(({ hostAddress }) => hostAddress.includes(':'))
    if (v6) throw refuse(`forwards from ${v6.hostAddress}: QEMU takes IPv4 only`)
  }
}

/** The arguments for qemu-system-x86_64, which daemonizes. Throws CLOUD_FAILED when a disk cannot be opened. */
export async function qemuArguments(
  machine: DescribedMachine,
  { accel }: QemuCloudConfig,
  sockets: QemuSockets,
  uefi: UefiFiles | undefined,
): Promise<string[]> {
  const { name, vcpus, memoryBytes, chipset, disks, nics } = machine
  const monitors = sockets.monitors.flatMap((path, index) => [
    ['-chardev', `socket,id=mon${index},path=${escaped(path)},server=on,wait=off`],
    ['-mon', `chardev=mon${index},mode=control`],
  ])
  return [
    ['-name', name],
    ['-nodefaults', '-no-user-config', '-daemonize'],
    ['-display', 'none'],
    ['-machine', chipset],
    ['-accel', accel],
    ['-cpu', accel === 'kvm' ? 'host' : 'max'],
    ['-smp', String(vcpus)],
    ['-m', `${Math.ceil(memoryBytes / 2 ** 20)}M`],
    ['-rtc', 'base=utc'],
    // Its other filters forbid what -daemonize does.
    ['-sandbox', 'on,obsolete=deny,resourcecontrol=deny'],
    ['-pidfile', sockets.pidFile],
    ...monitors,
    ['-chardev', `ringbuf,id=serial,size=${SERIAL_BYTES}`],
    ['-serial', 'chardev:serial'],
    ['-device', 'virtio-rng-pci'],
    ...(uefi ? uefiArguments(uefi) : []),
    ...(await Promise.all(disks.map(diskBackend))),
    diskDevices(disks, chipset),
    ...nics.map(nicArguments),
  ].flat()
}

function uefiArguments({ code, variables }: UefiFiles): string[][] {
  return [
    ['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${escaped(code)}`],
    ['-drive', `if=pflash,unit=1,format=raw,file=${escaped(variables)}`],
  ]
}

async function diskBackend(disk: DescribedDisk, index: number): Promise<string[]> {
  const { path, format, readOnly } = disk
  try {
    await access(path, readOnly ? constants.R_OK : constants.R_OK | constants.W_OK)
    const device = (await stat(path)).isBlockDevice()
    const access_ = { 'read-only': readOnly, discard: 'unmap' }
    const file = {
      driver: device ? 'host_device' : 'file',
      'node-name': `f${index}`,
      filename: path,
      ...access_,
    }
    // Whatever the header says: it is the guest's disk, and no other file.
    const whole = format === 'qcow2' ? { backing: null } : {}
    const image = { driver: format, 'node-name': diskNode(index), file: `f${index}`, ...whole, ...access_ }
    return ['-blockdev', JSON.stringify(file), '-blockdev', JSON.stringify(image)]
  } catch (cause) {
    throw new FluidError('CLOUD_FAILED', `Disk ${disk.id} cannot be opened: ${(cause as Error).message}`, {
      cause,
    })
  }
}

function diskDevices(disks: readonly DescribedDisk[], chipset: DescribedMachine['chipset']): string[] {
  const args: string[] = []
  const ports = { virtio: 0, scsi: 0, sata: 0, ide: 0 }
  if (disks.some((disk) => disk.bus === 'scsi')) args.push('-device', 'virtio-scsi-pci,id=scsi')
  if (chipset === 'pc' && disks.some((disk) => disk.bus === 'sata')) args.push('-device', 'ich9-ahci,id=sata')
  for (const [index, disk] of disks.entries()) {
    const bus = busOf(disk, chipset)
    const { serial, boot, readOnly } = disk
    const common = {
      drive: diskNode(index),
      id: `disk-${index}`,
      ...(boot ? { bootindex: index + 1 } : {}),
      ...(serial === undefined ? {} : { serial }),
    }
    const device = { ...deviceOf(bus, chipset, ports[bus]++, readOnly), ...common }
    args.push('-device', JSON.stringify(device))
  }
  return args
}

/** q35 has no IDE: there its AHCI serves both. */
function busOf(disk: Pick<DescribedDisk, 'bus'>, chipset: DescribedMachine['chipset']): MachineDisk['bus'] {
  return disk.bus === 'ide' && chipset === 'q35' ? 'sata' : disk.bus
}

function deviceOf(
  bus: MachineDisk['bus'],
  chipset: DescribedMachine['chipset'],
  port: number,
  readOnly: boolean,
): object {
  // A disk of IDE cannot be read-only; a CD-ROM is.
  const driver = readOnly ? 'ide-cd' : 'ide-hd'
  switch (bus) {
    case 'virtio':
      return { driver: 'virtio-blk-pci' }
    case 'scsi':
      return { driver: 'scsi-hd', bus: 'scsi.0', 'scsi-id': port }
    case 'sata':
      return { driver, bus: `${chipset === 'pc' ? 'sata' : 'ide'}.${port}` }
    case 'ide':
      return { driver, bus: `ide.${port >> 1}`, unit: port % 2 }
  }
}

function nicArguments({ mac, model, network, forwards }: MachineNic, index: number): string[] {
  const netdev =
    network === 'user'
      ? ['user', `id=net${index}`, ...forwards.map(forwardOf)].join(',')
      : `bridge,id=net${index},br=${network}`
  // Without a ROM it does not try to boot from the network.
  const device = {
    driver: model === 'virtio' ? 'virtio-net-pci' : 'e1000',
    netdev: `net${index}`,
    mac,
    romfile: '',
  }
  return ['-netdev', netdev, '-device', JSON.stringify(device)]
}

function forwardOf({ hostAddress, hostPort, guestPort }: MachineNic['forwards'][number]): string {
  return `hostfwd=tcp:${hostAddress}:${hostPort}-:${guestPort}`
}

/** In QEMU's lists of options a comma is written twice. */
function escaped(path: string): string {
  return path.replaceAll(',', ',,')
}
