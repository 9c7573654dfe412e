/**
 * An ext2, ext3 or ext4 file system, read only, in this process: no mount, no tool, no root. Its blocks are seen as they
 * will be once the journal has been replayed. What it says is hostile; what is impossible throws GUEST_UNSUPPORTED.
 */
import { FluidError } from '../../protocol/errors.ts'
import { damaged, type DiskReader } from './disk-reader.ts'
import { readContent, type BlockReader } from './ext-blocks.ts'
import { readFolder, type ExtEntry } from './ext-directory.ts'
import { parseExtInode, type ExtInode } from './ext-inode.ts'
import { attributesInBlock, INLINE_DATA, type ExtAttribute } from './ext-xattr.ts'
import { readExtJournal, type ExtJournal } from './ext-journal.ts'
import { parseExtSuperblock, SUPERBLOCK_AT, SUPERBLOCK_BYTES, type ExtSuperblock } from './ext-superblock.ts'

/** How the journal stands: nothing in it, replayed in memory, or with an end that could not be read. */
export type JournalState = 'clean' | 'replayed' | 'stale'

export interface ExtVolume {
  readonly journal: JournalState
  /** Errors were noted in it, or it has no journal and was not unmounted: a check is due. */
  readonly needsCheck: boolean
  /** A tool that edited it was cut off, as we may have been. */
  readonly halfEdited: boolean
  /** Quotas are kept in it: usage has to be counted anew after it was edited offline. */
  readonly hasQuota: boolean
  /** Why files may be older than they should be, if so. */
  readonly note?: string
  inode(number: number): Promise<ExtInode>
  entries(folder: ExtInode): Promise<ExtEntry[]>
  /** The whole content. Throws LIMIT_EXCEEDED above `maxBytes`. */
  content(file: ExtInode, maxBytes: number): Promise<Buffer>
  /** All attributes of a file, but not its inline data. */
  attributes(file: ExtInode): Promise<ExtAttribute[]>
  /** Where a link leads. */
  target(link: ExtInode): Promise<string>
}

/** Inode of the top folder. */
export const EXT_ROOT = 2
const MAX_LINK_BYTES = 4096
/** Shorter links lie in the inode. */
const FAST_LINK_BYTES = 60

/** Opens the file system that begins where `disk` does. */
export async function openExtVolume(disk: DiskReader): Promise<ExtVolume> {
  const first = parseExtSuperblock(await disk.read(SUPERBLOCK_AT, SUPERBLOCK_BYTES))
  const plain = blocksOf(disk, first)
  if (!first.needsRecovery) return volumeOf(plain, first, 'clean')
  if (first.journalInode === 0)
    return volumeOf(plain, first, 'stale', 'its journal lies on another device and was not replayed')
  const journal = await readExtJournal(plain, await readInode(plain, first, first.journalInode))
  const replayed = withJournal(plain, journal)
  // The superblock itself may be in the journal: after a resize it tells other sizes.
  const { blockBytes } = first
  const block = await replayed.block(Math.floor(SUPERBLOCK_AT / blockBytes))
  const at = SUPERBLOCK_AT % blockBytes
  const superblock = parseExtSuperblock(block.subarray(at, at + SUPERBLOCK_BYTES))
  if (superblock.blockBytes !== blockBytes) throw damaged('its journal changes the size of blocks')
  if (journal.broken !== undefined)
    return volumeOf(replayed, superblock, 'stale', `the end of its journal is lost: ${journal.broken}`)
  const note = first.fastCommit ? 'fast commits of the last seconds, if any, were not replayed' : undefined
  return volumeOf(replayed, superblock, 'replayed', note)
}

function blocksOf(disk: DiskReader, { blockBytes, blocks }: ExtSuperblock): BlockReader {
  return {
    blockBytes,
    async block(number) {
      if (number >= blocks) throw damaged(`it refers to block ${number} of ${blocks}`)
      return disk.read(number * blockBytes, blockBytes)
    },
  }
}

function withJournal(plain: BlockReader, journal: ExtJournal): BlockReader {
  return {
    blockBytes: plain.blockBytes,
    block: async (number) => (await journal.block(number)) ?? (await plain.block(number)),
  }
}

async function readInode(reader: BlockReader, superblock: ExtSuperblock, number: number): Promise<ExtInode> {
  const { blockBytes, inodes, inodesPerGroup, inodeBytes, wide } = superblock
  if (number < 1 || number > inodes) throw damaged(`it refers to inode ${number} of ${inodes}`)
  const descriptor = superblock.descriptorOf(Math.floor((number - 1) / inodesPerGroup))
  const group = (await reader.block(descriptor.block)).subarray(descriptor.at)
  const table = group.readUInt32LE(8) + (wide ? group.readUInt32LE(40) * 2 ** 32 : 0)
  const offset = ((number - 1) % inodesPerGroup) * inodeBytes
  const block = await reader.block(table + Math.floor(offset / blockBytes))
  const at = offset % blockBytes
  return parseExtInode(block.subarray(at, at + inodeBytes), number)
}

function volumeOf(
  reader: BlockReader,
  superblock: ExtSuperblock,
  journal: JournalState,
  note?: string,
): ExtVolume {
  return {
    journal,
    needsCheck: superblock.needsCheck,
    halfEdited: superblock.halfEdited,
    hasQuota: superblock.hasQuota,
    ...(note !== undefined && { note }),
    inode: (number) => readInode(reader, superblock, number),
    entries: (folder) => readFolder(reader, folder),
    async content(file, maxBytes) {
      if (file.encrypted) throw new FluidError('GUEST_UNSUPPORTED', 'A file of the guest is encrypted')
      if (file.sizeBytes > maxBytes) {
        const message = `A file of the guest has ${file.sizeBytes} bytes, more than ${maxBytes}`
        throw new FluidError('LIMIT_EXCEEDED', message, { hint: 'It is too large to be read or edited here' })
      }
      return readContent(reader, file, 0, file.sizeBytes)
    },
    async attributes(file) {
      const more = file.attributeBlock ? attributesInBlock(await reader.block(file.attributeBlock)) : []
      return [...file.attributes(), ...more].filter(({ name }) => name !== INLINE_DATA)
    },
    async target(link) {
      if (link.encrypted) throw new FluidError('GUEST_UNSUPPORTED', 'A link of the guest is encrypted')
      if (link.sizeBytes === 0 || link.sizeBytes > MAX_LINK_BYTES)
        throw damaged('a link has an impossible length')
      if (!link.inline && link.sizeBytes < FAST_LINK_BYTES && !link.extents)
        return link.blockArea.toString('utf8', 0, link.sizeBytes)
      return (await readContent(reader, link, 0, link.sizeBytes)).toString('utf8')
    },
  }
}
