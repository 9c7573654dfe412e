/** Finds the data of an open file by SEEK_DATA and SEEK_HOLE: a hole costs two calls, whatever its size. */
import type { Extent } from '../../protocol/extent.ts'
import { MAX_EXTENT_BYTES } from '../../protocol/limits.ts'
import { seekData, seekHole } from '../linux.ts'
import { errnoOf } from './bounds.ts'

/** True when the file system tells data from holes in this file. */
export function tellsHoles(fd: number): boolean {
  try {
    seekData(fd, 0)
    return true
  } catch (error) {
    if (unsupported(error)) return false
    throw error
  }
}

/** Data of the file within [from, to), ascending; everything where the file system cannot tell. */
export function fileExtents(fd: number, from: number, to: number): Generator<Extent> {
  return openFileExtents(fd).within(from, to)
}

/** The data of one open file. */
export interface FileExtents {
  /** Within [from, to), ascending; everything where the file system cannot tell. */
  within(from: number, to: number): Generator<Extent>
  /** [from, to) was made a hole. */
  zeroed(from: number, to: number): void
}

/**
 * The same for many short ranges of one file. tmpfs looks for a hole page by page, to the end of the data however short the
 * range is: so the data found last is remembered. What another opener makes a hole is told as data, which is no harm.
 */
export function openFileExtents(fd: number): FileExtents {
  let last = { start: 0, end: 0 }
  return {
    *within(from, to) {
      for (let at = from; at < to;) {
        if (at < last.start || at >= last.end) {
          const found = nextData(fd, at, to)
          if (!found) return
          last = found
        }
        const { start, end } = last
        yield* wholeRange(Math.max(at, start), Math.min(end, to))
        at = Math.min(end, to)
      }
    },
    zeroed(from, to) {
      if (to <= last.start || from >= last.end) return
      // Whoever looks goes on upwards: what lies behind is the part worth keeping.
      last = to < last.end ? { start: to, end: last.end } : { start: last.start, end: from }
    },
  }
}

/** [from, to) in extents of at most MAX_EXTENT_BYTES. */
export function* wholeRange(from: number, to: number): Generator<Extent> {
  for (let offset = from; offset < to; offset += MAX_EXTENT_BYTES) {
    yield { offset, length: Math.min(MAX_EXTENT_BYTES, to - offset) }
  }
}

/** The first data that begins before `to`, and all of it. */
function nextData(fd: number, from: number, to: number): { start: number; end: number } | undefined {
  try {
    const start = seekData(fd, from)
    if (start === undefined || start >= to) return undefined
    const hole = seekHole(fd, start) ?? to
    // A hole found at `start` itself means the file changed between the two calls: take it as data up to `to`.
    return { start, end: hole <= start ? to : hole }
  } catch (error) {
    if (unsupported(error)) return { start: from, end: to }
    throw error
  }
}

function unsupported(error: unknown): boolean {
  return ['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(errnoOf(error) ?? '')
}
