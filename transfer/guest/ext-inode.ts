/** One inode of ext2, ext3 or ext4: what it is, and what it holds within itself. */
import type { GuestEntry } from '../guest-files.ts'
import { damaged } from './disk-reader.ts'
import { attributesInInode, INLINE_DATA, type ExtAttribute } from './ext-xattr.ts'

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
  /** All flags, and those of them that the owner set: immutable, append-only, no dump, no access times. */
  readonly flags: number
  readonly ownersFlags: number
  /** Attributes within the inode, and the block that has more; 0: none. */
  attributes(): ExtAttribute[]
  readonly attributeBlock: number
  /** The 60 bytes that hold the map, the root of the tree, or a short link. */
  readonly blockArea: Buffer
  /** The content, where it lies within the inode itself. */
  readonly inline?: Buffer
}

const EXTENTS = 0x8_0000
const INLINE = 0x1000_0000
const ENCRYPTED = 0x800
const COMPRESSED = 0x4
/** Immutable, append-only, no dump, no access times: what an owner set. */
const OWNERS_FLAGS = 0x10 | 0x20 | 0x40 | 0x80
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
    flags,
    ownersFlags: flags & OWNERS_FLAGS,
    attributes: () => attributesOf(bytes),
    attributeBlock: bytes.readUInt32LE(104) + bytes.readUInt16LE(118) * 2 ** 32,
    blockArea,
    ...(flags & INLINE && { inline: inlineOf(bytes, blockArea) }),
  }
}

/** Attributes behind the fields of an inode; they follow where the fields it has end. */
function attributesOf(bytes: Buffer): ExtAttribute[] {
  return bytes.length < 132 ? [] : attributesInInode(bytes, 128 + bytes.readUInt16LE(128))
}

/** What does not fit into the block area is an attribute. */
function inlineOf(bytes: Buffer, blockArea: Buffer): Buffer {
  const rest = attributesOf(bytes).find(({ name }) => name === INLINE_DATA)?.value
  return rest ? Buffer.concat([blockArea, rest]) : blockArea
}
