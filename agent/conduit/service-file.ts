/**
 * service.toml: what a service is made of, and how it is to arrive. Everything but the machines' names may be left out;
 * the rest is found by looking at the clouds. Unknown keys are refused with the nearest known one.
 */
import type { MatchRequest } from '../../protocol/catalog-message.ts'
import { FluidError } from '../../protocol/errors.ts'
import { correctIn, missing } from '../brokers/catalog-toml.ts'
import type { CloudKind } from '../clouds/cloud.ts'
import type { PortForward } from '../../protocol/machine.ts'
import { CLOUD_KINDS } from '../clouds/cloud-config.ts'
import { readRequest } from '../brokers/request-file.ts'
import { parseToml, readKey as read, readSection, refuseUnknown } from '../toml-table.ts'
import { integer, listOf } from '../toml-readers.ts'
import type { HealthCheck } from '../../protocol/relocation-message.ts'
import {
  durationMs,
  forwards,
  hostPort,
  httpUrl,
  machineName,
  oneOf,
  size,
  stepList,
  table,
  text,
  version,
} from './service-values.ts'

/** Machines of one service, and stores that it keeps its objects in. */
export const MAX_SERVICE_MACHINES = 16
export const MAX_SERVICE_STORES = 16
const MAX_CHECKS = 16
const MAX_SERVICE_NAME_CHARS = 63

/** What another place makes of a machine; what is left out stays as it is. */
export interface TargetOverrides {
  readonly name?: string
  readonly vcpus?: number
  readonly memoryBytes?: number
  /** Of all its network cards. */
  readonly network?: string
  /** Of its first network card; replaces those it has. */
  readonly forwards?: readonly PortForward[]
}

/** One Migrator and its input, as its owner wrote it. */
export interface ServiceStep {
  readonly migrator: string
  /** Undefined: the one that is here. */
  readonly version?: string
  readonly input: Readonly<Record<string, unknown>>
}

export interface ServiceMachine {
  readonly name: string
  /** Undefined: the only one that is configured. */
  readonly cloud?: CloudKind
  /** Names of machines that must run before it. */
  readonly needs: readonly string[]
  readonly target: TargetOverrides
  readonly steps: readonly ServiceStep[]
}

/** Where objects lie; it stays where it is. */
export interface ObjectStore {
  readonly name: string
  readonly endpoint: string
  readonly buckets: readonly string[]
}

export interface ServiceFile {
  readonly name: string
  readonly machines: readonly ServiceMachine[]
  readonly objectStores: readonly ObjectStore[]
  readonly health: readonly HealthCheck[]
  readonly cutover: {
    readonly maxDowntimeMs: number
    readonly onNoConvergence: 'stop' | 'keep'
    /** From the start of the first machine until all checks have passed. */
    readonly gateMs: number
    /** Time a machine has to shut down where it cannot be paused. */
    readonly stopGraceMs: number
  }
  /** Undefined: by hand. */
  readonly finalizeAfterMs?: number
  /** What a place must offer when none is named. */
  readonly request?: MatchRequest
}

export const DEFAULT_MAX_DOWNTIME_MS = 10_000
export const DEFAULT_GATE_MS = 120_000
const DEFAULT_STOP_GRACE_MS = 30_000
const MAX_GATE_MS = 3_600_000
const MAX_FINALIZE_AFTER_MS = 90 * 24 * 3_600_000

const TOP_KEYS = [
  'name',
  'machine',
  'object_store',
  'health',
  'cutover',
  'finalize_after',
  'need',
  'want',
  'have',
] as const
const MACHINE_KEYS = ['name', 'cloud', 'needs', 'target', 'adapt', 'rewrite', 'rebind', 'step'] as const
const TARGET_KEYS = ['name', 'vcpus', 'memory', 'network', 'forwards'] as const
const STEP_KEYS = ['migrator', 'version', 'input'] as const
const STORE_KEYS = ['name', 'endpoint', 'buckets'] as const
const HEALTH_KEYS = ['http', 'tcp', 'status', 'contains'] as const
const CUTOVER_KEYS = ['max_downtime', 'on_no_convergence', 'gate', 'stop_grace'] as const

