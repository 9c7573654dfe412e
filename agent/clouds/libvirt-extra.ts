/**
 * What of a domain no other cloud has words for and a libvirt elsewhere can keep: `extra.libvirt` of a machine. It may come
 * from a peer, so it is facts from short lists, never XML.
 */
import type { Element } from '@xmldom/xmldom'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_VCPUS } from '../../protocol/limits.ts'
import { all, attr, first, text } from './libvirt-xml.ts'

export interface LibvirtExtra {
  /** Versioned type, such as pc-q35-7.2. */
  readonly machine?: string
  readonly cpu?: DomainCpu
  readonly topology?: { readonly sockets: number; readonly cores: number; readonly threads: number }
  readonly clock?: 'localtime'
  /** True when the domain has the channel of QEMU's guest agent. */
  readonly guestAgent?: boolean
  readonly rng?: boolean
  /** The model of its graphics card; without, it has none. */
  readonly video?: string
  /** Models of network cards that a machine has no word for, by id. */
  readonly nicModels?: Readonly<Record<string, string>>
}

export interface DomainCpu {
  readonly mode: 'custom' | 'host-model' | 'host-passthrough' | 'maximum'
  readonly model?: string
  readonly features?: readonly { readonly policy: string; readonly name: string }[]
}

const CPU_MODES = ['custom', 'host-model', 'host-passthrough', 'maximum'] as const
const CPU_POLICIES = ['force', 'require', 'optional', 'disable', 'forbid']
const VIDEO_MODELS = ['virtio', 'qxl', 'vga', 'cirrus', 'bochs']
const NIC_MODELS = ['e1000e', 'rtl8139', 'igb', 'vmxnet3', 'ne2k_pci', 'pcnet']
/** Its parts, sorted: each becomes an attribute. */
const TOPOLOGY = 'cores,sockets,threads'
const MAX_CPU_FEATURES = 256
const WORD = /^[A-Za-z0-9._-]{1,64}$/
const MACHINE = /^pc-(q35|i440fx)-[A-Za-z0-9._-]{1,32}$/

/** What the configuration of a domain has besides the plain machine, without what define() would do by itself. */
export function extraOf(
  domain: Element,
  type: 'qemu' | 'kvm',
  nicModels: Record<string, string>,
): LibvirtExtra {
  const machine = attr(first(domain, 'os', 'type'), 'machine')
  const cpu = cpuOf(first(domain, 'cpu'))
  const topology = first(domain, 'cpu', 'topology')
  const channels = all(domain, 'devices', 'channel', 'target').map((target) => attr(target, 'name'))
  const video = attr(first(domain, 'devices', 'video', 'model'), 'type')
  return compact({
    machine: machine !== undefined && MACHINE.test(machine) ? machine : undefined,
    cpu: cpu && !(cpu.mode === defaultCpuMode(type) && !cpu.features) ? cpu : undefined,
    topology: topology && {
      sockets: Number(attr(topology, 'sockets') ?? 1),
      cores: Number(attr(topology, 'cores') ?? 1),
      threads: Number(attr(topology, 'threads') ?? 1),
    },
    clock: attr(first(domain, 'clock'), 'offset') === 'localtime' ? 'localtime' : undefined,
    guestAgent: channels.includes(GUEST_AGENT) ? true : undefined,
    rng: first(domain, 'devices', 'rng') ? true : undefined,
    video: video !== undefined && VIDEO_MODELS.includes(video) ? video : undefined,
    nicModels: Object.keys(nicModels).length === 0 ? undefined : nicModels,
  })
}

export const GUEST_AGENT = 'org.qemu.guest_agent.0'

/** What a domain of ours has when nothing else is asked. */
export function defaultCpuMode(type: 'qemu' | 'kvm'): DomainCpu['mode'] {
  return type === 'kvm' ? 'host-model' : 'maximum'
}

function cpuOf(cpu: Element | undefined): DomainCpu | undefined {
  const mode = CPU_MODES.find((known) => known === attr(cpu, 'mode'))
  if (!mode) return undefined
  const features = all(cpu, 'feature').map((feature) => ({
    policy: attr(feature, 'policy') ?? 'require',
    name: attr(feature, 'name') ?? '',
  }))
  return compact({
    mode,
    model: mode === 'custom' ? text(first(cpu, 'model')) : undefined,
    features: features.length === 0 ? undefined : features,
  })
}

/** `extra.libvirt` as it came. Throws CLOUD_FAILED with the key that is wrong. */
export function readExtra(value: unknown): LibvirtExtra {
  const table = record(value ?? {}, 'extra.libvirt')
  const wrong = (key: string): never => {
    throw new FluidError('CLOUD_FAILED', `extra.libvirt.${key} is not what libvirt takes`)
  }
  const known = ['machine', 'cpu', 'topology', 'clock', 'guestAgent', 'rng', 'video', 'nicModels']
  for (const key of Object.keys(table)) if (!known.includes(key)) wrong(key)
  const { machine, topology, clock, guestAgent, rng, video, nicModels } = table
  if (machine !== undefined && !matches(machine, MACHINE)) wrong('machine')
  if (clock !== undefined && clock !== 'localtime') wrong('clock')
  if (video !== undefined && !VIDEO_MODELS.includes(video as string)) wrong('video')
  if (guestAgent !== undefined && typeof guestAgent !== 'boolean') wrong('guestAgent')
  if (rng !== undefined && typeof rng !== 'boolean') wrong('rng')
  if (topology !== undefined) {
    const counts = record(topology, 'extra.libvirt.topology')
    if (Object.keys(counts).toSorted().join() !== TOPOLOGY) wrong('topology')
    for (const count of Object.values(counts))
      if (!Number.isInteger(count) || (count as number) < 1 || (count as number) > MAX_VCPUS)
        wrong('topology')
  }
  for (const model of Object.values(record(nicModels ?? {}, 'extra.libvirt.nicModels')))
    if (!NIC_MODELS.includes(model as string)) wrong('nicModels')
  if (table.cpu !== undefined) checkCpu(record(table.cpu, 'extra.libvirt.cpu'), wrong)
  return table
}

function checkCpu(
  { mode, model, features = [] }: Record<string, unknown>,
  wrong: (key: string) => never,
): void {
  if (!CPU_MODES.includes(mode as DomainCpu['mode'])) wrong('cpu.mode')
  if (model === undefined ? mode === 'custom' : !matches(model, WORD)) wrong('cpu.model')
  if (!Array.isArray(features) || features.length > MAX_CPU_FEATURES) return wrong('cpu.features')
  for (const feature of features) {
    const { policy, name } = record(feature, 'extra.libvirt.cpu.features')
    if (!CPU_POLICIES.includes(policy as string) || !matches(name, WORD)) wrong('cpu.features')
  }
}

function matches(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value)
}

function record(value: unknown, key: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>
  throw new FluidError('CLOUD_FAILED', `${key} is no table`)
}

/** True for a model that nicModels may name. */
export function isForeignNicModel(model: string): boolean {
  return NIC_MODELS.includes(model)
}

function compact<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as T
}
