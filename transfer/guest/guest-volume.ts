/** Every place of a machine's disks that a file system could be in: whole disks and partitions, each with what it holds. */
import { FluidError } from '../../protocol/errors.ts'
import type { Source } from '../source.ts'
import { createDiskReader, joined, partOf, type DiskReader } from './disk-reader.ts'
import { openExtVolume, type ExtVolume } from './ext-volume.ts'
import { detectFileSystem, type FileSystemFacts } from './file-system.ts'
import { findLogicalVolumes } from './lvm.ts'
import type { Partition } from './partition.ts'
import { readPartitionTable, type PartitionTable } from './partition-table.ts'

/** A disk of a machine, by the name its cloud has for it; its owner closes the source. */
export interface GuestDisk {
  readonly id: string
  readonly source: Source
}

/** A stretch of a disk. */
export interface DiskPiece {
  readonly disk: string
  /** Bytes from the start of the disk. */
  readonly offset: number
  readonly sizeBytes: number
}

export interface GuestVolume {
  /** For people: `vda1`, `vda` for a whole disk, `group/name` for a logical volume. */
  readonly name: string
  /** Place of the disk among the machine's, from 0; undefined for a logical volume. */
  readonly diskIndex?: number
  readonly partition?: Partition
  /** Its bytes, in order; one piece unless it is a logical volume, none when those cannot be found. */
  readonly pieces: readonly DiskPiece[]
  /** A logical volume that LVM keeps snapshots of. */
  readonly hasSnapshots?: boolean
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
  /** By partition, or one for the whole disk; then the logical volumes that begin on it. */
  readonly volumes: readonly GuestVolume[]
}

/** Looks at all disks. Throws SOURCE_READ; what is wrong with a volume is told by the volume. */
export async function surveyDisks(
  disks: readonly GuestDisk[],
  options: { signal?: AbortSignal } = {},
): Promise<SurveyedDisk[]> {
  const readers = new Map(disks.map(({ id, source }) => [id, createDiskReader(source, options)]))
  const surveyed: { id: string; table: PartitionTable; volumes: GuestVolume[] }[] = []
  for (const [diskIndex, { id }] of disks.entries()) {
    const disk = readers.get(id) as DiskReader
    const table = await readPartitionTable(disk)
    const volumes: GuestVolume[] = []
    for (const partition of table.kind === 'none' ? [undefined] : table.partitions) {
      const offset = partition?.offset ?? 0
      const sizeBytes = Math.min(partition?.sizeBytes ?? Infinity, disk.sizeBytes - offset)
      const name = partition ? `${id}${/\d$/.test(id) ? 'p' : ''}${partition.number}` : id
      const place = {
        name,
        diskIndex,
        ...(partition && { partition }),
        pieces: [{ disk: id, offset, sizeBytes }],
      }
      volumes.push(await volumeAt(readers, place))
    }
    surveyed.push({ id, table, volumes })
  }
  for (const volume of await logicalVolumes(
    readers,
    surveyed.flatMap(({ volumes }) => volumes),
  )) {
    const home = surveyed.find(({ id }) => id === volume.pieces[0]?.disk) ?? surveyed[0]
    home.volumes.push(volume)
  }
  return surveyed
}

/** Reads a volume anew: its files as they are now. */
export async function reopenVolume(
  volume: GuestVolume,
  disks: readonly GuestDisk[],
  options: { signal?: AbortSignal } = {},
): Promise<GuestVolume> {
  const readers = new Map(disks.map(({ id, source }) => [id, createDiskReader(source, options)]))
  return volumeAt(readers, volume)
}

/** Why a volume's files can be read at most. */
export function whyReadOnly({ pieces, hasSnapshots }: GuestVolume): string | undefined {
  if (pieces.length !== 1) return 'it lies on its disks in pieces'
  return hasSnapshots ? 'LVM keeps snapshots of it' : undefined
}

type Place = Pick<GuestVolume, 'name' | 'diskIndex' | 'partition' | 'pieces' | 'hasSnapshots'>
type Readers = ReadonlyMap<string, DiskReader>

async function volumeAt(readers: Readers, place: Place): Promise<GuestVolume> {
  const { name, diskIndex, partition, pieces, hasSnapshots } = place
  const reader = readerOf(readers, pieces)
  const fileSystem = await detectFileSystem(reader)
  const facts = {
    name,
    ...(diskIndex !== undefined && { diskIndex }),
    ...(partition && { partition }),
    ...(hasSnapshots && { hasSnapshots }),
    pieces,
    sizeBytes: reader.sizeBytes,
    fileSystem,
  }
  if (!fileSystem.kind.startsWith('ext')) return { ...facts, problem: problemOf(fileSystem) }
  try {
    return { ...facts, ext: await openExtVolume(reader) }
  } catch (error) {
    if (!(error instanceof FluidError) || error.code !== 'GUEST_UNSUPPORTED') throw error
    return { ...facts, problem: error.message }
  }
}

function readerOf(readers: Readers, pieces: readonly DiskPiece[]): DiskReader {
  const parts = pieces.map(({ disk, offset, sizeBytes }) =>
    partOf(readers.get(disk) as DiskReader, offset, sizeBytes),
  )
  return parts.length === 1 ? parts[0] : joined(parts)
}

async function logicalVolumes(readers: Readers, volumes: readonly GuestVolume[]): Promise<GuestVolume[]> {
  const physical = volumes.filter(({ fileSystem }) => fileSystem.kind === 'lvm')
  const found: GuestVolume[] = []
  const described = physical.map((of) => ({ of, reader: readerOf(readers, of.pieces) }))
  for (const { group, name, pieces, problem, hasSnapshots } of await findLogicalVolumes(described)) {
    const places = pieces.map(({ of, offset, sizeBytes }) => {
      const { disk, offset: start } = of.pieces[0]
      return { disk, offset: start + offset, sizeBytes }
    })
    const place = { name: `${group}/${name}`, pieces: places, hasSnapshots }
    if (problem === undefined) found.push(await volumeAt(readers, place))
    else found.push({ ...place, sizeBytes: 0, fileSystem: { kind: 'unknown' }, problem })
  }
  return found
}

function problemOf({ kind }: FileSystemFacts): string {
  if (kind === 'luks') return 'it is encrypted (LUKS)'
  if (kind === 'lvm') return 'it belongs to LVM'
  if (kind === 'raid') return 'it belongs to a software RAID'
  if (kind === 'empty') return 'it is empty'
  if (kind === 'unknown') return 'nothing is known of what it holds'
  return `it holds ${kind}, which cannot be read here`
}
