/**
 * Logical volumes of LVM2 that are plain: one or more stretches of physical volumes, one after another. Thin, mirrored,
 * striped and encrypted ones are named and not read. Format: lvm2, lib/format_text/layout.h.
 */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_LVM_TEXT_BYTES, MAX_PARTITIONS } from '../../protocol/limits.ts'
import type { DiskReader } from './disk-reader.ts'
import { parseLvmText, type LvmSection, type LvmValue } from './lvm-text.ts'

/** A partition or disk that belongs to LVM, as its owner knows it. */
export interface PhysicalVolume<T> {
  readonly of: T
  readonly reader: DiskReader
}

export interface LogicalVolume<T> {
  /** Of the group, and its own. */
  readonly group: string
  readonly name: string
  /** What it consists of, in order; none when it cannot be read. */
  readonly pieces: readonly { readonly of: T; readonly offset: number; readonly sizeBytes: number }[]
  /** Why it cannot be read. */
  readonly problem?: string
  /** What is written to it past LVM would be missing in its snapshots, or halfway undone by them. */
  readonly hasSnapshots: boolean
}

const SECTOR = 512
const MDA_MAGIC = ' LVM2 x[5A%r0N*>'
const MAX_AREAS = 16
const MAX_SEGMENTS = 1024

/** Reads the groups that these volumes belong to. Throws SOURCE_READ only: what is damaged has no logical volumes. */
export async function findLogicalVolumes<T>(
  physical: readonly PhysicalVolume<T>[],
): Promise<LogicalVolume<T>[]> {
  const known = new Map<string, PhysicalVolume<T>>()
  const groups = new Map<string, { readonly seqno: number; readonly group: LvmSection }>()
  for (const volume of physical) {
    try {
      const { id, text } = await describe(volume.reader)
      known.set(id, volume)
      if (text === undefined) continue
      for (const [name, group] of parseLvmText(text)) {
        if (!isSection(group)) continue
        const seqno = numberIn(group, 'seqno') ?? 0
        // A disk that was away has an older description.
        if (seqno > (groups.get(name)?.seqno ?? -1)) groups.set(name, { seqno, group })
      }
    } catch (error) {
      if (!(error instanceof FluidError) || error.code !== 'GUEST_UNSUPPORTED') throw error
    }
  }
  return [...groups].flatMap(([name, { group }]) => volumesOf(name, group, known)).slice(0, MAX_PARTITIONS)
}

/** The identity of a physical volume, and what it says of its group. */
async function describe(reader: DiskReader): Promise<{ id: string; text?: string }> {
  const head = await reader.read(0, Math.min(reader.sizeBytes, 8 * SECTOR))
  const label = [0, 1, 2, 3]
    .map((sector) => sector * SECTOR)
    .find((at) => head.toString('latin1', at, at + 8) === 'LABELONE')
  if (label === undefined) return { id: '' }
  let at = label + head.readUInt32LE(label + 20)
  const id = head.toString('latin1', at, at + 32)
  at += 40
  // Two lists, each ended by zeros: where the data is, and where the descriptions are.
  for (let list = 0, area = 0; list < 2 && area < MAX_AREAS && at + 16 <= head.length; area++, at += 16) {
    const offset = Number(head.readBigUInt64LE(at))
    if (offset === 0) list++
    else if (list === 1) {
      const text = await textAt(reader, offset)
      if (text !== undefined) return { id, text }
    }
  }
  return { id }
}

/** The text lies in a ring behind the header of its area. */
async function textAt(reader: DiskReader, area: number): Promise<string | undefined> {
  const header = await reader.read(area, SECTOR)
  if (header.toString('latin1', 4, 20) !== MDA_MAGIC) return undefined
  const areaBytes = Number(header.readBigUInt64LE(32))
  const offset = Number(header.readBigUInt64LE(40))
  const length = Number(header.readBigUInt64LE(48))
  if (
    offset < SECTOR ||
    offset >= areaBytes ||
    length === 0 ||
    length > Math.min(areaBytes, MAX_LVM_TEXT_BYTES)
  )
    return undefined
  const first = Math.min(length, areaBytes - offset)
  const text = await reader.read(area + offset, first)
  const rest = await reader.read(area + SECTOR, length - first)
  return Buffer.concat([text, rest]).toString('utf8')
}

function volumesOf<T>(
  group: string,
  described: LvmSection,
  known: ReadonlyMap<string, PhysicalVolume<T>>,
): LogicalVolume<T>[] {
  const extentBytes = (numberIn(described, 'extent_size') ?? 0) * SECTOR
  const physical = sectionIn(described, 'physical_volumes')
  const found: LogicalVolume<T>[] = []
  const logical = sectionIn(described, 'logical_volumes') ?? new Map()
  const origins = new Set([...logical.values()].map(originOf))
  for (const [name, volume] of logical) {
    if (!isSection(volume) || found.length === MAX_PARTITIONS) continue
    // Parts of others (mirrors, pools) are no volumes of their own.
    const status = volume.get('status')
    if (!Array.isArray(status) || !status.includes('VISIBLE')) continue
    const pieces = piecesOf(volume, physical, extentBytes, known)
    found.push({
      group,
      name,
      hasSnapshots: origins.has(name),
      ...(typeof pieces === 'string' ? { pieces: [], problem: pieces } : { pieces }),
    })
  }
  return found
}

/** Of what a volume is a snapshot. */
function originOf(volume: LvmValue): LvmValue | undefined {
  const segment = isSection(volume) ? sectionIn(volume, 'segment1') : undefined
  return segment?.get('type') === 'snapshot' ? segment.get('origin') : undefined
}

function piecesOf<T>(
  volume: LvmSection,
  physical: LvmSection | undefined,
  extentBytes: number,
  known: ReadonlyMap<string, PhysicalVolume<T>>,
): LogicalVolume<T>['pieces'] | string {
  const count = numberIn(volume, 'segment_count') ?? 0
  if (count < 1 || count > MAX_SEGMENTS || !(extentBytes > 0)) return 'its description is damaged'
  const pieces: { of: T; offset: number; sizeBytes: number }[] = []
  let extent = 0
  for (let index = 1; index <= count; index++) {
    const segment = sectionIn(volume, `segment${index}`)
    const stripes = segment?.get('stripes')
    const extents = segment && numberIn(segment, 'extent_count')
    if (!segment || segment.get('type') !== 'striped' || numberIn(segment, 'stripe_count') !== 1)
      return 'it is a thin, mirrored or striped LVM volume'
    if (!Array.isArray(stripes) || !extents || extents < 0 || numberIn(segment, 'start_extent') !== extent)
      return 'its description is damaged'
    const [name, first] = stripes as readonly (number | string)[]
    const owner = physical && sectionIn(physical, `${name}`)
    const id = owner?.get('id')
    const place = typeof id === 'string' ? known.get(id.replaceAll('-', '')) : undefined
    if (!owner || !place) return 'a disk of its LVM volume group is not among these'
    const offset = (numberIn(owner, 'pe_start') ?? 0) * SECTOR + Number(first) * extentBytes
    const sizeBytes = extents * extentBytes
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + sizeBytes > place.reader.sizeBytes)
      return 'its description leads outside its disk'
    pieces.push({ of: place.of, offset, sizeBytes })
    extent += extents
  }
  return pieces
}

function isSection(value: LvmValue | undefined): value is LvmSection {
  return value instanceof Map
}

function sectionIn(section: LvmSection, name: string): LvmSection | undefined {
  const value = section.get(name)
  return isSection(value) ? value : undefined
}

function numberIn(section: LvmSection, name: string): number | undefined {
  const value = section.get(name)
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}
