/**
 * Finds the chunks of a window: drops aligned zero blocks, cuts each run of data.
 *
 * The scanner works inside one WebAssembly memory that also holds the window buffers, so that files and sockets
 * are read straight into it and chunks are views of it. The inner loops, and the mathematics of the cuts, are in
 * wasm/chunker.as.ts; this file walks from run to run. Where a cut falls depends only on the bytes from the
 * chunk's own start on, never on how the bytes arrived.
 */
import { readFileSync } from 'node:fs'
import {
  CHUNK_AVG_BYTES,
  CHUNK_MAX_BYTES,
  CHUNK_MIN_BYTES,
  HOLE_BLOCK_BYTES,
  MAX_WINDOW_CHUNKS,
  WINDOW_BYTES,
} from '../protocol/limits.ts'

/** Content-defined cuts: algorithm and version, then minimum, normal and maximum length in bytes. */
export const CHUNKING_FASTCDC_64K = 'fastcdc-v1/32768-65536-262144'
/** Cuts at every absolute multiple of 64 KiB of the volume. */
export const CHUNKING_FIXED_64K = 'fixed-v1/65536'
/** Every chunking this version can do, best first. */
export const CHUNKINGS = [CHUNKING_FASTCDC_64K, CHUNKING_FIXED_64K] as const
/** Names an algorithm with its parameters, in agreements and manifests. */
export type Chunking = (typeof CHUNKINGS)[number]

const WASM_PAGE_BYTES = 64 * 1024

/** Chunks found so far, in order; entries from `count` on are stale. Set `count` to 0 to use it again. */
export interface ChunkList {
  count: number
  /** Where the chunk lies in its slot, bytes. */
  readonly slotOffsets: Uint32Array
  /** Where the chunk lies in the volume, bytes. */
  readonly volumeOffsets: Float64Array
  readonly lengths: Uint32Array
}

/** An extent being scanned while it is read. */
export interface ExtentScan {
  /**
   * Appends the chunks that are certain, now that the first `availableBytes` of the extent are in the slot.
   * `final` says these are all; it must be said once, last. Throws RangeError when the list is full.
   */
  feed(availableBytes: number, final: boolean): void
}

/** Window buffers of one thread, and the scanner over them. */
export interface Chunker {
  readonly chunking: Chunking
  /** The bytes of slot `index`: WINDOW_BYTES, page-aligned, the same view each time. */
  slot(index: number): Uint8Array<ArrayBuffer>
  /**
   * Starts on an extent of the volume at `volumeOffset` whose bytes are, or will be, in slot `index` from
   * `slotOffset` on. Blocks of 4 KiB count from the volume's start; of one that the extent holds only in part, that
   * part decides. Cuts restart here. Scans do not disturb each other.
   */
  scan(index: number, slotOffset: number, volumeOffset: number, out: ChunkList): ExtentScan
}

interface Scanner {
  zeros(start: number, end: number, skew: number): number
  data(start: number, end: number, skew: number): number
  cut(
    start: number,
    available: number,
    from: number,
    closed: number,
    min: number,
    normal: number,
    max: number,
  ): number
  resumeAt(): number
}

/** An empty list with room for a whole window of block-aligned extents. */
export function createChunkList(): ChunkList {
  return {
    count: 0,
    slotOffsets: new Uint32Array(MAX_WINDOW_CHUNKS),
    volumeOffsets: new Float64Array(MAX_WINDOW_CHUNKS),
    lengths: new Uint32Array(MAX_WINDOW_CHUNKS),
  }
}

/** True when `text` names a chunking this version can do. */
export function isChunking(text: string): text is Chunking {
  return (CHUNKINGS as readonly string[]).includes(text)
}

/** Allocates `windows` slots of WINDOW_BYTES and a scanner for them. Memory is freed with the last view of it. */
export function createChunker(
  windows: number,
  { chunking = CHUNKING_FASTCDC_64K }: { chunking?: Chunking } = {},
): Chunker {
  // The first page is left to the compiler's own statics, and keeps slots away from address 0.
  const pages = 1 + (windows * WINDOW_BYTES) / WASM_PAGE_BYTES
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
  const scanner = new WebAssembly.Instance(scannerModule(), { env: { memory } }).exports as unknown as Scanner
  const slots = Array.from(
    { length: windows },
    (_, index) => new Uint8Array(memory.buffer, WASM_PAGE_BYTES + index * WINDOW_BYTES, WINDOW_BYTES),
  )
  const cut = chunking === CHUNKING_FASTCDC_64K ? cutByContent : cutFixed
  return {
    chunking,
    slot: (index) => slots[index],
    scan: (index, slotOffset, volumeOffset, out) =>
      scanExtent(scanner, cut, slots[index].byteOffset, slotOffset, volumeOffset, out),
  }
}

let compiled: WebAssembly.Module | undefined

function scannerModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(readFileSync(new URL('wasm/chunker.wasm', import.meta.url)))
  return compiled
}

/** Length of the chunk at address `start`, or 0 when more bytes are needed; `from` resumes the search. */
type Cut = (
  scanner: Scanner,
  start: number,
  available: number,
  from: number,
  closed: boolean,
  volumeOffset: number,
) => number

const cutByContent: Cut = (scanner, start, available, from, closed) =>
  scanner.cut(start, available, from, closed ? 1 : 0, CHUNK_MIN_BYTES, CHUNK_AVG_BYTES, CHUNK_MAX_BYTES)

const cutFixed: Cut = (_scanner, _start, available, _from, closed, volumeOffset) => {
  const toBoundary = CHUNK_AVG_BYTES - (volumeOffset % CHUNK_AVG_BYTES)
  if (available >= toBoundary) return toBoundary
  return closed ? available : 0
}

function scanExtent(
  scanner: Scanner,
  cut: Cut,
  slotAddress: number,
  slotOffset: number,
  volumeOffset: number,
  out: ChunkList,
): ExtentScan {
  // All positions are addresses. Blocks end where address + skew is a multiple of the block's size.
  const base = slotAddress + slotOffset
  const room = WINDOW_BYTES - slotOffset
  const skew =
    (HOLE_BLOCK_BYTES + (volumeOffset % HOLE_BLOCK_BYTES) - (base % HOLE_BLOCK_BYTES)) % HOLE_BLOCK_BYTES
  /** Start of the next chunk. */
  let start = base
  /** Everything in [start, known) was found to be data of one run. */
  let known = base
  let from = 0
  let ended = false

  function append(length: number): void {
    if (out.count === out.lengths.length) throw new RangeError(`More than ${out.count} chunks in one window`)
    out.slotOffsets[out.count] = start - slotAddress
    out.volumeOffsets[out.count] = volumeOffset + (start - base)
    out.lengths[out.count++] = length
  }

  function feed(availableBytes: number, final: boolean): void {
    if (ended || availableBytes > room || base + availableBytes < known) {
      throw new RangeError(`Cannot scan ${availableBytes} bytes of an extent`)
    }
    ended = final
    // A block is judged once all of it is there.
    const have = base + availableBytes
    const end = final ? have : have - ((have + skew) % HOLE_BLOCK_BYTES)
    while (known < end || start < known) {
      if (start === known) {
        known += scanner.zeros(known, end, skew)
        start = known
      }
      known += scanner.data(known, end, skew)
      const available = known - start
      if (available === 0) return
      const closed = known < end || final
      const length = cut(scanner, start, available, from, closed, volumeOffset + (start - base))
      if (length === 0) {
        from = scanner.resumeAt()
        return
      }
      append(length)
      start += length
      from = 0
    }
  }

  return { feed }
}
