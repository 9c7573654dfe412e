/**
 * What stands against a plan at its target: names, amounts, networks, ports, Migrators, health checks, space. Nothing is
 * reserved here and nothing is changed; all that speaks against it is told at once.
 */
import { lstat, statfs } from 'node:fs/promises'
import { availableParallelism, freemem } from 'node:os'
import { asFluidError, FluidError, type ErrorCode } from '../../protocol/errors.ts'
import { printable } from '../../protocol/field.ts'
import { MAX_OBJECTIONS, MAX_TEXT_BYTES } from '../../protocol/limits.ts'
import type { RelocateGrant } from '../../protocol/relocate-grant.ts'
import { cannotWriteGuests as cannotWrite } from '../../transfer/guest/guest-programs.ts'
import { findDestinationFolder, pathIn } from '../../transfer/destination-name.ts'
import type { EditMigrator } from '../../transfer/migrator.ts'
import type { Cloud } from '../clouds/cloud.ts'
import type { Grant } from '../pairing/policy.ts'
import { checkObjections } from './target-check-rules.ts'
import type { RelocationRequest } from './target.ts'
import type {
  MigratorStep,
  Objection,
  PlannedMachine,
  PlannedPlace,
} from '../../protocol/relocation-message.ts'

/** What a target knows of itself when it is asked. */
export interface CheckingTarget {
  readonly cloud: Cloud
  readonly grant: Grant & { readonly relocate: RelocateGrant }
  /** Formats that this agent can write. */
  readonly writableFormats: readonly string[]
  /** What others have reserved here. */
  readonly others: readonly { readonly peer: string; readonly request: RelocationRequest }[]
  /** Names that relocations from here have yet to let go of, in this cloud. */
  readonly leaving: ReadonlySet<string>
  /** The same relocation, prepared before: its names are its own. */
  readonly before?: { readonly places: readonly PlannedPlace[] }
  /** The Migrator of that name and major version; throws what stands against it. */
  migrator(step: MigratorStep): Promise<EditMigrator>
  /** Why files in disks of this format cannot be written here; that of guest-programs.ts when left out. */
  cannotWriteGuests?(format: PlannedPlace['format']): Promise<FluidError | undefined>
}

export interface Checked {
  readonly objections: readonly Objection[]
  readonly warnings: readonly string[]
  /** One for each disk that moves, in order. */
  readonly places: readonly PlannedPlace[]
}

/** Looks at everything. Throws CLOUD_FAILED when the cloud does not answer. */
export async function checkRequest(
  peer: string,
  request: RelocationRequest,
  target: CheckingTarget,
): Promise<Checked> {
  const { cloud, grant, others, before } = target
  const objections: Objection[] = checkObjections(peer, request, target)
  const warnings: string[] = []
  const places: PlannedPlace[] = []
  const object = (code: ErrorCode, message: string, hint?: string) =>
    objections.push({ code, message, ...(hint !== undefined && { hint }) })
  const names = new Set(await cloud.machines())
  const reserved = new Set(
    others.flatMap(({ request: other }) => other.machines.map(({ machine }) => machine.name)),
  )
  for (const planned of request.machines) {
    const { name } = planned.machine
    if (target.leaving.has(name))
      object(
        'NAME_BUSY',
        `A relocation from here has the name ${name} until it is finalized`,
        'Finalize it there, or take another name',
      )
    else if (reserved.has(name)) object('NAME_BUSY', `Another relocation here takes the name ${name}`)
    else if (names.has(name)) object('NAME_EXISTS', `The ${cloud.kind} cloud here has a machine ${name}`)
    for (const place of placesOf(planned, target)) {
      if ('code' in place) objections.push(place)
      else {
        places.push(place)
        const isOwn = before?.places.some(({ destination }) => destination === place.destination)
        if (!isOwn) objections.push(...(await nameObjections(grant.folder, place.destination)))
      }
    }
    objections.push(...(await stepObjections(planned, target)))
    objections.push(...(await editObjections(planned, places, target)))
  }
  if (!cloud.supports.pause) warnings.push('Machines here cannot be paused: without a lease they are stopped')
  if (grant.approve === 'ask') warnings.push('A person has to say yes')
  const vcpus = sum(request.machines, ({ machine }) => machine.vcpus)
  if (vcpus > availableParallelism())
    warnings.push(`${vcpus} processors are asked for, and the host has ${availableParallelism()}`)
  const memoryBytes = sum(request.machines, ({ machine }) => machine.memoryBytes)
  if (cloud.kind !== 'local' && memoryBytes > freemem())
    object(
      'NO_SPACE',
      `${memoryBytes} bytes of memory are asked for, and ${freemem()} are free`,
      'Free memory there',
    )
  if (!before) objections.push(...(await spaceObjections(grant.folder, request, others)))
  return { objections: objections.slice(0, MAX_OBJECTIONS), warnings, places }
}

