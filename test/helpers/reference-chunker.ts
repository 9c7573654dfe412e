/**
 * What the chunker must do, in plain code that favours clarity over speed: the definition the WebAssembly is tested by.
 * Nothing here is shared with the real one but the numbers.
 */

const BLOCK_BYTES = 4096
const MIN_BYTES = 32 * 1024
const NORMAL_BYTES = 64 * 1024
const MAX_BYTES = 256 * 1024

const STRICT_BITS = 8
const LOOSE_BITS = 6

const LOW = [0x1d, 0x8b, 0x53, 0xe6, 0x3a, 0xc7, 0x94, 0x6f, 0x29, 0xb2, 0xd8, 0x45, 0xfb, 0x70, 0x0e, 0xa1]
const HIGH = [0x9d, 0x34, 0xeb, 0x52, 0x17, 0xc8, 0x6e, 0xf3, 0x0b, 0xba, 0x85, 0x41, 0x7c, 0xd6, 0x2f, 0xa0]

/** The gear value of every byte: 8 bits, never 0. */
export const GEAR = Uint8Array.from({ length: 256 }, (_, byte) => LOW[byte & 15] + HIGH[byte >> 4])

/** A chunk by its place in the bytes that were given. */
export interface ReferenceChunk {
  readonly offset: number
  readonly length: number
}

/** The chunks of an extent at `volumeOffset`, cut by content. */
export function referenceFastCdc(bytes: Uint8Array, volumeOffset: number): ReferenceChunk[] {
  return dataRuns(bytes, volumeOffset).flatMap((run) => {
    const chunks = []
    for (let at = run.offset, end = run.offset + run.length; at < end;) {
      const length = contentCut(bytes.subarray(at, end))
      chunks.push({ offset: at, length })
      at += length
    }
    return chunks
  })
}

/** The chunks of an extent at `volumeOffset`, cut at absolute multiples of 64 KiB. */
export function referenceFixed(bytes: Uint8Array, volumeOffset: number): ReferenceChunk[] {
  return dataRuns(bytes, volumeOffset).flatMap((run) => {
    const chunks = []
    for (let at = run.offset, end = run.offset + run.length; at < end;) {
      const length = Math.min(NORMAL_BYTES - ((volumeOffset + at) % NORMAL_BYTES), end - at)
      chunks.push({ offset: at, length })
      at += length
    }
    return chunks
  })
}

/** Maximal stretches of blocks that hold at least one byte that is not zero. */
export function dataRuns(bytes: Uint8Array, volumeOffset: number): ReferenceChunk[] {
  const runs: ReferenceChunk[] = []
  let runStart = -1
  for (let at = 0; at < bytes.length;) {
    const next = Math.min(at + BLOCK_BYTES - ((volumeOffset + at) % BLOCK_BYTES), bytes.length)
    const zero = bytes.subarray(at, next).every((byte) => byte === 0)
    if (!zero && runStart < 0) runStart = at
    if (zero && runStart >= 0) {
      runs.push({ offset: runStart, length: at - runStart })
      runStart = -1
    }
    at = next
  }
  if (runStart >= 0) runs.push({ offset: runStart, length: bytes.length - runStart })
  return runs
}

/** Length of the first chunk of a run. */
function contentCut(run: Uint8Array): number {
  const length = Math.min(run.length, MAX_BYTES)
  // Whole blocks of 64 bytes are searched, counted from the minimum.
  const searchEnd = length - (length % 64)
  let hash = 0
  for (let at = MIN_BYTES - 8; at < searchEnd; at++) {
    hash = (hash * 2 + GEAR[run[at]]) & 0xff
    if (at < MIN_BYTES || hash !== 0) continue
    if (zeroBits(mix(run, at)) >= (at < NORMAL_BYTES ? STRICT_BITS : LOOSE_BITS)) return at + 1
  }
  return length
}

const MULTIPLIERS = [0x9e3779b97f4a7c15n, 0xbf58476d1ce4e5b9n, 0x94d049bb133111ebn, 0xd6e8feb86659fd93n]

/** The 32 bytes that end with the one at `last`, mixed to 64 bits. */
function mix(bytes: Uint8Array, last: number): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset + last - 31, 32)
  let mixed = 0n
  for (const [index, multiplier] of MULTIPLIERS.entries()) {
    const word = view.getBigUint64(24 - 8 * index, true)
    mixed = BigInt.asUintN(64, ((mixed ^ (mixed >> 32n)) + word) * multiplier)
  }
  return mixed
}

/** Zero bits at the top of a 64-bit number. */
function zeroBits(mixed: bigint): number {
  return mixed === 0n ? 64 : 64 - mixed.toString(2).length
}

/** What the end of these 32 bytes is, wherever they stand: a cut anywhere, one only beyond the normal size, or none. */
export function referenceVerdict(bytes: Uint8Array): 'strict' | 'loose' | undefined {
  const hash = bytes.subarray(24).reduce((sum, byte) => (sum * 2 + GEAR[byte]) & 0xff, 0)
  if (hash !== 0) return undefined
  const bits = zeroBits(mix(bytes, 31))
  return bits >= STRICT_BITS ? 'strict' : bits >= LOOSE_BITS ? 'loose' : undefined
}
