/** The plan of a relocation to protobuf and back; what is out of bounds is a PROTOCOL_VIOLATION. Spec: relocation.md, Plan. */
import { boundedBytes, integer, list, text, violation } from './field.ts'
import {
  MAX_GATE_MS,
  MAX_HEALTH_CHECKS,
  MAX_JSON_DEPTH,
  MAX_MACHINE_DISKS,
  MAX_MACHINE_EXTRA_BYTES,
  MAX_MACHINE_NICS,
  MAX_MACHINE_STEPS,
  MAX_NAME_BYTES,
  MAX_NIC_FORWARDS,
  MAX_RELOCATION_MACHINES,
  MAX_STEP_BYTES,
  MAX_TEXT_BYTES,
  MAX_VCPUS,
  MAX_VOLUME_BYTES,
} from './limits.ts'
import type { fluidcloud } from './pb/relocation.js'
import {
  MACHINE_MAC,
  MACHINE_NAME,
  MACHINE_PART_ID,
  type Machine,
  type MachineDisk,
  type MachineNic,
} from './machine.ts'
import type { HealthCheck, Parties, Plan, PlannedMachine } from './relocation-message.ts'

type Wire = fluidcloud.relocation.v1.Plan.$Properties
type WireMachine = fluidcloud.relocation.v1.PlannedMachine.$Properties

const MIGRATOR = /^[a-z0-9-]{1,64}$/
const VERSION = /^\d{1,9}\.\d{1,9}\.\d{1,9}(?:[-+][0-9A-Za-z.+-]{1,64})?$/
const MAX_PORT = 65_535
const MAX_ADDRESS_BYTES = 64

/** All of a plan but its parties, as the wire has it. */
export function writePlan(plan: Plan): Wire {
  return {
    service: plan.service,
    live: plan.live,
    machines: plan.machines.map(writeMachine),
    health: plan.health.map((check) =>
      check.kind === 'http'
        ? { url: check.url, status: check.status ?? 0, contains: check.contains ?? '' }
        : { host: check.host, port: check.port },
    ),
    gateMs: plan.gateMs,
  }
}

/** The plan in `wire`; its parties were read before. */
export function readPlan(wire: Wire, parties: Parties): Plan {
  const machines = list('Machines', wire.machines ?? [], MAX_RELOCATION_MACHINES, (_, machine) =>
    readMachine(machine),
  )
  if (machines.length === 0) throw violation('Plan has no machine')
  unique(
    'Machine',
    machines.map(({ machine }) => machine.name),
  )
  return {
    ...parties,
    service: text('Service', wire.service ?? '', MAX_NAME_BYTES, 1),
    live: wire.live ?? false,
    machines,
    health: list('Health checks', wire.health ?? [], MAX_HEALTH_CHECKS, (_, check) => readCheck(check)),
    gateMs: integer('Gate', wire.gateMs ?? 0, 1, MAX_GATE_MS),
  }
}

/** The name of a machine; throws PROTOCOL_VIOLATION. */
export function machineName(name: string, value: string): string {
  return matching(name, value, MACHINE_NAME)
}

/** The id of a disk or a card of a machine; throws PROTOCOL_VIOLATION. */
export function partId(name: string, value: string): string {
  return matching(name, value, MACHINE_PART_ID)
}

export function diskFormat(value: string): 'raw' | 'qcow2' {
  return oneOf('Disk format', value, ['raw', 'qcow2'])
}

function writeMachine({ machine, disks, steps }: PlannedMachine): WireMachine {
  const { extra, ...hardware } = machine
  return {
    machine: {
      ...hardware,
      disks: hardware.disks.map(({ path: _, ...disk }) => disk),
      nics: hardware.nics.map((nic) => ({ ...nic, forwards: [...nic.forwards] })),
      extraJson: extra === undefined ? '' : JSON.stringify(extra),
    },
    disks: [...disks],
    steps: steps.map(({ migrator, version, input }) => ({
      migrator,
      version,
      inputJson: JSON.stringify(input ?? null),
    })),
  }
}

function readMachine(wire: WireMachine): PlannedMachine {
  const machine = readHardware(wire.machine ?? {})
  const known = new Set(machine.disks.map(({ id }) => id))
  const disks = list('Moving disks', wire.disks ?? [], MAX_MACHINE_DISKS, (_, disk) => {
    const id = partId('Disk', disk.id ?? '')
    if (!known.has(id)) throw violation(`Machine ${machine.name} has no disk ${id}`)
    return {
      id,
      sizeBytes: integer('Disk size', disk.sizeBytes ?? 0, 0, MAX_VOLUME_BYTES),
      allocatedBytes: integer('Allocated size', disk.allocatedBytes ?? 0, 0, MAX_VOLUME_BYTES),
    }
  })
  unique(
    'Moving disk',
    disks.map(({ id }) => id),
  )
  return {
    machine,
    disks,
    steps: list('Steps', wire.steps ?? [], MAX_MACHINE_STEPS, (_, step) => ({
      migrator: matching('Migrator', step.migrator ?? '', MIGRATOR),
      version: matching('Migrator version', step.version ?? '', VERSION),
      input: boundedJson('Input of a step', step.inputJson ?? '', MAX_STEP_BYTES),
    })),
  }
}

