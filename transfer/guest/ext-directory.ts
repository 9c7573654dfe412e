/** Folders of ext2, ext3 and ext4, read from end to end: the index of a large one hides inside entries that name nothing. */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_GUEST_FOLDER_BYTES } from '../../protocol/limits.ts'
import { damaged } from './disk-reader.ts'
import { readContent, type BlockReader } from './ext-blocks.ts'
import type { ExtInode } from './ext-inode.ts'

export interface ExtEntry {
  readonly name: string
  readonly inode: number
}

/** What inline folders have instead of `.` and `..`: the number of the parent. */
const INLINE_PARENT_BYTES = 4
const INLINE_AREA_BYTES = 60

/**
 * All entries but `.` and `..`, in the order of the disk. Names that are not UTF-8 are left out: no path could say them.
 * Throws LIMIT_EXCEEDED above MAX_GUEST_FOLDER_BYTES, GUEST_UNSUPPORTED.
 */
export async function readFolder(reader: BlockReader, inode: ExtInode): Promise<ExtEntry[]> {
  if (inode.encrypted) throw new FluidError('GUEST_UNSUPPORTED', 'A folder of the guest is encrypted')
  if (inode.sizeBytes > MAX_GUEST_FOLDER_BYTES) {
    const message = `A folder of the guest has ${inode.sizeBytes} bytes, more than ${MAX_GUEST_FOLDER_BYTES}`
    throw new FluidError('LIMIT_EXCEEDED', message)
  }
  const entries: ExtEntry[] = []
  if (inode.inline) {
    const bytes = inode.inline.subarray(0, inode.sizeBytes)
    addEntries(entries, bytes.subarray(INLINE_PARENT_BYTES, INLINE_AREA_BYTES))
    addEntries(entries, bytes.subarray(INLINE_AREA_BYTES))
    return entries
  }
  for (let at = 0; at < inode.sizeBytes; at += reader.blockBytes) {
    const bytes = await readContent(reader, inode, at, Math.min(reader.blockBytes, inode.sizeBytes - at))
    addEntries(entries, bytes)
  }
  return entries
}

function addEntries(entries: ExtEntry[], block: Buffer): void {
  for (let at = 0; at + 8 <= block.length;) {
    const inode = block.readUInt32LE(at)
    const said = block.readUInt16LE(at + 4)
    // 65536 does not fit: 0 and 65535 stand for a whole block of that size.
    const length = block.length === 65_536 && (said === 0 || said === 65_535) ? 65_536 : said
    const nameBytes = block[at + 6]
    if (length < 8 || length % 4 !== 0 || at + length > block.length || 8 + nameBytes > length) {
      // A hole: a block that was never written.
      if (inode === 0 && said === 0) return
      throw damaged('a folder has an entry that is impossible')
    }
    if (inode !== 0 && nameBytes > 0) {
      const name = textOf(block.subarray(at + 8, at + 8 + nameBytes))
      if (name !== undefined && name !== '.' && name !== '..') entries.push({ name, inode })
    }
    at += length
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function textOf(bytes: Buffer): string | undefined {
  try {
    const name = decoder.decode(bytes)
    return name.includes('/') || name.includes('\0') ? undefined : name
  } catch {
    return undefined
  }
}