/** The service in `text` (TOML). Throws CONFIG_INVALID. */
export function parseServiceFile(source: string): ServiceFile {
  return correctIn('service file', () => readService(parseToml(source, 'The service file')))
}

function readService(top: Record<string, unknown>): ServiceFile {
  refuseUnknown(top, TOP_KEYS)
  const machines = tables(top.machine, 'machine', MAX_SERVICE_MACHINES).map(readMachine)
  if (machines.length === 0) throw missing('[[machine]]')
  checkMachines(machines)
  const cutover = readSection(top.cutover ?? {}, 'cutover', CUTOVER_KEYS)
  return {
    name: read(top.name, 'name', text(MAX_SERVICE_NAME_CHARS), machines[0].name),
    machines,
    objectStores: tables(top.object_store, 'object_store', MAX_SERVICE_STORES).map(readStore),
    health: tables(top.health, 'health', MAX_CHECKS).map(readHealth),
    cutover: {
      maxDowntimeMs: read(
        cutover.max_downtime,
        'cutover.max_downtime',
        durationMs(1, MAX_GATE_MS),
        DEFAULT_MAX_DOWNTIME_MS,
      ),
      onNoConvergence: read(
        cutover.on_no_convergence,
        'cutover.on_no_convergence',
        oneOf(['stop', 'keep'] as const),
        'stop',
      ),
      gateMs: read(cutover.gate, 'cutover.gate', durationMs(1, MAX_GATE_MS), DEFAULT_GATE_MS),
      stopGraceMs: read(
        cutover.stop_grace,
        'cutover.stop_grace',
        durationMs(0, MAX_GATE_MS),
        DEFAULT_STOP_GRACE_MS,
      ),
    },
    finalizeAfterMs: read(
      top.finalize_after,
      'finalize_after',
      durationMs(1, MAX_FINALIZE_AFTER_MS),
      undefined,
    ),
    request: requestOf(top),
  }
}

/** What need, want and have say, in the words of request.toml. */
function requestOf({ need, want, have }: Record<string, unknown>): MatchRequest | undefined {
  if (need === undefined && want === undefined && have === undefined) return undefined
  return readRequest({
    ...(need === undefined ? {} : { need }),
    ...(want === undefined ? {} : { want }),
    ...(have === undefined ? {} : { have }),
  })
}

function readMachine(value: Record<string, unknown>, i: number): ServiceMachine {
  const at = `machine[${i}]`
  refuseUnknown(value, MACHINE_KEYS, `${at}.`)
  const name = read(value.name, `${at}.name`, machineName, undefined)
  if (name === undefined) throw missing(`${at}.name`)
  const target = readSection(value.target ?? {}, `${at}.target`, TARGET_KEYS)
  const adapt = read(value.adapt, `${at}.adapt`, table, undefined)
  return {
    name,
    cloud: read(value.cloud, `${at}.cloud`, oneOf(CLOUD_KINDS), undefined),
    needs: read(value.needs, `${at}.needs`, listOf(machineName, MAX_SERVICE_MACHINES), []),
    target: {
      name: read(target.name, `${at}.target.name`, machineName, undefined),
      vcpus: read(target.vcpus, `${at}.target.vcpus`, integer(1, 1024), undefined),
      memoryBytes: read(target.memory, `${at}.target.memory`, size, undefined),
      network: read(target.network, `${at}.target.network`, text(64), undefined),
      forwards: read(target.forwards, `${at}.target.forwards`, forwards, undefined),
    },
    steps: [
      ...(adapt === undefined ? [] : [{ migrator: 'adapt-guest', input: adapt }]),
      ...read(value.rewrite, `${at}.rewrite`, stepList, []).map((input) => ({
        migrator: 'rewrite-config',
        input,
      })),
      ...read(value.rebind, `${at}.rebind`, stepList, []).map((input) => ({
        migrator: 'rebind-object-store',
        input,
      })),
      ...read(value.step, `${at}.step`, stepList, []).map((step, n) => readStep(step, `${at}.step[${n}]`)),
    ],
  }
}