function readHardware(wire: fluidcloud.relocation.v1.Machine.$Properties): Machine {
  const disks = list('Disks', wire.disks ?? [], MAX_MACHINE_DISKS, (_, disk) => readDisk(disk))
  const nics = list('Network cards', wire.nics ?? [], MAX_MACHINE_NICS, (_, nic) => readNic(nic))
  unique(
    'Disk',
    disks.map(({ id }) => id),
  )
  unique(
    'Network card',
    nics.map(({ id }) => id),
  )
  return {
    name: machineName('Machine name', wire.name ?? ''),
    architecture: oneOf('Architecture', wire.architecture ?? '', ['x86_64']),
    vcpus: integer('Processors', wire.vcpus ?? 0, 1, MAX_VCPUS),
    memoryBytes: integer('Memory', wire.memoryBytes ?? 0, 1, MAX_VOLUME_BYTES),
    firmware: oneOf('Firmware', wire.firmware ?? '', ['bios', 'uefi']),
    chipset: oneOf('Chipset', wire.chipset ?? '', ['q35', 'pc']),
    disks,
    nics,
    ...(wire.extraJson && { extra: readExtra(wire.extraJson) }),
  }
}

function readDisk(wire: fluidcloud.relocation.v1.Disk.$Properties): MachineDisk {
  return {
    id: partId('Disk', wire.id ?? ''),
    path: '',
    format: diskFormat(wire.format ?? ''),
    sizeBytes: integer('Disk size', wire.sizeBytes ?? 0, 0, MAX_VOLUME_BYTES),
    boot: wire.boot ?? false,
    bus: oneOf('Bus', wire.bus ?? '', ['virtio', 'scsi', 'sata', 'ide']),
    readOnly: wire.readOnly ?? false,
    ...(wire.serial && { serial: text('Serial number', wire.serial, MAX_ADDRESS_BYTES) }),
  }
}

function readNic(wire: fluidcloud.relocation.v1.Nic.$Properties): MachineNic {
  return {
    id: partId('Network card', wire.id ?? ''),
    mac: matching('MAC address', wire.mac ?? '', MACHINE_MAC),
    model: oneOf('Model of a network card', wire.model ?? '', ['virtio', 'e1000']),
    network: text('Network', wire.network ?? '', MAX_NAME_BYTES, 1),
    forwards: list('Forwards', wire.forwards ?? [], MAX_NIC_FORWARDS, (_, forward) => ({
      hostAddress: text('Address of a forward', forward.hostAddress ?? '', MAX_ADDRESS_BYTES, 1),
      hostPort: integer('Port at the host', forward.hostPort ?? 0, 1, MAX_PORT),
      guestPort: integer('Port in the guest', forward.guestPort ?? 0, 1, MAX_PORT),
    })),
  }
}

function readCheck(wire: fluidcloud.relocation.v1.HealthCheck.$Properties): HealthCheck {
  if (!wire.url) {
    return {
      kind: 'tcp',
      host: text('Host of a check', wire.host ?? '', MAX_NAME_BYTES, 1),
      port: integer('Port of a check', wire.port ?? 0, 1, MAX_PORT),
    }
  }
  const url = text('URL of a check', wire.url, MAX_TEXT_BYTES)
  if (!/^https?:\/\//.test(url) || !URL.canParse(url))
    throw violation('URL of a check is not one of http or https')
  return {
    kind: 'http',
    url,
    ...(wire.status && { status: integer('Status of a check', wire.status, 100, 599) }),
    ...(wire.contains && { contains: text('Text of a check', wire.contains, MAX_TEXT_BYTES) }),
  }
}

function readExtra(json: string): Record<string, unknown> {
  const extra = boundedJson('What a driver needs', json, MAX_MACHINE_EXTRA_BYTES)
  if (typeof extra !== 'object' || extra === null || Array.isArray(extra))
    throw violation('What a driver needs is not an object')
  return extra as Record<string, unknown>
}

/** A value out of at most `maxBytes` of JSON that nests no deeper than MAX_JSON_DEPTH. */
function boundedJson(name: string, json: string, maxBytes: number): unknown {
  boundedBytes(name, Buffer.from(json), 1, maxBytes)
  if (deepest(json) > MAX_JSON_DEPTH) throw violation(`${name} nests deeper than ${MAX_JSON_DEPTH}`)
  try {
    return JSON.parse(json) as unknown
  } catch (cause) {
    throw violation(`${name} is not JSON`, cause)
  }
}

/** How deep JSON nests, in one pass over whatever text it is. Only brackets outside of strings count. */
function deepest(json: string): number {
  let most = 0
  let depth = 0
  let isText = false
  for (let at = 0; at < json.length; at++) {
    const character = json[at]
    if (isText && character === '\\') at++
    else if (character === '"') isText = !isText
    else if (isText) continue
    else if (character === '[' || character === '{') most = Math.max(most, ++depth)
    else if (character === ']' || character === '}') depth--
  }
  return most
}

function matching(name: string, value: string, pattern: RegExp): string {
  if (!pattern.test(value))
    throw violation(`${name} is not as it must be: ${JSON.stringify(value.slice(0, 80))}`)
  return value
}

function oneOf<T extends string>(name: string, value: string, known: readonly T[]): T {
  const found = known.find((word) => word === value)
  if (found === undefined) throw violation(`${name} is none of ${known.join(', ')}`)
  return found
}

function unique(name: string, ids: readonly string[]): void {
  const twice = ids.find((id, i) => ids.indexOf(id) !== i)
  if (twice !== undefined) throw violation(`${name} ${twice} comes twice`)
}
