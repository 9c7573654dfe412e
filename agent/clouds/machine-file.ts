/**
 * A machine's description as TOML, for clouds that keep a folder of them. The file's name is the machine's; sizes of disks
 * are not written down, since the disks know them.
 */
import { isAbsolute, normalize } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { stringify } from 'smol-toml'
import { FluidError } from '../../protocol/errors.ts'
import { parseToml, type Reader, readKey, readSection, refuseUnknown, Wanted } from '../toml-table.ts'
import { amount, boolean, integer } from '../toml-readers.ts'
import { parseSize } from '../units.ts'
import {
  MACHINE_MAC,
  MACHINE_NAME,
  MACHINE_PART_ID,
  type Machine,
  type MachineDisk,
  type MachineNic,
  type PortForward,
} from '../../protocol/machine.ts'

export type DescribedDisk = Omit<MachineDisk, 'sizeBytes'>

/** A machine without what only its disks can tell. */
export interface DescribedMachine extends Omit<Machine, 'disks'> {
  readonly disks: readonly DescribedDisk[]
}

const MAX_VCPUS = 512
const MAX_MEMORY_BYTES = 2 ** 44
const MAX_DISKS = 24
const MAX_NICS = 8
const MAX_FORWARDS = 64
const MAX_EXTRA_BYTES = 16 * 1024

/** True for what may be a machine's name. */
export function isMachineName(name: string): boolean {
  return MACHINE_NAME.test(name)
}

/** The machine that `text` describes. Throws CONFIG_INVALID with the key that is wrong. */
export function parseMachine(name: string, text: string): DescribedMachine {
  try {
    return readMachine(name, parseToml(text, 'It'))
  } catch (cause) {
    if (!(cause instanceof FluidError)) throw cause
    throw new FluidError('CONFIG_INVALID', `Description of ${name}: ${cause.message}`, {
      cause,
      hint: cause.details.hint ?? `Correct the named key in ${name}.toml`,
    })
  }
}

/** Its description, which reads back as the same machine. Throws CLOUD_FAILED for one that cannot be described. */
export function formatMachine(machine: DescribedMachine): string {
  const { name, architecture, memoryBytes, disks, nics, extra, ...plain } = machine
  const text = tomlOf({
    architecture,
    ...plain,
    memory: memoryBytes % 2 ** 20 === 0 ? `${memoryBytes / 2 ** 20}MiB` : `${memoryBytes}B`,
    disks: disks.map(({ readOnly, serial, ...disk }) => ({
      ...disk,
      read_only: readOnly,
      ...(serial === undefined ? {} : { serial }),
    })),
    nics: nics.map((nic) => ({ ...nic, forwards: nic.forwards.map(formatForward) })),
    ...(extra === undefined ? {} : { extra }),
  })
  // Without what is there but undefined.
  const plainly = JSON.parse(JSON.stringify(machine)) as unknown
  try {
    if (isMachineName(name) && isDeepStrictEqual(parseMachine(name, text), plainly)) return text
  } catch (cause) {
    throw new FluidError('CLOUD_FAILED', (cause as Error).message, { cause })
  }
  throw new FluidError('CLOUD_FAILED', `Machine ${JSON.stringify(name)} cannot be described here`)
}

function tomlOf(table: object): string {
  try {
    return stringify(table)
  } catch (cause) {
    throw new FluidError('CLOUD_FAILED', `TOML has no words for it: ${(cause as Error).message}`, { cause })
  }
}

function readMachine(name: string, table: Record<string, unknown>): DescribedMachine {
  refuseUnknown(table, MACHINE_KEYS)
  const disks = list(table.disks, 'disks', MAX_DISKS).map(readDisk)
  const nics = list(table.nics, 'nics', MAX_NICS).map(readNic)
  unique(disks, 'disks')
  unique(nics, 'nics')
  const extra = readKey(table.extra, 'extra', extraTable, undefined)
  return {
    name,
    architecture: readKey(table.architecture, 'architecture', oneOf('x86_64'), 'x86_64'),
    vcpus: readKey(table.vcpus, 'vcpus', integer(1, MAX_VCPUS), 1),
    memoryBytes: readKey(table.memory, 'memory', memory, 256 * 2 ** 20),
    firmware: readKey(table.firmware, 'firmware', oneOf('bios', 'uefi'), 'bios'),
    chipset: readKey(table.chipset, 'chipset', oneOf('q35', 'pc'), 'q35'),
    disks,
    nics,
    ...(extra === undefined ? {} : { extra }),
  }
}

function readDisk(value: unknown, index: number): DescribedDisk {
  const at = `disks[${index}]`
  const table = readSection(value, at, DISK_KEYS)
  const serial = readKey(table.serial, `${at}.serial`, matching(/^[A-Za-z0-9_.+-]{1,64}$/, SERIAL), undefined)
  return {
    id: readKey(table.id ?? null, `${at}.id`, matching(MACHINE_PART_ID, ID), ''),
    path: readKey(table.path ?? null, `${at}.path`, path, ''),
    format: readKey(table.format, `${at}.format`, oneOf('raw', 'qcow2'), 'raw'),
    boot: readKey(table.boot, `${at}.boot`, boolean, false),
    bus: readKey(table.bus, `${at}.bus`, oneOf('virtio', 'scsi', 'sata', 'ide'), 'virtio'),
    readOnly: readKey(table.read_only, `${at}.read_only`, boolean, false),
    ...(serial === undefined ? {} : { serial }),
  }
}

