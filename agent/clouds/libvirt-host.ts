/** What the host of a libvirt has: its domains, what they may be made of, its networks. */
import { existsSync } from 'node:fs'
import { FluidError } from '../../protocol/errors.ts'
import type { Machine } from '../../protocol/machine.ts'
import { isMachineName } from './machine-file.ts'
import type { Virsh } from './libvirt-virsh.ts'
import { all, attr, first, parseXml, text } from './libvirt-xml.ts'

export interface HostAbilities {
  readonly firmware: readonly Machine['firmware'][]
  /** False where libvirt or QEMU are too old for incremental backups. */
  readonly live: boolean
}

/** Persistent domains by name. Others are gone when they stop, so nothing could go back to them. */
export async function domainsOf(virsh: Virsh, signal?: AbortSignal): Promise<Map<string, string>> {
  const listed = await virsh(['list', '--all', '--persistent', '--uuid', '--name'], { signal })
  const domains = new Map<string, string>()
  for (const line of listed.split('\n')) {
    const [, uuid, name] = /^([0-9a-f-]{36})\s+(.*?)\s*$/.exec(line) ?? []
    if (uuid !== undefined && isMachineName(name)) domains.set(name, uuid)
  }
  return domains
}

/** The UUID of a domain, which says which is meant where a name could also be an id. Throws MACHINE_UNKNOWN. */
export async function domainOf(virsh: Virsh, name: string, signal?: AbortSignal): Promise<string> {
  const uuid = (await domainsOf(virsh, signal)).get(name)
  if (uuid !== undefined) return uuid
  throw new FluidError('MACHINE_UNKNOWN', `libvirt has no machine ${JSON.stringify(name).slice(0, 100)}`, {
    hint: 'List them with virsh list --all --persistent; one that is transient has to be defined first',
  })
}

/** Throws CLOUD_FAILED when libvirt cannot be reached or cannot run machines so. */
export async function abilitiesOf(
  virsh: Virsh,
  accel: 'tcg' | 'kvm',
  signal?: AbortSignal,
): Promise<HostAbilities> {
  const type = accel === 'kvm' ? 'kvm' : 'qemu'
  const args = ['domcapabilities', '--virttype', type, '--arch', 'x86_64', '--machine', 'q35']
  const has = parseXml(await virsh(args, { signal }), 'domainCapabilities')
  const firmware = all(has, 'os', 'enum').find((element) => attr(element, 'name') === 'firmware')
  const uefi = all(firmware, 'value').some((value) => text(value) === 'efi')
  return {
    firmware: uefi ? ['bios', 'uefi'] : ['bios'],
    live: attr(first(has, 'features', 'backup'), 'supported') === 'yes',
  }
}

/** Versioned types of machines. */
export async function machineTypesOf(virsh: Virsh, signal?: AbortSignal): Promise<Set<string>> {
  const has = parseXml(await virsh(['capabilities'], { signal }), 'capabilities')
  const arch = all(has, 'guest', 'arch').filter((element) => attr(element, 'name') === 'x86_64')
  return new Set(arch.flatMap((element) => all(element, 'machine').map((machine) => text(machine) ?? '')))
}

/** What a name of a network means: a network of libvirt before a bridge of this host. */
export async function networksOf(
  virsh: Virsh,
  signal?: AbortSignal,
): Promise<(name: string) => 'network' | 'bridge' | undefined> {
  const names = new Set((await virsh(['net-list', '--all', '--name'], { signal })).split('\n'))
  return (name) => {
    if (names.has(name)) return 'network'
    return /^[A-Za-z0-9._-]{1,15}$/.test(name) && existsSync(`/sys/class/net/${name}/bridge`)
      ? 'bridge'
      : undefined
  }
}

/** Sizes of disks as the machine sees them, by target. */
export async function diskSizesOf(
  virsh: Virsh,
  uuid: string,
  signal?: AbortSignal,
): Promise<Map<string, number>> {
  const sizes = new Map<string, number>()
  for (const line of (await virsh(['domblkinfo', uuid, '--all'], { signal })).split('\n')) {
    const [, target, size] = /^\s*(\S+)\s+(\d+)\s/.exec(line) ?? []
    if (target !== undefined) sizes.set(target, Number(size))
  }
  return sizes
}
