/**
 * The superblock of ext2, ext3 and ext4, and where it puts everything else
 * (Documentation/filesystems/ext4 of the Linux kernel: "Super Block", "Block Group Descriptors").
 */
import { FluidError } from '../../protocol/errors.ts'
import { damaged } from './disk-reader.ts'
import { uuidAt } from './uuid.ts'

/** Bytes from the start of the file system, whatever its block size. */
export const SUPERBLOCK_AT = 1024
export const SUPERBLOCK_BYTES = 1024

const COMPAT_HAS_JOURNAL = 0x4
const COMPAT_SPARSE_SUPER2 = 0x200
const COMPAT_FAST_COMMIT = 0x400
const INCOMPAT_RECOVER = 0x4
const INCOMPAT_META_BG = 0x10
const INCOMPAT_64BIT = 0x80
/**
 * What reading copes with: filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir,
 * inline_data, encrypt (its files are refused one by one), casefold.
 */
const INCOMPAT_KNOWN =
  0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x1_0000 | 0x2_0000
const RO_COMPAT_SPARSE_SUPER = 0x1
const RO_COMPAT_QUOTA = 0x100
const STATE_VALID = 0x1
const STATE_ERRORS = 0x2

export interface ExtSuperblock {
  readonly uuid: string
  readonly label: string
  readonly blockBytes: number
  readonly blocks: number
  readonly inodes: number
  readonly inodeBytes: number
  readonly inodesPerGroup: number
  /** The journal holds what was not written to its place yet. */
  readonly needsRecovery: boolean
  readonly fastCommit: boolean
  /** Errors were noted in it, or it has no journal and was not unmounted: a check is due. */
  readonly needsCheck: boolean
  /** A tool that edited it was cut off: where there is a journal, no mount takes that mark away. */
  readonly halfEdited: boolean
  readonly hasQuota: boolean
  /** 0: none, or on another device. */
  readonly journalInode: number
  /** Where the descriptor of a group lies: block, and byte within it. */
  descriptorOf(group: number): { block: number; at: number }
  /** Group descriptors have the upper halves of block numbers. */
  readonly wide: boolean
}

/** Reads what mkfs wrote at SUPERBLOCK_AT. Throws GUEST_UNSUPPORTED for what is impossible or not known. */
export function parseExtSuperblock(bytes: Buffer): ExtSuperblock {
  const u32 = (at: number) => bytes.readUInt32LE(at)
  const u16 = (at: number) => bytes.readUInt16LE(at)
  if (u16(56) !== 0xef53) throw damaged('there is no ext superblock')
  const dynamic = u32(76) > 0
  const compat = dynamic ? u32(92) : 0
  const incompat = dynamic ? u32(96) : 0
  const roCompat = dynamic ? u32(100) : 0
  const unknown = incompat & ~INCOMPAT_KNOWN
  if (unknown) {
    const message = `The guest's file system has features that are not known here: 0x${(unknown >>> 0).toString(16)}`
    throw new FluidError('GUEST_UNSUPPORTED', message)
  }
  const wide = (incompat & INCOMPAT_64BIT) !== 0
  const blockBytes = u32(24) <= 6 ? 1024 << u32(24) : 0
  const blocks = u32(4) + (wide ? u32(336) * 2 ** 32 : 0)
  const inodes = u32(0)
  const inodeBytes = dynamic ? u16(88) : 128
  const inodesPerGroup = u32(40)
  const blocksPerGroup = u32(32)
  const descriptorBytes = wide ? u16(254) : 32
  const possible =
    blockBytes > 0 &&
    blocks > 0 &&
    Number.isSafeInteger(blocks * blockBytes) &&
    inodes > 0 &&
    isPowerOfTwo(inodeBytes, 128, blockBytes) &&
    inodesPerGroup > 0 &&
    blocksPerGroup > 0 &&
    isPowerOfTwo(descriptorBytes, wide ? 64 : 32, blockBytes)
  if (!possible) throw damaged('its superblock has impossible sizes')

  const firstDataBlock = u32(20)
  const perBlock = blockBytes / descriptorBytes
  const [isValid, hasErrors] = [STATE_VALID, STATE_ERRORS].map((flag) => (u16(58) & flag) !== 0)
  const metaFrom = incompat & INCOMPAT_META_BG ? u32(260) : Infinity
  const hasSuper = superblockRule(compat, roCompat, [u32(588), u32(592)])
  return {
    uuid: uuidAt(bytes, 104),
    label: bytes.toString('utf8', 120, 136).replace(/\0.*$/s, ''),
    blockBytes,
    blocks,
    inodes,
    inodeBytes,
    inodesPerGroup,
    needsRecovery: (incompat & INCOMPAT_RECOVER) !== 0,
    fastCommit: (compat & COMPAT_FAST_COMMIT) !== 0,
    needsCheck: hasErrors || !isValid,
    halfEdited: !isValid && !hasErrors && (compat & COMPAT_HAS_JOURNAL) !== 0,
    hasQuota: (roCompat & RO_COMPAT_QUOTA) !== 0,
    journalInode: u32(224),
    wide,
    descriptorOf(group) {
      const index = Math.floor(group / perBlock)
      const at = (group % perBlock) * descriptorBytes
      // After the superblock, which is in block 1 only where blocks are as small as it.
      if (index < metaFrom) return { block: (blockBytes === 1024 ? 2 : 1) + index, at }
      const first = index * perBlock
      const skipped =
        (hasSuper(first) ? 1 : 0) + (blockBytes === 1024 && firstDataBlock === 0 && index === 0 ? 1 : 0)
      return { block: firstDataBlock + first * blocksPerGroup + skipped, at }
    },
  }
}

/** Which groups begin with a copy of the superblock. */
function superblockRule(compat: number, roCompat: number, backups: number[]): (group: number) => boolean {
  if (compat & COMPAT_SPARSE_SUPER2) return (group) => group === 0 || backups.includes(group)
  if (!(roCompat & RO_COMPAT_SPARSE_SUPER)) return () => true
  return (group) => group <= 1 || [3, 5, 7].some((base) => isPowerOf(group, base))
}

function isPowerOf(value: number, base: number): boolean {
  let power = base
  while (power < value) power *= base
  return power === value
}

function isPowerOfTwo(value: number, least: number, most: number): boolean {
  return value >= least && value <= most && (value & (value - 1)) === 0
}
