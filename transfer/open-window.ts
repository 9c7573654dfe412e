/** A window on the receiving side, from its HAVE until every chunk of it is written. */
import { entryCount, entryDigest, entryLength } from '../protocol/manifest.ts'

export interface OpenWindow {
  readonly number: number
  readonly start: number
  readonly end: number
  readonly entries: Uint8Array
  /** Entries still to come: 1 each. */
  readonly missing: Uint8Array
  missingCount: number
  receivedBytes: number
  /** Entries equal to one that comes, by the index of that one. */
  readonly repeats: Map<number, number[]>
}

/** Windows open on a lane, by number. */
export type OpenWindows = Map<number, OpenWindow>

/** A window of which nothing has come yet. */
export function openWindow(number: number, start: number, end: number, entries: Uint8Array): OpenWindow {
  const count = entryCount(entries)
  return {
    number,
    start,
    end,
    entries,
    missing: new Uint8Array(count).fill(1),
    missingCount: count,
    receivedBytes: 0,
    repeats: new Map(),
  }
}

/** The WANT for a window: asks once for each missing digest; entries that repeat one are written when it comes. */
export function wantBitmap(window: OpenWindow): Uint8Array {
  const bitmap = new Uint8Array(Math.ceil(window.missing.length / 8))
  const firstOf = new Map<string, number>()
  for (let i = 0; i < window.missing.length; i++) {
    if (!window.missing[i]) continue
    const name = Buffer.from(entryDigest(window.entries, i)).toString('latin1')
    const first = firstOf.get(name)
    if (first !== undefined && entryLength(window.entries, first) === entryLength(window.entries, i)) {
      const repeats = window.repeats.get(first)
      if (repeats) repeats.push(i)
      else window.repeats.set(first, [i])
      window.missing[i] = 0
    } else {
      firstOf.set(name, i)
      bitmap[i >> 3] |= 1 << (i & 7)
    }
  }
  return bitmap
}
