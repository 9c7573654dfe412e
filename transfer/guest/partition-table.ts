/**
 * Partition tables: MBR with logical partitions, and GPT (UEFI 2.10, section 5) with its checksums and its backup.
 * Pure reading; whatever a table says that cannot be is left out and noted.
 */
import { MAX_PARTITIONS } from '../../protocol/limits.ts'
import type { DiskReader } from './disk-reader.ts'
import { readGpt } from './gpt.ts'
import type { Partition } from './partition.ts'

export interface PartitionTable {
  /** `none`: the disk is one file system, or nothing we know. */
  readonly kind: 'mbr' | 'gpt' | 'none'
  /** There is a program in the first sector that a BIOS would run. */
  readonly bootCode: boolean
  /** By number. */
  readonly partitions: readonly Partition[]
  /** What was wrong with the table, for people. */
  readonly notes: readonly string[]
}

/** The type of the one entry that protects a GPT. */
const PROTECTIVE = 0xee
const EXTENDED: ReadonlySet<number> = new Set([0x05, 0x0f, 0x85])
const SECTOR = 512
const TABLE_AT = 446
/** Where boot code ends: disk signature and table follow. */
const BOOT_CODE_BYTES = 440

/** Reads the table of a disk. Throws SOURCE_READ only. */
export async function readPartitionTable(disk: DiskReader): Promise<PartitionTable> {
  const none: PartitionTable = { kind: 'none', bootCode: false, partitions: [], notes: [] }
  if (disk.sizeBytes < 2 * SECTOR) return none
  const sector = await disk.read(0, SECTOR)
  if (!hasSignature(sector)) return none
  const bootCode = sector.subarray(0, BOOT_CODE_BYTES).some((byte) => byte !== 0)
  if (isFileSystemSector(sector)) return { ...none, bootCode }
  const entries = entriesOf(sector)
  if (entries.some((entry) => entry.type === PROTECTIVE)) {
    const gpt = await readGpt(disk)
    return { kind: 'gpt', bootCode, ...gpt }
  }
  // Boot code of a whole-disk file system is followed by whatever its author put there.
  if (!entries.some(isUsed) || entries.some((entry) => entry.status !== 0 && entry.status !== 0x80)) {
    return { ...none, bootCode }
  }
  const notes: string[] = []
  const found = await readMbr(disk, sector, entries, notes)
  return { kind: 'mbr', bootCode, partitions: found, notes }
}

interface MbrEntry {
  readonly status: number
  readonly type: number
  /** In sectors, from the start of what the entry counts from. */
  readonly start: number
  readonly length: number
}

function hasSignature(sector: Buffer): boolean {
  return sector[510] === 0x55 && sector[511] === 0xaa
}

/** FAT, NTFS and exFAT end their first sector with the signature too. */
function isFileSystemSector(sector: Buffer): boolean {
  const text = (at: number, length: number) => sector.toString('latin1', at, at + length)
  if (text(3, 8) === 'NTFS    ' || text(3, 8) === 'EXFAT   ') return true
  const jump = sector[0] === 0xeb || sector[0] === 0xe9
  return jump && (text(54, 3) === 'FAT' || text(82, 5) === 'FAT32')
}

function entriesOf(sector: Buffer): MbrEntry[] {
  return [0, 1, 2, 3].map((index) => {
    const at = TABLE_AT + 16 * index
    return {
      status: sector[at],
      type: sector[at + 4],
      start: sector.readUInt32LE(at + 8),
      length: sector.readUInt32LE(at + 12),
    }
  })
}

function isUsed(entry: MbrEntry): boolean {
  return entry.type !== 0 && entry.length > 0
}

async function readMbr(
  disk: DiskReader,
  sector: Buffer,
  entries: readonly MbrEntry[],
  notes: string[],
): Promise<Partition[]> {
  const id = sector.readUInt32LE(BOOT_CODE_BYTES).toString(16).padStart(8, '0')
  const found: Partition[] = []
  const add = (number: number, entry: MbrEntry, base: number) => {
    const offset = (base + entry.start) * SECTOR
    const sizeBytes = entry.length * SECTOR
    if (entry.start === 0 || offset + sizeBytes > disk.sizeBytes) {
      notes.push(`Partition ${number} lies outside the disk`)
      return
    }
    const uuid = `${id}-${number.toString(16).padStart(2, '0')}`
    const type = entry.type.toString(16).padStart(2, '0')
    found.push({ number, offset, sizeBytes, type, uuid, active: entry.status === 0x80 })
  }
  for (const [index, entry] of entries.entries()) {
    if (isUsed(entry) && !EXTENDED.has(entry.type)) add(index + 1, entry, 0)
  }
  const extended = entries.find((entry) => EXTENDED.has(entry.type))
  if (extended) await readLogical(disk, extended.start, add, notes)
  return found
}

/**
 * Follows the chain of tables inside the extended partition; it only ever goes forward, so that it ends. An empty table,
 * as the first one is when its partition was removed, takes no number.
 */
async function readLogical(
  disk: DiskReader,
  base: number,
  add: (number: number, entry: MbrEntry, base: number) => void,
  notes: string[],
): Promise<void> {
  let at = base
  let number = 5
  for (let tables = 0; tables < MAX_PARTITIONS; tables++) {
    if ((at + 1) * SECTOR > disk.sizeBytes) {
      notes.push('The chain of logical partitions leaves the disk')
      return
    }
    const sector = await disk.read(at * SECTOR, SECTOR)
    if (!hasSignature(sector)) {
      notes.push('The chain of logical partitions breaks off')
      return
    }
    const [entry, next] = entriesOf(sector)
    if (isUsed(entry)) add(number++, entry, at)
    if (!EXTENDED.has(next.type) || next.length === 0) return
    if (base + next.start <= at) {
      notes.push('The chain of logical partitions turns back')
      return
    }
    at = base + next.start
  }
  notes.push(`There are more than ${MAX_PARTITIONS} logical partitions`)
}
