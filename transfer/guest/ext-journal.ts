/**
 * The journal of ext3 and ext4, read as the kernel would replay it (jbd2/recovery.c; Documentation/filesystems/ext4,
 * "Journal (jbd2)"): which block lies where until the file system is mounted next. Nothing is written; who reads a snapshot
 * of a running machine sees what that machine would find after a power cut.
 */
import { MAX_GUEST_JOURNAL_BYTES } from '../../protocol/limits.ts'
import { crc32c } from './crc32c.ts'
import { readContent, type BlockReader } from './ext-blocks.ts'
import type { ExtInode } from './ext-inode.ts'

/** Newer contents of blocks; `undefined`: the block's own place has them. */
export interface ExtJournal {
  block(number: number): Promise<Buffer | undefined>
  /** Transactions that were found whole. */
  readonly transactions: number
  /** Why the end of the journal could not be read, if so. */
  readonly broken?: string
}

const MAGIC = 0xc03b_3998
const DESCRIPTOR = 1
const COMMIT = 2
const REVOKE = 5
const SUPERBLOCKS: ReadonlySet<number> = new Set([3, 4])
const HEADER_BYTES = 12
/** More than a journal of a gigabyte ever holds; kept in memory while it is looked through. */
const MAX_REVOKES = 1_000_000
const INCOMPAT_64BIT = 0x2
const INCOMPAT_CSUM_V2 = 0x8
const INCOMPAT_CSUM_V3 = 0x10
/** Revoke, 64bit, async commit, both checksums, fast commit (whose area is not read). */
const INCOMPAT_KNOWN = 0x3f
const INCOMPAT_FAST_COMMIT = 0x20
const DEFAULT_FAST_COMMIT_BLOCKS = 256
const TAG_ESCAPED = 0x1
const TAG_SAME_UUID = 0x2
const TAG_LAST = 0x8
const COMMIT_CHECKSUM_AT = 16
/** 1 GiB in the usual blocks of 4 KiB; a place is kept for each. */
const MAX_JOURNAL_BLOCKS = 2 ** 18

interface Tag {
  readonly target: number
  /** Block of the journal. */
  readonly at: number
  readonly escaped: boolean
}

interface JournalFacts {
  readonly blockBytes: number
  readonly first: number
  /** One past the last block of the ring. */
  readonly end: number
  readonly start: number
  readonly sequence: number
  readonly wide: boolean
  /** 0: none that covers blocks. */
  readonly checksum: 0 | 2 | 3
  readonly seed: number
}

/** Reads the journal in this inode. Memory is bounded by the number of its blocks, at most MAX_GUEST_JOURNAL_BYTES of them. */
export async function readExtJournal(reader: BlockReader, inode: ExtInode): Promise<ExtJournal> {
  const { blockBytes } = reader
  const none: ExtJournal = { transactions: 0, block: async () => undefined }
  const broken = (why: string): ExtJournal => ({ ...none, broken: why })
  if (inode.kind !== 'file' || inode.inline || inode.encrypted) return broken('its inode is no file')
  const blocks = Math.floor(inode.sizeBytes / blockBytes)
  if (blocks < 2 || blocks > MAX_JOURNAL_BLOCKS || inode.sizeBytes > MAX_GUEST_JOURNAL_BYTES)
    return broken('its size is impossible')
  const blockAt = (index: number) => readContent(reader, inode, index * blockBytes, blockBytes)
  const facts = parseSuperblock(await blockAt(0), blocks, blockBytes)
  if (typeof facts === 'string') return broken(facts)
  if (facts.start === 0) return none

  const scan = await scanTransactions(facts, blockAt)
  const places = placesOf(scan.transactions)
  return {
    transactions: scan.transactions.length,
    ...(scan.broken !== undefined && { broken: scan.broken }),
    async block(number) {
      const tag = places.get(number)
      if (!tag) return undefined
      const bytes = await blockAt(tag.at)
      if (tag.escaped) bytes.writeUInt32BE(MAGIC, 0)
      return bytes
    },
  }
}

function parseSuperblock(bytes: Buffer, blocks: number, blockBytes: number): JournalFacts | string {
  const u32 = (at: number) => bytes.readUInt32BE(at)
  if (u32(0) !== MAGIC || !SUPERBLOCKS.has(u32(4))) return 'it has no superblock'
  const incompat = u32(4) === 4 ? u32(40) : 0
  if (incompat & ~INCOMPAT_KNOWN) return 'it has features that are not known here'
  const fast = incompat & INCOMPAT_FAST_COMMIT ? u32(84) || DEFAULT_FAST_COMMIT_BLOCKS : 0
  const first = u32(20)
  const end = u32(16) - fast
  const start = u32(28)
  if (u32(12) !== blockBytes || u32(16) > blocks || first < 1 || end <= first)
    return 'its superblock is impossible'
  if (start !== 0 && (start < first || start >= end)) return 'its superblock is impossible'
  const checksum = incompat & INCOMPAT_CSUM_V3 ? 3 : incompat & INCOMPAT_CSUM_V2 ? 2 : 0
  return {
    blockBytes,
    first,
    end,
    start,
    sequence: u32(24),
    wide: (incompat & INCOMPAT_64BIT) !== 0,
    checksum,
    seed: crc32c(0xffff_ffff, bytes.subarray(48, 64)),
  }
}