function readStep(value: Record<string, unknown>, at: string): ServiceStep {
  refuseUnknown(value, STEP_KEYS, `${at}.`)
  const migrator = read(value.migrator, `${at}.migrator`, text(64), undefined)
  if (migrator === undefined) throw missing(`${at}.migrator`)
  return {
    migrator,
    version: read(value.version, `${at}.version`, version, undefined),
    input: read(value.input, `${at}.input`, table, {}),
  }
}

function readStore(value: Record<string, unknown>, i: number): ObjectStore {
  const at = `object_store[${i}]`
  refuseUnknown(value, STORE_KEYS, `${at}.`)
  const endpoint = read(value.endpoint, `${at}.endpoint`, httpUrl, undefined)
  if (endpoint === undefined) throw missing(`${at}.endpoint`)
  return {
    name: read(value.name, `${at}.name`, text(64), new URL(endpoint).host),
    endpoint,
    buckets: read(value.buckets, `${at}.buckets`, listOf(text(255), 64), []),
  }
}

function readHealth(value: Record<string, unknown>, i: number): HealthCheck {
  const at = `health[${i}]`
  refuseUnknown(value, HEALTH_KEYS, `${at}.`)
  const http = read(value.http, `${at}.http`, httpUrl, undefined)
  const tcp = read(value.tcp, `${at}.tcp`, hostPort, undefined)
  if ((http === undefined) === (tcp === undefined))
    throw new FluidError('CONFIG_INVALID', `${at} has to say either http or tcp`)
  if (tcp) {
    if (value.status !== undefined || value.contains !== undefined)
      throw new FluidError('CONFIG_INVALID', `${at}: status and contains are for http only`)
    return { kind: 'tcp', ...tcp }
  }
  const status = read(value.status, `${at}.status`, integer(100, 599), undefined)
  const contains = read(value.contains, `${at}.contains`, text(1024), undefined)
  return {
    kind: 'http',
    url: http!,
    ...(status === undefined ? {} : { status }),
    ...(contains === undefined ? {} : { contains }),
  }
}

function checkMachines(machines: readonly ServiceMachine[]): void {
  const names = machines.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new FluidError('CONFIG_INVALID', `Two machines are called ${twice}`)
  for (const { name, needs } of machines) {
    const unknown = needs.find((each) => !names.includes(each))
    if (unknown !== undefined)
      throw new FluidError(
        'CONFIG_INVALID',
        `Machine ${name} needs ${unknown}, which is no machine of this service`,
      )
  }
  inOrder(machines)
}

/** The machines in the order in which they start: each after those it needs. Throws CONFIG_INVALID for a circle. */
export function inOrder<M extends Pick<ServiceMachine, 'name' | 'needs'>>(machines: readonly M[]): M[] {
  const ordered: M[] = []
  let left = [...machines]
  while (left.length > 0) {
    const ready = left.filter(({ needs }) => needs.every((need) => ordered.some(({ name }) => name === need)))
    if (ready.length === 0)
      throw new FluidError(
        'CONFIG_INVALID',
        `Machines need each other in a circle: ${left.map(({ name }) => name).join(', ')}`,
      )
    ordered.push(...ready)
    left = left.filter((machine) => !ready.includes(machine))
  }
  return ordered
}

function tables(value: unknown, key: string, most: number): Record<string, unknown>[] {
  if (value === undefined) return []
  if (Array.isArray(value) && value.length <= most && value.every(isTable)) return value
  throw new FluidError('CONFIG_INVALID', `${key} is not a list of at most ${most} tables: write [[${key}]]`)
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
