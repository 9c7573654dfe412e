/** One inode of ext2, ext3 or ext4: what it is, and what it holds within itself. */
import type { GuestEntry } from '../guest-files.ts'
import { damaged } from './disk-reader.ts'

export interface ExtInode {
  readonly number: number
  readonly kind: GuestEntry['kind']
  /** Permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly sizeBytes: number
  readonly links: number
  /** Its blocks are in a tree of extents; else in the map of ext2. */
  readonly extents: boolean
  readonly encrypted: boolean
  /** Immutable or append-only. */
  readonly guarded: boolean
  /** The 60 bytes that hold the map, the root of the tree, or a short link. */
  readonly blockArea: Buffer
  /** The content, where it lies within the inode itself. */
  readonly inline?: Buffer
}

const EXTENTS = 0x8_0000
const INLINE_DATA = 0x1000_0000
const ENCRYPTED = 0x800
const COMPRESSED = 0x4
const IMMUTABLE_OR_APPEND = 0x10 | 0x20
const XATTR_MAGIC = 0xea02_0000
const XATTR_SYSTEM = 7
const KINDS: Readonly<Record<number, GuestEntry['kind']>> = { 8: 'file', 4: 'directory', 10: 'link' }

/** Reads an inode's bytes, of which there are at least 128. Throws GUEST_UNSUPPORTED. */
export function parseExtInode(bytes: Buffer, number: number): ExtInode {
  const flags = bytes.readUInt32LE(32)
  const mode = bytes.readUInt16LE(0)
  const sizeBytes = bytes.readUInt32LE(4) + bytes.readUInt32LE(108) * 2 ** 32
  if (!Number.isSafeInteger(sizeBytes)) throw damaged(`inode ${number} claims an impossible size`)
  const blockArea = bytes.subarray(40, 100)
  return {
    number,
    kind: KINDS[mode >> 12] ?? 'other',
    mode: mode & 0o7777,
    uid: bytes.readUInt16LE(2) + bytes.readUInt16LE(120) * 2 ** 16,
    gid: bytes.readUInt16LE(24) + bytes.readUInt16LE(122) * 2 ** 16,
    sizeBytes,
    links: bytes.readUInt16LE(26),
    extents: (flags & EXTENTS) !== 0,
    encrypted: (flags & (ENCRYPTED | COMPRESSED)) !== 0,
    guarded: (flags & IMMUTABLE_OR_APPEND) !== 0,
    blockArea,
    ...(flags & INLINE_DATA && { inline: Buffer.concat([blockArea, inlineRest(bytes)]) }),
  }
}

/** What does not fit into the block area is an attribute, system.data, behind the inode's own fields. */
function inlineRest(bytes: Buffer): Buffer {
  const none = Buffer.alloc(0)
  if (bytes.length < 132) return none
  const start = 128 + bytes.readUInt16LE(128)
  if (start + 4 > bytes.length || bytes.readUInt32LE(start) !== XATTR_MAGIC) return none
  const area = bytes.subarray(start + 4)
  for (let at = 0; at + 16 <= area.length && area.readUInt32LE(at) !== 0;) {
    const nameBytes = area[at]
    const valueAt = area.readUInt16LE(at + 2)
    const valueBytes = area.readUInt32LE(at + 8)
    const name = area.toString('latin1', at + 16, at + 16 + nameBytes)
    if (area[at + 1] === XATTR_SYSTEM && name === 'data') {
      if (valueAt + valueBytes > area.length) throw damaged('inline data leaves its inode')
      return area.subarray(valueAt, valueAt + valueBytes)
    }
    at += 16 + Math.ceil(nameBytes / 4) * 4
  }
  return none
}
