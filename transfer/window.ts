/**
 * Cuts a volume into windows: the unit that is scanned, offered, placed and made durable as a whole.
 *
 * A window covers [start, end): whole cells of WINDOW_BYTES (the last ends with the volume), holding at most
 * WINDOW_BYTES of allocated data. Holes belong to the window in which they lie or which follows them, so windows
 * partition what is to do and a terabyte of hole is one window. Nothing here reads data.
 */
import type { Extent, Range } from '../protocol/extent.ts'
import { HOLE_BLOCK_BYTES, WINDOW_BYTES } from '../protocol/limits.ts'

export interface Window extends Range {
  /** Allocated ranges inside the window, ascending; none crosses a multiple of WINDOW_BYTES. */
  readonly extents: readonly Extent[]
}

/** Finds allocated ranges from an offset on; what Source.extents() is. */
export type ExtentFinder = (from: number) => AsyncIterable<Extent>

/**
 * The windows of `todo`, in order. `todo` are ascending, disjoint ranges whose bounds are multiples of WINDOW_BYTES
 * or the volume's end; each yields windows that cover it exactly.
 */
export async function* windows(todo: Iterable<Range>, find: ExtentFinder): AsyncGenerator<Window> {
  for (const range of todo) yield* windowsOfRange(range, find)
}

async function* windowsOfRange(range: Range, find: ExtentFinder): AsyncGenerator<Window> {
  let start = range.start
  let extents: Extent[] = []
  let dataBytes = 0
  for await (const cell of cells(range, find)) {
    if (dataBytes > 0 && dataBytes + cell.dataBytes > WINDOW_BYTES) {
      yield { start, end: cell.start, extents }
      start = cell.start
      extents = []
      dataBytes = 0
    }
    extents.push(...cell.extents)
    dataBytes += cell.dataBytes
  }
  if (start < range.end) yield { start, end: range.end, extents }
}

/** WINDOW_BYTES of volume that hold data. */
interface Cell {
  readonly start: number
  readonly extents: Extent[]
  dataBytes: number
}

/** The extents within `range`, gathered by the cell they lie in; empty cells are left out. */
async function* cells(range: Range, find: ExtentFinder): AsyncGenerator<Cell> {
  let cell: Cell | undefined
  let covered = range.start
  for await (const extent of find(range.start)) {
    // Whole blocks, each once, so that the content decides what is data and not how finely the source tells its holes.
    const end = Math.min(
      Math.ceil((extent.offset + extent.length) / HOLE_BLOCK_BYTES) * HOLE_BLOCK_BYTES,
      range.end,
    )
    let offset = Math.max(Math.floor(extent.offset / HOLE_BLOCK_BYTES) * HOLE_BLOCK_BYTES, covered)
    if (offset >= range.end) break
    covered = Math.max(covered, end)
    while (offset < end) {
      const cellStart = Math.floor(offset / WINDOW_BYTES) * WINDOW_BYTES
      const length = Math.min(end, cellStart + WINDOW_BYTES) - offset
      if (cell && cell.start !== cellStart) {
        yield cell
        cell = undefined
      }
      cell ??= { start: cellStart, extents: [], dataBytes: 0 }
      append(cell.extents, offset, length)
      cell.dataBytes += length
      offset += length
    }
  }
  if (cell) yield cell
}

/** Adds a range, to the last one where they touch. */
function append(extents: Extent[], offset: number, length: number): void {
  const last = extents.at(-1)
  if (last && last.offset + last.length === offset)
    extents[extents.length - 1] = { offset: last.offset, length: last.length + length }
  else extents.push({ offset, length })
}
