/** GUID partition tables: UEFI specification 2.10, section 5.3. The backup at the end serves when the first is damaged. */
import { crc32 } from 'node:zlib'
import { MAX_PARTITIONS } from '../../protocol/limits.ts'
import type { DiskReader } from './disk-reader.ts'
import type { Partition } from './partition.ts'
import { guidAt } from './uuid.ts'

interface Gpt {
  readonly partitions: readonly Partition[]
  readonly notes: readonly string[]
}

const HEADER_BYTES = 92
/** Sizes a sector may have; most disks have the first. */
const SECTORS = [512, 4096]
const MAX_ENTRY_BYTES = 4096
const LEGACY_BOOTABLE = 1n << 2n

/** Reads the table whose protective MBR was found. */
export async function readGpt(disk: DiskReader): Promise<Gpt> {
  for (const sector of SECTORS) {
    const first = await readAt(disk, sector, 1)
    if (first) return first
  }
  for (const sector of SECTORS) {
    const backup = await readAt(disk, sector, Math.floor(disk.sizeBytes / sector) - 1)
    if (backup)
      return { ...backup, notes: ['The first GPT is damaged; its backup was read', ...backup.notes] }
  }
  return { partitions: [], notes: ['The disk has a protective MBR, and no GPT that is whole'] }
}

/** The table whose header is in this sector; undefined when it is not whole. */
async function readAt(disk: DiskReader, sector: number, at: number): Promise<Gpt | undefined> {
  if (at < 1 || (at + 1) * sector > disk.sizeBytes) return undefined
  const header = await disk.read(at * sector, sector)
  if (header.toString('latin1', 0, 8) !== 'EFI PART' || Number(header.readBigUInt64LE(24)) !== at)
    return undefined
  const headerBytes = header.readUInt32LE(12)
  if (headerBytes < HEADER_BYTES || headerBytes > sector) return undefined
  const checked = Buffer.from(header.subarray(0, headerBytes))
  checked.writeUInt32LE(0, 16)
  if (crc32(checked) !== header.readUInt32LE(16)) return undefined

  const entriesAt = Number(header.readBigUInt64LE(72)) * sector
  const count = header.readUInt32LE(80)
  const entryBytes = header.readUInt32LE(84)
  if (entryBytes < 128 || entryBytes > MAX_ENTRY_BYTES || count > 8 * MAX_PARTITIONS) return undefined
  if (!Number.isSafeInteger(entriesAt) || entriesAt + count * entryBytes > disk.sizeBytes) return undefined
  const entries = await disk.read(entriesAt, count * entryBytes)
  if (crc32(entries) !== header.readUInt32LE(88)) return undefined
  return partitionsOf(disk, entries, count, entryBytes, sector)
}

function partitionsOf(
  disk: DiskReader,
  entries: Buffer,
  count: number,
  entryBytes: number,
  sector: number,
): Gpt {
  const partitions: Partition[] = []
  const notes: string[] = []
  for (let index = 0; index < count; index++) {
    const entry = entries.subarray(index * entryBytes, (index + 1) * entryBytes)
    if (entry.subarray(0, 16).every((byte) => byte === 0)) continue
    if (partitions.length === MAX_PARTITIONS) {
      notes.push(`There are more than ${MAX_PARTITIONS} partitions`)
      break
    }
    const number = index + 1
    const first = entry.readBigUInt64LE(32)
    const last = entry.readBigUInt64LE(40)
    const end = (last + 1n) * BigInt(sector)
    if (last < first || first === 0n || end > BigInt(disk.sizeBytes)) {
      notes.push(`Partition ${number} lies outside the disk`)
      continue
    }
    const offset = Number(first) * sector
    const name = entry.toString('utf16le', 56, 128).replace(/\0.*$/s, '')
    partitions.push({
      number,
      offset,
      sizeBytes: Number(end) - offset,
      type: guidAt(entry, 0),
      uuid: guidAt(entry, 16),
      ...(name && { name }),
      active: (entry.readBigUInt64LE(48) & LEGACY_BOOTABLE) !== 0n,
    })
  }
  return { partitions, notes }
}
