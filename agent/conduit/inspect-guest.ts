/**
 * Looks into a machine's disks without writing and without root, while the machine runs: what system it is, what it
 * serves, what it depends on, and why it cannot be relocated. What a guest says is hostile and bounded everywhere.
 */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_GUEST_FINDINGS } from '../../protocol/limits.ts'
import type { FileSystemFacts } from '../../transfer/guest/file-system.ts'
import { volumeOfSpec } from '../../transfer/guest/fstab.ts'
import {
  surveyDisks,
  whyReadOnly,
  type GuestVolume,
  type SurveyedDisk,
} from '../../transfer/guest/guest-volume.ts'
import { findGuest, type FoundGuest } from '../../transfer/guest/open-guest.ts'
import type { GuestMount } from '../../transfer/guest/guest-tree.ts'
import { openSource } from '../../transfer/open.ts'
import type { Source } from '../../transfer/source.ts'
import type { GuestReport, InspectedMachine, ReportedDisk, ReportedVolume } from './guest-report.ts'
import { bootObjections } from './inspect-guest-boot.ts'
import { inspectListeners } from './inspect-guest-listeners.ts'
import { inspectNetwork } from './inspect-guest-network.ts'
import { inspectReferences } from './inspect-guest-references.ts'
import { inspectServices } from './inspect-guest-services.ts'
import { inspectSystem } from './inspect-guest-system.ts'
import type { Objection } from '../../protocol/relocation-message.ts'

/** A disk of the machine, in the machine's order: an address for openSource(), or what was opened already. */
export type InspectedDisk =
  | { readonly id: string; readonly url: string }
  | { readonly id: string; readonly source: Source }

/**
 * Inspects the guest in these disks, best a snapshot of them. Throws SOURCE_READ and SOURCE_MISSING; what is wrong with
 * the guest itself is among the report's objections.
 */
export async function inspectGuest(
  disks: readonly InspectedDisk[],
  machine: InspectedMachine,
  { signal }: { signal: AbortSignal },
): Promise<GuestReport> {
  await using stack = new AsyncDisposableStack()
  const opened: { id: string; source: Source }[] = []
  for (const disk of disks) {
    signal.throwIfAborted()
    const source = 'source' in disk ? disk.source : stack.use(await openSource(disk.url))
    opened.push({ id: disk.id, source })
  }
  const surveyed = await surveyDisks(opened, { signal })
  const volumes = surveyed.flatMap((disk) => disk.volumes)
  const notes = notesOf(surveyed)
  // A service without a virtual machine has disks that nothing boots from.
  const boots = machine.extra?.start === undefined
  const guest = await findGuest(volumes).catch(asObjection)
  if ('objection' in guest) {
    return {
      ...emptyReport(surveyed),
      notes: boots ? notes : [...notes, guest.objection.message],
      objections: boots ? rootObjections(volumes, guest.objection) : [],
    }
  }
  const { tree, fstab } = guest
  const services = await inspectServices(tree)
  const { references, notes: more } = await inspectReferences(tree)
  return {
    ...emptyReport(surveyed, guest),
    root: guest.root.name,
    ...uneditable(guest.root, tree.mounts),
    ...(await inspectSystem(tree)),
    fstab: fstab.slice(0, MAX_GUEST_FINDINGS).map(({ spec, path, type }) => {
      const volume = volumeOfSpec(spec, volumes)
      return { spec, path, type, ...(volume && { volume: volume.name }) }
    }),
    network: await inspectNetwork(tree),
    services: services.map(({ name }) => name),
    listeners: await inspectListeners(tree, services),
    references,
    notes: [...notes, ...guest.notes, ...more].slice(0, MAX_GUEST_FINDINGS),
    objections: boots ? await bootObjections(surveyed, machine, tree) : [],
  }
}

function asObjection(error: unknown): { objection: Objection } {
  if (!(error instanceof FluidError) || error.code !== 'GUEST_UNSUPPORTED') throw error
  return { objection: { code: error.code, message: error.message, hint: error.hint } }
}

/** Why no root was found: what keeps one from being seen comes first. */
function rootObjections(volumes: readonly GuestVolume[], notFound: Objection): Objection[] {
  const hidden = new Set<FileSystemFacts['kind']>(['luks', 'lvm', 'raid', 'xfs', 'btrfs', 'f2fs', 'unknown'])
  const reasons = volumes
    .filter(
      ({ fileSystem, ext }) => hidden.has(fileSystem.kind) || (!ext && fileSystem.kind.startsWith('ext')),
    )
    .map(({ name, problem }): Objection => ({
      code: 'GUEST_UNSUPPORTED',
      message: `The root file system may be on ${name}, and ${problem}`,
      hint: notFound.hint,
    }))
  return reasons.length > 0 ? reasons.slice(0, MAX_GUEST_FINDINGS) : [notFound]
}

/** What openWritableGuest() would refuse, told while nothing has moved yet. */
function uneditable(root: GuestVolume, mounts: readonly GuestMount[]): Pick<GuestReport, 'uneditable'> {
  const why = whyReadOnly(root)
  if (why !== undefined) return { uneditable: `${root.name}: ${why}` }
  // Whatever the guest mounts is opened for writing, whether a step writes there or not.
  const stale = mounts.find(
    ({ volume }) => whyReadOnly(volume) === undefined && volume.ext?.journal === 'stale',
  )
  return stale ? { uneditable: `${stale.volume.name}: ${stale.volume.ext?.note}` } : {}
}

function notesOf(disks: readonly SurveyedDisk[]): string[] {
  return disks.flatMap(({ id, table, volumes }) => [
    ...table.notes.map((note) => `${id}: ${note}`),
    ...volumes.flatMap(({ name, ext }) => [
      ...(ext?.note === undefined ? [] : [`${name}: ${ext.note}`]),
      ...(ext?.needsCheck ? [`${name}: a check of this file system is due (fsck)`] : []),
    ]),
  ])
}

function emptyReport(disks: readonly SurveyedDisk[], guest?: FoundGuest): GuestReport {
  return {
    disks: disks.map((disk) => reportDisk(disk, guest)),
    fstab: [],
    network: { stacks: [], files: [], addresses: [], interfaces: [], macs: [] },
    cloudInit: false,
    sshHostKeys: [],
    services: [],
    listeners: [],
    references: [],
    notes: [],
    objections: [],
  }
}

function reportDisk({ id, table, volumes }: SurveyedDisk, guest?: FoundGuest): ReportedDisk {
  const mounts = guest?.tree.mounts ?? []
  return {
    id,
    table: table.kind,
    volumes: volumes.map(({ name, sizeBytes, fileSystem, ext, problem }): ReportedVolume => {
      const { kind, uuid, label } = fileSystem
      const mount = mounts.find(({ volume }) => volume.name === name)?.path
      return {
        name,
        sizeBytes,
        fileSystem: kind,
        ...(uuid !== undefined && { uuid }),
        ...(label !== undefined && { label }),
        ...(mount !== undefined && { mount }),
        ...(ext && { journal: ext.journal }),
        ...(problem !== undefined && { problem }),
      }
    }),
  }
}