interface Transaction {
  readonly sequence: number
  readonly tags: readonly Tag[]
  readonly revoked: readonly number[]
}

/** Goes once around the ring at most, up to the first block that no transaction continues with. */
async function scanTransactions(
  facts: JournalFacts,
  blockAt: (index: number) => Promise<Buffer>,
): Promise<{ transactions: Transaction[]; broken?: string }> {
  const transactions: Transaction[] = []
  const ring = facts.end - facts.first
  let at = facts.start
  let sequence = facts.sequence
  let tags: Tag[] = []
  let revoked: number[] = []
  let revokes = 0
  const next = () => {
    const index = at
    at = at + 1 === facts.end ? facts.first : at + 1
    return index
  }
  for (let steps = 0; steps < ring; steps++) {
    const block = await blockAt(next())
    if (block.readUInt32BE(0) !== MAGIC || block.readUInt32BE(8) !== sequence) break
    const type = block.readUInt32BE(4)
    if (type === DESCRIPTOR) {
      // One that is not whole belongs to a transaction that was never committed, as far as can be told.
      if (facts.checksum && !tailMatches(block, facts)) break
      for (const tag of tagsOf(block, facts)) {
        if (++steps >= ring) return { transactions, broken: 'a transaction is longer than the journal' }
        const index = next()
        if (facts.checksum && !tagMatches(await blockAt(index), tag.checksum, sequence, facts))
          return { transactions, broken: 'a block of a transaction does not match its checksum' }
        tags.push({ target: tag.target, at: index, escaped: tag.escaped })
      }
    } else if (type === REVOKE) {
      if (facts.checksum && !tailMatches(block, facts)) break
      const more = revokedBy(block, facts)
      // Of the whole journal: its blocks may all be one that revokes, again and again.
      revokes += more.length
      if (revokes > MAX_REVOKES) return { transactions, broken: 'it revokes too much' }
      revoked.push(...more)
    } else if (type === COMMIT) {
      if (facts.checksum && !commitMatches(block, facts)) break
      transactions.push({ sequence, tags, revoked })
      sequence = (sequence + 1) >>> 0
      tags = []
      revoked = []
    } else break
  }
  return { transactions }
}

/** The last transaction that has a block wins, unless the block was revoked in it or after it. */
function placesOf(transactions: readonly Transaction[]): Map<number, Tag> {
  const revokedIn = new Map<number, number>()
  for (const [index, { revoked }] of transactions.entries())
    for (const target of revoked) revokedIn.set(target, index)
  const places = new Map<number, Tag>()
  for (const [index, { tags }] of transactions.entries())
    for (const tag of tags) if (index > (revokedIn.get(tag.target) ?? -1)) places.set(tag.target, tag)
  return places
}

interface ReadTag {
  readonly target: number
  readonly escaped: boolean
  readonly checksum: number
}

function tagsOf(block: Buffer, { wide, checksum, blockBytes }: JournalFacts): ReadTag[] {
  const tagBytes = checksum === 3 ? 16 : (wide ? 12 : 8) + (checksum === 2 ? 2 : 0)
  const end = blockBytes - (checksum ? 4 : 0)
  const tags: ReadTag[] = []
  for (let at = HEADER_BYTES; at + tagBytes <= end;) {
    const flags = checksum === 3 ? block.readUInt32BE(at + 4) : block.readUInt16BE(at + 6)
    const high = wide ? block.readUInt32BE(at + 8) : 0
    tags.push({
      target: block.readUInt32BE(at) + high * 2 ** 32,
      escaped: (flags & TAG_ESCAPED) !== 0,
      checksum: checksum === 3 ? block.readUInt32BE(at + 12) : block.readUInt16BE(at + 4),
    })
    if (flags & TAG_LAST) break
    at += tagBytes + (flags & TAG_SAME_UUID ? 0 : 16)
  }
  return tags
}

function revokedBy(block: Buffer, { wide, blockBytes }: JournalFacts): number[] {
  const end = Math.min(block.readUInt32BE(HEADER_BYTES), blockBytes)
  const revoked: number[] = []
  const size = wide ? 8 : 4
  for (let at = HEADER_BYTES + 4; at + size <= end; at += size)
    revoked.push(wide ? Number(block.readBigUInt64BE(at)) : block.readUInt32BE(at))
  return revoked
}

/** Descriptors and revoke blocks end with a checksum of themselves. */
function tailMatches(block: Buffer, { seed, blockBytes }: JournalFacts): boolean {
  return matchesWithout(block, blockBytes - 4, seed)
}

function commitMatches(block: Buffer, { seed }: JournalFacts): boolean {
  return matchesWithout(block, COMMIT_CHECKSUM_AT, seed)
}

/** True when the checksum of a block with zeros in the checksum's place is the one that stands there. */
function matchesWithout(block: Buffer, at: number, seed: number): boolean {
  const copy = Buffer.from(block)
  copy.writeUInt32BE(0, at)
  return crc32c(seed, copy) === block.readUInt32BE(at)
}

function tagMatches(block: Buffer, checksum: number, sequence: number, facts: JournalFacts): boolean {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(sequence)
  const actual = crc32c(crc32c(facts.seed, head), block)
  return (facts.checksum === 3 ? actual : actual & 0xffff) === checksum
}
