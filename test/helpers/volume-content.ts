/** Volumes for properties: what a disk may hold, and the ways a source may tell where its data lies. */
import fc from 'fast-check'
import type { Extent } from '../../protocol/extent.ts'
import { createMemorySource } from '../../transfer/backends/memory.ts'
import type { Source } from '../../transfer/source.ts'
import { noise, prose } from './volume.ts'

const BLOCK_BYTES = 4096
const SECTOR_BYTES = 512

/** How a source tells its holes: none of them, every zero block, or each sector by itself. */
export type Layout = 'whole' | 'blocks' | 'sectors'
export const LAYOUTS: readonly Layout[] = ['whole', 'blocks', 'sectors']

interface Piece {
  readonly kind: 'noise' | 'prose' | 'zeros' | 'repeat' | 'speck'
  readonly seed: number
  readonly lengthBytes: number
}

const piece: fc.Arbitrary<Piece> = fc.record({
  kind: fc.constantFrom('noise', 'prose', 'zeros', 'repeat', 'speck'),
  seed: fc.nat(1000),
  lengthBytes: fc.oneof(
    fc.integer({ min: 1, max: 3 * BLOCK_BYTES }),
    fc.integer({ min: 1, max: 100 }).map((blocks) => blocks * BLOCK_BYTES),
    fc.integer({ min: 1, max: 2 ** 21 }),
  ),
})

/** Up to about 10 MiB of data, zeros, holes, repetitions and specks, of any length. */
export const volumeContent: fc.Arbitrary<Buffer> = fc
  .array(piece, { minLength: 1, maxLength: 10 })
  .map((pieces) => {
    let bytes = Buffer.alloc(0)
    for (const { kind, seed, lengthBytes } of pieces) {
      const next = Buffer.alloc(lengthBytes)
      if (kind === 'noise') noise(lengthBytes, seed).copy(next)
      else if (kind === 'prose') prose(lengthBytes, seed).copy(next)
      else if (kind === 'repeat') bytes.copy(next, 0, seed % (bytes.length + 1))
      // A lone byte far from any other makes a block data.
      else if (kind === 'speck') next[seed % lengthBytes] = 1 + (seed % 255)
      bytes = Buffer.concat([bytes, next])
    }
    return bytes
  })

/** A source over `bytes` that tells its holes in the given way. */
export function sourceOf(bytes: Uint8Array, layout: Layout): Source {
  const source = createMemorySource(bytes)
  if (layout === 'blocks') return source
  return {
    ...source,
    async *extents(from) {
      if (layout === 'whole' && from < bytes.length) yield { offset: from, length: bytes.length - from }
      if (layout === 'sectors') yield* sectors(bytes, from)
    },
  }
}

/** Sectors that hold a byte other than zero, one extent each, though they touch. */
function* sectors(bytes: Uint8Array, from: number): Generator<Extent> {
  const zeros = Buffer.alloc(SECTOR_BYTES)
  for (let offset = from; offset < bytes.length; offset += SECTOR_BYTES) {
    const length = Math.min(SECTOR_BYTES, bytes.length - offset)
    if (!zeros.subarray(0, length).equals(bytes.subarray(offset, offset + length))) yield { offset, length }
  }
}
