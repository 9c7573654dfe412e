/**
 * Blocks of chunks: the finer grid on which the two sides compare a chunk with an older version of it.
 *
 * The grid is the volume's: a block is what a chunk holds of [k, k + 1) * BLOCK_BYTES, so the first and the last of a chunk
 * may be shorter. Spec: chunks.md, Comparing blocks.
 */
import type { Range } from './extent.ts'
import { BLOCK_BYTES } from './limits.ts'
import { entryLength, entryOffset } from './manifest.ts'

/** Bytes of a block's checksum: CRC-32, u32 LE. A hint only: what counts is the digest of the whole chunk. */
export const BLOCK_SUM_BYTES = 4

/** Number of blocks of entry `index`. */
export function blockCount(entries: Uint8Array, index: number): number {
  const offset = entryOffset(entries, index)
  const end = offset + entryLength(entries, index)
  return Math.ceil(end / BLOCK_BYTES) - Math.floor(offset / BLOCK_BYTES)
}

/** Where block `block` of entry `index` begins, from the chunk's start in bytes; for one past the last, where that ends. */
export function blockStart(entries: Uint8Array, index: number, block: number): number {
  if (block === 0) return 0
  return Math.min(
    entryLength(entries, index),
    block * BLOCK_BYTES - (entryOffset(entries, index) % BLOCK_BYTES),
  )
}

/** The stretches of entry `index`, from the chunk's start in bytes, that its blocks with `wants` make; neighbours joined. */
export function blockRanges(entries: Uint8Array, index: number, wants: (block: number) => boolean): Range[] {
  const ranges: Range[] = []
  const count = blockCount(entries, index)
  for (let block = 0; block < count; block++) {
    if (!wants(block)) continue
    const first = block
    while (block + 1 < count && wants(block + 1)) block++
    ranges.push({
      start: blockStart(entries, index, first),
      end: blockStart(entries, index, block + 1),
    })
  }
  return ranges
}
