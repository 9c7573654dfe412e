/** Every place of a machine's disks that a file system could be in: whole disks and partitions, each with what it holds. */
import { FluidError } from '../../protocol/errors.ts'
import type { Source } from '../source.ts'
import { createDiskReader, partOf, type DiskReader } from './disk-reader.ts'
import { openExtVolume, type ExtVolume } from './ext-volume.ts'
import { detectFileSystem, type FileSystemFacts } from './file-system.ts'
import type { Partition } from './partition.ts'
import { readPartitionTable, type PartitionTable } from './partition-table.ts'

/** A disk of a machine, by the name its cloud has for it; its owner closes the source. */
export interface GuestDisk {
  readonly id: string
  readonly source: Source
}

export interface GuestVolume {
  /** For people: `vda1`, or `vda` for a whole disk. */
  readonly name: string
  readonly disk: string
  /** Place of the disk among the machine's, from 0. */
  readonly diskIndex: number
  readonly partition?: Partition
  /** Bytes from the start of the disk. */
  readonly offset: number
  readonly sizeBytes: number
  readonly fileSystem: FileSystemFacts
  /** To read files with; ext2, ext3 and ext4 only. */
  readonly ext?: ExtVolume
  /** Why its files cannot be read, for people. */
  readonly problem?: string
}

export interface SurveyedDisk {
  readonly id: string
  readonly table: PartitionTable
  /** By partition; one for the whole disk where there is no table. */
  readonly volumes: readonly GuestVolume[]
}

/** Looks at all disks. Throws SOURCE_READ; what is wrong with a volume is told by the volume. */
export async function surveyDisks(
  disks: readonly GuestDisk[],
  options: { signal?: AbortSignal } = {},
): Promise<SurveyedDisk[]> {
  const surveyed: SurveyedDisk[] = []
  for (const [diskIndex, { id, source }] of disks.entries()) {
    const reader = createDiskReader(source, options)
    const table = await readPartitionTable(reader)
    const volumes: GuestVolume[] = []
    const places = table.kind === 'none' ? [undefined] : table.partitions
    for (const partition of places) {
      volumes.push(await volumeAt(reader, { id, diskIndex }, partition))
    }
    surveyed.push({ id, table, volumes })
  }
  return surveyed
}

/** Reads a volume anew: its files as they are now. */
export async function reopenVolume(
  { disk: id, diskIndex, partition }: GuestVolume,
  source: Source,
  options: { signal?: AbortSignal } = {},
): Promise<GuestVolume> {
  return volumeAt(createDiskReader(source, options), { id, diskIndex }, partition)
}

async function volumeAt(
  disk: DiskReader,
  { id, diskIndex }: { id: string; diskIndex: number },
  partition?: Partition,
): Promise<GuestVolume> {
  const offset = partition?.offset ?? 0
  const part = partOf(disk, offset, partition?.sizeBytes ?? disk.sizeBytes)
  const fileSystem = await detectFileSystem(part)
  const digits = /\d$/.test(id)
  const facts = {
    name: partition ? `${id}${digits ? 'p' : ''}${partition.number}` : id,
    disk: id,
    diskIndex,
    ...(partition && { partition }),
    offset,
    sizeBytes: part.sizeBytes,
    fileSystem,
  }
  if (!fileSystem.kind.startsWith('ext')) return { ...facts, problem: problemOf(fileSystem) }
  try {
    return { ...facts, ext: await openExtVolume(part) }
  } catch (error) {
    if (!(error instanceof FluidError) || error.code !== 'GUEST_UNSUPPORTED') throw error
    return { ...facts, problem: error.message }
  }
}

function problemOf({ kind }: FileSystemFacts): string {
  if (kind === 'luks') return 'it is encrypted (LUKS)'
  if (kind === 'lvm') return 'it belongs to LVM'
  if (kind === 'raid') return 'it belongs to a software RAID'
  if (kind === 'empty') return 'it is empty'
  if (kind === 'unknown') return 'nothing is known of what it holds'
  return `it holds ${kind}, which cannot be read here`
}
