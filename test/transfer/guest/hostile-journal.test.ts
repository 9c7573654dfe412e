import test from 'ava'
import type { ExtInode } from '../../../transfer/guest/ext-inode.ts'
import { readExtJournal } from '../../../transfer/guest/ext-journal.ts'

const BLOCK_BYTES = 65_536
const REVOKE = 5
const COMMIT = 2
/** Of one transaction: its blocks but the last revoke. */
const BLOCKS = 64

function blockOf(kind: number, sequence: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES, 0x91)
  for (const [i, word] of [0xc03b_3998, kind, sequence, BLOCK_BYTES].entries())
    block.writeUInt32BE(word, 4 * i)
  return block
}

/** A journal of some transactions that all are one block that revokes, many times, and one that commits. */
function journalOf(transactions: number) {
  const blocks = 1 + transactions * BLOCKS
  const superblock = Buffer.alloc(BLOCK_BYTES)
  for (const [at, word] of [
    [0, 0xc03b_3998],
    [4, 4],
    [12, BLOCK_BYTES],
    [16, blocks],
    [20, 1],
    [24, 7],
    [28, 1],
  ])
    superblock.writeUInt32BE(word, at)
  const disk: Buffer[] = [Buffer.alloc(BLOCK_BYTES), superblock, Buffer.alloc(BLOCK_BYTES)]
  const map = [1]
  for (let i = 0; i < transactions; i++) {
    const revokes = disk.push(blockOf(REVOKE, 7 + i)) - 1
    const commit = disk.push(blockOf(COMMIT, 7 + i)) - 1
    map.push(...Array.from({ length: BLOCKS - 1 }, () => revokes), commit)
  }
  const blockArea = Buffer.alloc(60)
  for (const [i, block] of map.entries())
    if (i < 12) blockArea.writeUInt32LE(block, 4 * i)
    else disk[2].writeUInt32LE(block, 4 * (i - 12))
  blockArea.writeUInt32LE(2, 48)
  return {
    reader: { blockBytes: BLOCK_BYTES, block: async (number: number) => disk[number] },
    inode: {
      kind: 'file',
      sizeBytes: blocks * BLOCK_BYTES,
      extents: false,
      encrypted: false,
      blockArea,
    } as ExtInode,
  }
}

test('readExtJournal() bounds what all transactions revoke, however few blocks say it', async (t) => {
  const { reader, inode } = journalOf(4)
  t.like(await readExtJournal(reader, inode), { broken: 'it revokes too much' })
})
