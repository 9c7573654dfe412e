/** Extended attributes of ext2, ext3 and ext4, as bytes: capabilities, access lists, SELinux labels, and inline data. */
import { FluidError } from '../../protocol/errors.ts'
import { damaged } from './disk-reader.ts'

export interface ExtAttribute {
  /** With its prefix: `security.selinux`. */
  readonly name: string
  readonly value: Buffer
}

const MAGIC = 0xea02_0000
const ENTRY_BYTES = 16
const BLOCK_HEADER_BYTES = 32
/** What the number before a name stands for; some are whole names. */
const PREFIXES: Readonly<Record<number, string>> = {
  0: '',
  1: 'user.',
  2: 'system.posix_acl_access',
  3: 'system.posix_acl_default',
  4: 'trusted.',
  6: 'security.',
  7: 'system.',
  8: 'system.richacl',
}

/** The name of inline data. */
export const INLINE_DATA = 'system.data'

/** Attributes behind the fields of an inode, which begin at `start`. Throws GUEST_UNSUPPORTED. */
export function attributesInInode(bytes: Buffer, start: number): ExtAttribute[] {
  if (start + 4 > bytes.length || bytes.readUInt32LE(start) !== MAGIC) return []
  const area = bytes.subarray(start + 4)
  return attributesIn(area, 0, area)
}

/** Attributes in a block of their own. Throws GUEST_UNSUPPORTED. */
export function attributesInBlock(block: Buffer): ExtAttribute[] {
  if (block.readUInt32LE(0) !== MAGIC) throw damaged('a block of attributes has no header')
  return attributesIn(block, BLOCK_HEADER_BYTES, block)
}

function attributesIn(entries: Buffer, from: number, values: Buffer): ExtAttribute[] {
  const found: ExtAttribute[] = []
  for (let at = from; at + ENTRY_BYTES <= entries.length && entries.readUInt32LE(at) !== 0;) {
    const nameBytes = entries[at]
    const valueAt = entries.readUInt16LE(at + 2)
    const valueBytes = entries.readUInt32LE(at + 8)
    if (entries.readUInt32LE(at + 4) !== 0)
      throw new FluidError('GUEST_UNSUPPORTED', 'An attribute of a guest file lies in an inode of its own')
    if (valueAt + valueBytes > values.length) throw damaged('an attribute leaves its block')
    const name = entries.toString('latin1', at + ENTRY_BYTES, at + ENTRY_BYTES + nameBytes)
    const prefix = PREFIXES[entries[at + 1]]
    if (prefix === undefined) throw damaged('an attribute has an unknown prefix')
    found.push({ name: prefix + name, value: values.subarray(valueAt, valueAt + valueBytes) })
    at += ENTRY_BYTES + Math.ceil(nameBytes / 4) * 4
  }
  return found
}