/** Where each moving disk of a machine goes. */
function placesOf(
  { machine, disks }: PlannedMachine,
  { cloud, writableFormats, grant }: CheckingTarget,
): (PlannedPlace | Objection)[] {
  return disks.map(({ id, sizeBytes }) => {
    const asked = machine.disks.find((disk) => disk.id === id)!.format
    const format = [asked, 'raw' as const, 'qcow2' as const].find(
      (one) => cloud.supports.formats.includes(one) && writableFormats.includes(one),
    )
    if (!format)
      return {
        code: 'FORMAT_UNSUPPORTED',
        message: `No format that the ${cloud.kind} cloud takes can be written here`,
      }
    if (grant.maxBytes > 0 && sizeBytes > grant.maxBytes)
      return {
        code: 'TOO_LARGE',
        message: `Disk ${id} has ${sizeBytes} bytes, and ${grant.maxBytes} are granted`,
      }
    return {
      machine: machine.name,
      disk: id,
      destination: `machines/${machine.name}/${id}.${format}`,
      format,
    }
  })
}

/** Why nothing can be put under this name; the folder itself is the owner's word. */
async function nameObjections(folder: string, destination: string): Promise<Objection[]> {
  try {
    const found = await findDestinationFolder(folder, destination)
    if (!found) return []
    await using parent = found
    const there = await lstat(pathIn(parent, parent.leaf)).catch(() => undefined)
    return there ? [{ code: 'NAME_EXISTS', message: `${destination} exists` }] : []
  } catch (error) {
    const { code, message } = asFluidError(error)
    return [{ code, message: printable(message, MAX_TEXT_BYTES) }]
  }
}

async function stepObjections(
  { machine, steps }: PlannedMachine,
  target: CheckingTarget,
): Promise<Objection[]> {
  const allowed = target.grant.relocate.migrators
  const objections: Objection[] = []
  for (const step of steps) {
    try {
      if (allowed && !allowed.includes(step.migrator))
        throw new FluidError('POLICY_DENIED', `Migrator ${step.migrator} is not granted`)
      ;(await target.migrator(step)).check(step.input)
    } catch (error) {
      const { code, message, hint } = asFluidError(error, 'MIGRATOR_FAILED')
      objections.push({ code, message: `${machine.name}: ${message}`, hint })
    }
  }
  return objections
}

/** Steps change files in disks, for which programs of this host are needed: told now, not when the machines stand still. */
async function editObjections(
  { machine, steps }: PlannedMachine,
  places: readonly PlannedPlace[],
  { cannotWriteGuests = cannotWrite }: CheckingTarget,
): Promise<Objection[]> {
  if (steps.length === 0) return []
  const own = places.filter((place) => place.machine === machine.name)
  const objections: Objection[] = []
  for (const format of new Set(own.map((place) => place.format))) {
    const why = await cannotWriteGuests(format)
    if (why) objections.push({ code: why.code, message: `${machine.name}: ${why.message}`, hint: why.hint })
  }
  return objections
}

async function spaceObjections(
  folder: string,
  request: RelocationRequest,
  others: CheckingTarget['others'],
): Promise<Objection[]> {
  const { bavail, bsize } = await statfs(folder).catch((cause: unknown) => {
    throw new FluidError('TARGET_WRITE', 'The granted folder cannot be looked at', { cause })
  })
  const bytesOf = (one: RelocationRequest) =>
    sum(one.machines, ({ disks }) => sum(disks, ({ allocatedBytes }) => allocatedBytes))
  // What others have moved already is not free any more, and counts twice: on the safe side.
  const free = bavail * bsize - sum(others, (other) => bytesOf(other.request))
  const needed = bytesOf(request)
  return needed > free
    ? [{ code: 'NO_SPACE', message: `${needed} bytes are needed, and ${Math.max(0, free)} are free` }]
    : []
}

export function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}
