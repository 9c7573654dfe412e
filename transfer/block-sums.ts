/** Checksums of the blocks of a chunk, and which parts of chunks travel when not all of their blocks do. Spec: chunks.md, Comparing blocks. */
import { crc32 } from 'node:zlib'
import { BLOCK_SUM_BYTES, blockCount, blockStart } from '../protocol/blocks.ts'
import type { Range } from '../protocol/extent.ts'
import { entryLength } from '../protocol/manifest.ts'

/** Of some entries of a window, the stretches that travel, from the chunk's start in bytes; of the others all does. */
export type Parts = ReadonlyMap<number, readonly Range[]>

/** What of entry `index` travels, from the chunk's start in bytes. */
export function travellingRanges(entries: Uint8Array, index: number, parts: Parts): readonly Range[] {
  return parts.get(index) ?? [{ start: 0, end: entryLength(entries, index) }]
}

/** Bytes of entry `index` that travel. */
export function travellingBytes(entries: Uint8Array, index: number, parts: Parts): number {
  const ranges = parts.get(index)
  if (!ranges) return entryLength(entries, index)
  let bytes = 0
  for (const { start, end } of ranges) bytes += end - start
  return bytes
}

/** Writes the sums of the blocks of entry `index`, whose bytes are `chunk`, into `sums` at `at`; gives the position behind them. */
export function putBlockSums(
  entries: Uint8Array,
  index: number,
  chunk: Uint8Array,
  sums: Buffer,
  at: number,
): number {
  const count = blockCount(entries, index)
  for (let block = 0, from = 0; block < count; block++) {
    const to = blockStart(entries, index, block + 1)
    sums.writeUInt32LE(crc32(chunk.subarray(from, to)), at + block * BLOCK_SUM_BYTES)
    from = to
  }
  return at + count * BLOCK_SUM_BYTES
}
