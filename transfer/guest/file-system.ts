/** What a disk or partition holds, told by the signatures that file systems and containers begin with. */
import type { DiskReader } from './disk-reader.ts'
import { uuidAt } from './uuid.ts'

export type FileSystemKind =
  | 'ext2'
  | 'ext3'
  | 'ext4'
  | 'xfs'
  | 'btrfs'
  | 'f2fs'
  | 'vfat'
  | 'exfat'
  | 'ntfs'
  | 'iso9660'
  | 'squashfs'
  | 'swap'
  | 'luks'
  | 'lvm'
  | 'raid'
  /** Nothing but zeros where a signature would be. */
  | 'empty'
  | 'unknown'

export interface FileSystemFacts {
  readonly kind: FileSystemKind
  /** As UUID= in fstab has it, lower case; vfat's and ntfs's are not UUIDs but stand for them. */
  readonly uuid?: string
  readonly label?: string
}

/** Bytes at the start that all signatures but the last ones of md lie within. */
const HEAD_BYTES = 72 * 1024
const MD_MAGIC = 0xa92b_4efc

/** Tells what is there. Throws SOURCE_READ only. */
export async function detectFileSystem(disk: DiskReader): Promise<FileSystemFacts> {
  const head = Buffer.alloc(HEAD_BYTES)
  ;(await disk.read(0, Math.min(HEAD_BYTES, disk.sizeBytes))).copy(head)
  if (head.toString('latin1', 0, 6) === 'LUKS\xba\xbe')
    return facts('luks', textAt(head, 168, 40), head.readUInt16BE(6) === 2 ? textAt(head, 24, 48) : undefined)
  const lvm = lvmAt(head)
  if (lvm) return lvm
  const raid = raidAt(head, 4096) ?? raidAt(head, 0) ?? (await raidAtEnd(disk))
  if (raid) return raid
  return (
    dosAt(head) ??
    extAt(head) ??
    othersAt(head) ?? { kind: head.every((byte) => byte === 0) ? 'empty' : 'unknown' }
  )
}

function facts(kind: FileSystemKind, uuid?: string, label?: string): FileSystemFacts {
  return { kind, ...(uuid && { uuid: uuid.toLowerCase() }), ...(label && { label }) }
}

/** Text up to its first NUL, without the spaces that FAT fills up with. */
function textAt(bytes: Buffer, at: number, length: number): string {
  return bytes
    .toString('utf8', at, at + length)
    .replace(/\0.*$/s, '')
    .trimEnd()
}

function isAt(bytes: Buffer, at: number, signature: string): boolean {
  return bytes.toString('latin1', at, at + signature.length) === signature
}

function lvmAt(head: Buffer): FileSystemFacts | undefined {
  for (let at = 0; at < 4 * 512; at += 512) {
    if (isAt(head, at, 'LABELONE') && isAt(head, at + 24, 'LVM2 001')) {
      const header = at + head.readUInt32LE(at + 20)
      const id = header + 32 <= head.length ? textAt(head, header, 32) : ''
      // LVM writes its own identifiers with their case, in groups of 6-4-4-4-4-4-6.
      const groups = /^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/.exec(id)?.slice(1)
      return { kind: 'lvm', ...(groups && { uuid: groups.join('-') }) }
    }
  }
  return undefined
}

/** Version 1 superblocks say where they are, so that a copied file system is not taken for a member. */
function raidAt(bytes: Buffer, at: number): FileSystemFacts | undefined {
  if (bytes.readUInt32LE(at) !== MD_MAGIC || bytes.readUInt32LE(at + 4) !== 1) return undefined
  return facts('raid', uuidAt(bytes, at + 16), textAt(bytes, at + 32, 32))
}

/** Versions 1.0 and 0.90 lie at the end. */
async function raidAtEnd(disk: DiskReader): Promise<FileSystemFacts | undefined> {
  const sectors = Math.floor(disk.sizeBytes / 512)
  const late = Math.floor((sectors - 16) / 8) * 8 * 512
  if (late >= 4096) {
    const found = raidAt(await disk.read(late, 512), 0)
    if (found) return found
  }
  const old = Math.floor(disk.sizeBytes / 65_536) * 65_536 - 65_536
  if (old < 4096) return undefined
  const block = await disk.read(old, 512)
  return block.readUInt32LE(0) === MD_MAGIC && block.readUInt32LE(4) === 0 ? { kind: 'raid' } : undefined
}

function dosAt(head: Buffer): FileSystemFacts | undefined {
  if (head[510] !== 0x55 || head[511] !== 0xaa) return undefined
  if (isAt(head, 3, 'NTFS    ')) return facts('ntfs', head.readBigUInt64LE(72).toString(16).padStart(16, '0'))
  if (isAt(head, 3, 'EXFAT   ')) return facts('exfat', serial(head, 100))
  if (isAt(head, 82, 'FAT32')) return facts('vfat', serial(head, 67), fatLabel(head, 71))
  if (isAt(head, 54, 'FAT')) return facts('vfat', serial(head, 39), fatLabel(head, 43))
  return undefined
}

function serial(head: Buffer, at: number): string {
  const hex = head.readUInt32LE(at).toString(16).padStart(8, '0')
  return `${hex.slice(0, 4)}-${hex.slice(4)}`
}

function fatLabel(head: Buffer, at: number): string | undefined {
  const label = textAt(head, at, 11)
  return label === 'NO NAME' ? undefined : label
}

const EXT_AT = 1024
const HAS_JOURNAL = 0x4
/** Features that ext3 does not have: incompatible ones beyond filetype, recover, journal_dev and meta_bg. */
const EXT4_INCOMPAT = ~(0x2 | 0x4 | 0x8 | 0x10)
/** Read-only compatible ones beyond sparse_super, large_file and btree_dir. */
const EXT4_RO_COMPAT = ~(0x1 | 0x2 | 0x4)

function extAt(head: Buffer): FileSystemFacts | undefined {
  if (head.readUInt16LE(EXT_AT + 56) !== 0xef53) return undefined
  const compat = head.readUInt32LE(EXT_AT + 92)
  const ext4 =
    head.readUInt32LE(EXT_AT + 96) & EXT4_INCOMPAT || head.readUInt32LE(EXT_AT + 100) & EXT4_RO_COMPAT
  const kind = ext4 ? 'ext4' : compat & HAS_JOURNAL ? 'ext3' : 'ext2'
  return facts(kind, uuidAt(head, EXT_AT + 104), textAt(head, EXT_AT + 120, 16))
}

function othersAt(head: Buffer): FileSystemFacts | undefined {
  if (isAt(head, 0, 'XFSB')) return facts('xfs', uuidAt(head, 32), textAt(head, 108, 12))
  if (isAt(head, 0x1_0040, '_BHRfS_M'))
    return facts('btrfs', uuidAt(head, 0x1_0020), textAt(head, 0x1_012b, 256))
  if (head.readUInt32LE(1024) === 0xf2f5_2010) return facts('f2fs', uuidAt(head, 1024 + 108))
  if (isAt(head, 32_769, 'CD001')) return facts('iso9660', undefined, textAt(head, 32_808, 32))
  if (isAt(head, 0, 'hsqs')) return facts('squashfs')
  for (const page of [4096, 8192, 16_384, 65_536]) {
    if (isAt(head, page - 10, 'SWAPSPACE2') || isAt(head, page - 10, 'SWAP-SPACE'))
      return facts('swap', uuidAt(head, 1024 + 12), textAt(head, 1024 + 28, 16))
  }
  return undefined
}