function readNic(value: unknown, index: number): MachineNic {
  const at = `nics[${index}]`
  const table = readSection(value, at, NIC_KEYS)
  return {
    id: readKey(table.id ?? null, `${at}.id`, matching(MACHINE_PART_ID, ID), ''),
    mac: readKey(table.mac ?? null, `${at}.mac`, matching(MACHINE_MAC, MAC), ''),
    model: readKey(table.model, `${at}.model`, oneOf('virtio', 'e1000'), 'virtio'),
    network: readKey(table.network, `${at}.network`, matching(/^[A-Za-z0-9._-]{1,64}$/, NETWORK), 'user'),
    forwards: list(table.forwards, `${at}.forwards`, MAX_FORWARDS).map((forward, i) =>
      readKey(forward, `${at}.forwards[${i}]`, forwardOf, { hostAddress: '', hostPort: 0, guestPort: 0 }),
    ),
  }
}

const ID = 'an id of 1 to 64 of a-z, 0-9, dots, dashes and underscores'
const SERIAL = 'a serial number of at most 64 letters, digits and _.+-'
const MAC = 'a hardware address such as "52:54:00:12:34:56", lower case'
const NETWORK = 'the name of a network, such as "user"'
const MACHINE_KEYS = [
  'architecture',
  'vcpus',
  'memory',
  'firmware',
  'chipset',
  'disks',
  'nics',
  'extra',
] as const
const DISK_KEYS = ['id', 'path', 'format', 'boot', 'bus', 'read_only', 'serial'] as const
const NIC_KEYS = ['id', 'mac', 'model', 'network', 'forwards'] as const

/** ADDRESS:PORT:PORT, of the host and of the machine; the address of IPv6 in brackets. */
function formatForward({ hostAddress, hostPort, guestPort }: PortForward): string {
  return `${hostAddress.includes(':') ? `[${hostAddress}]` : hostAddress}:${hostPort}:${guestPort}`
}

const forwardOf: Reader<PortForward> = (value) => {
  const [, ip6, ip4, host, guest] =
    (typeof value === 'string' && /^(?:\[([0-9a-f:]+)\]|([0-9.]+)):(\d{1,5}):(\d{1,5})$/.exec(value)) || []
  const [hostPort, guestPort] = [Number(host), Number(guest)]
  if (!isPort(hostPort) || !isPort(guestPort))
    return new Wanted('HOST-ADDRESS:HOST-PORT:MACHINE-PORT, such as "127.0.0.1:8080:80"')
  return { hostAddress: ip6 ?? ip4, hostPort, guestPort }
}

const isPort = (port: number): boolean => port >= 1 && port <= 65_535

function list(value: unknown, key: string, most: number): unknown[] {
  const reader: Reader<unknown[]> = (given) =>
    Array.isArray(given) && given.length <= most ? given : new Wanted(`a list of at most ${most}`)
  return readKey(value, key, reader, [])
}

function unique(items: readonly { readonly id: string }[], key: string): void {
  const ids = items.map(({ id }) => id)
  const twice = ids.find((id, index) => ids.indexOf(id) !== index)
  if (twice !== undefined) throw new FluidError('CONFIG_INVALID', `${key} has ${twice} twice`)
}

function oneOf<T extends string>(...words: T[]): Reader<T> {
  return (value) => words.find((word) => word === value) ?? new Wanted(`one of ${words.join(', ')}`)
}

function matching(pattern: RegExp, what: string): Reader<string> {
  return (value) => (typeof value === 'string' && pattern.test(value) ? value : new Wanted(what))
}

const path: Reader<string> = (value) =>
  typeof value === 'string' &&
  isAbsolute(value) &&
  normalize(value) === value &&
  /^[^\0\n]{1,4095}$/.test(value)
    ? value
    : new Wanted('an absolute path without detours')

const sizeOf = amount(parseSize, '')

const memory: Reader<number> = (value) => {
  const bytes = typeof value === 'string' && /^\d/.test(value) ? sizeOf(value) : undefined
  return typeof bytes === 'number' && bytes >= 2 ** 20 && bytes <= MAX_MEMORY_BYTES
    ? bytes
    : new Wanted('an amount such as "512MiB"')
}

const extraTable: Reader<Record<string, unknown>> = (value) => {
  const json = JSON.stringify(value) ?? ''
  if (typeof value !== 'object' || Array.isArray(value) || Buffer.byteLength(json) > MAX_EXTRA_BYTES)
    return new Wanted(`a table of at most ${MAX_EXTRA_BYTES} bytes as JSON`)
  return JSON.parse(json)
}
