/** Where an open window touches the volume: what is still to be written, what is written of chunks that came, its entries by place. */
import type { Range } from '../protocol/extent.ts'
import { entryLength, entryOffset } from '../protocol/manifest.ts'
import type { OpenWindow } from './open-window.ts'

/** What of a window is still to be written, but for what comes in parts: neighbours together. */
export function missingRanges(window: OpenWindow): Range[] {
  const ranges: Range[] = []
  let start = 0
  let end = -1
  for (let entry = 0; entry < window.missing.length; entry++) {
    if (!window.missing[entry] || window.bases.has(entry)) continue
    const at = entryOffset(window.entries, entry)
    if (at !== end) {
      if (end >= 0) ranges.push({ start, end })
      start = at
    }
    end = at + entryLength(window.entries, entry)
  }
  if (end >= 0) ranges.push({ start, end })
  return ranges
}

/** Where the volume is written in parts of chunks. */
export function partRanges({ entries, bases, parts }: OpenWindow): Range[] {
  return Array.from(parts).flatMap(([index, ranges]) => {
    const at = entryOffset(entries, index)
    if (!bases.get(index)?.inPlace) return []
    return ranges.map(({ start, end }) => ({ start: at + start, end: at + end }))
  })
}

/** What is written of chunks that lie back to back: [from, to) of them at `offset` of the volume; neighbours together. */
export function* stretches(window: OpenWindow, first: number, count: number) {
  const { entries, bases, parts } = window
  let last: { from: number; to: number; offset: number } | undefined
  for (let i = first, at = 0; i < first + count; i++) {
    const length = entryLength(entries, i)
    const some = bases.get(i)?.inPlace ? parts.get(i) : undefined
    for (const { start, end } of some ?? [{ start: 0, end: length }]) {
      const [from, offset] = [at + start, entryOffset(entries, i) + start]
      if (last?.to === from && last.offset - last.from === offset - from) last.to = at + end
      else {
        if (last) yield last
        last = { from, to: at + end, offset }
      }
    }
    at += length
  }
  if (last) yield last
}

/** The first entry that begins at or after `offset`. */
export function firstEntryFrom(window: OpenWindow, offset: number): number {
  let low = 0
  let high = window.missing.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (entryOffset(window.entries, middle) < offset) low = middle + 1
    else high = middle
  }
  return low
}

/** The first entry that ends after `offset`. */
export function firstEntryTouching(window: OpenWindow, offset: number): number {
  const first = firstEntryFrom(window, offset)
  if (first === 0) return 0
  const before = first - 1
  return entryOffset(window.entries, before) + entryLength(window.entries, before) > offset ? before : first
}
