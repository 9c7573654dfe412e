/**
 * Older versions of chunks that are wanted: what lies at a chunk's place though it is not that chunk, here or in the version
 * that is replaced. The sender is asked for the checksums of its blocks, and only those that differ travel. Spec: chunks.md,
 * Comparing blocks.
 *
 * What is put together is digested like all that comes, so a checksum that matches by chance costs an attempt, no more.
 */
import { setBit } from '../protocol/bitmap.ts'
import { BLOCK_SUM_BYTES, blockCount, blockRanges } from '../protocol/blocks.ts'
import { violation } from '../protocol/field.ts'
import { putBlockSums } from './block-sums.ts'
import type { Base, OpenWindow } from './open-window.ts'

/** Blocks asked about before it is judged whether asking pays. */
const TRIAL_BLOCKS = 4096
/** It pays while at least one block in so many need not travel: asking costs two digests of what is asked about. */
const LEAST_SAME = 16

export interface Bases {
  /** False while it does not pay to look for older versions. */
  readonly pay: boolean
  /** `bytes`, as long as the chunk of entry `index` and not it, lie at its place: in the sink, or in the version before. */
  keep(window: OpenWindow, index: number, bytes: Uint8Array, where: Pick<Base, 'inPlace'>): void
  /** Takes the sender's checksums of a window: a bit for each block that is to travel. Throws PROTOCOL_VIOLATION. */
  compare(window: OpenWindow, sums: Uint8Array): Uint8Array
}

/** Of one lane. */
export function createBases(): Bases {
  let asked = 0
  let same = 0

  return {
    get pay() {
      return asked < TRIAL_BLOCKS || same * LEAST_SAME >= asked
    },
    keep(window, index, bytes, { inPlace }) {
      const sums = Buffer.allocUnsafe(blockCount(window.entries, index) * BLOCK_SUM_BYTES)
      putBlockSums(window.entries, index, bytes, sums, 0)
      window.bases.set(index, { inPlace, sums })
    },
    compare(window, sums) {
      if (!window.asksBlocks) throw violation(`Blocks came for window ${window.number}, which asks for none`)
      window.asksBlocks = false
      const theirs = Buffer.from(sums.buffer, sums.byteOffset, sums.byteLength)
      let total = 0
      for (const { sums: own } of window.bases.values()) total += own.length
      if (theirs.length !== total)
        throw violation(
          `${theirs.length} bytes of block checksums came for window ${window.number}, not ${total}`,
        )
      const bitmap = new Uint8Array(Math.ceil(total / BLOCK_SUM_BYTES / 8))
      let first = 0
      for (const [index, { sums: own }] of window.bases) {
        const count = own.length / BLOCK_SUM_BYTES
        const isSame = (block: number) =>
          own.readUInt32LE(block * BLOCK_SUM_BYTES) === theirs.readUInt32LE((first + block) * BLOCK_SUM_BYTES)
        let sameHere = 0
        for (let block = 0; block < count; block++) if (isSame(block)) sameHere++
        // It is another chunk: a checksum that matches by chance is among them.
        const all = sameHere === count
        const wants = (block: number) => all || !isSame(block)
        for (let block = 0; block < count; block++) if (wants(block)) setBit(bitmap, first + block)
        window.parts.set(index, blockRanges(window.entries, index, wants))
        asked += count
        same += all ? 0 : sameHere
        first += count
      }
      return bitmap
    },
  }
}
