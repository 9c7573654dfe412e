/** A window on the receiving side, from its HAVE until every chunk of it is written. */
import { setBit } from '../protocol/bitmap.ts'
import type { Range } from '../protocol/extent.ts'
import { entryCount, entryDigest, entryLength } from '../protocol/manifest.ts'

/** What is likely an older version of a chunk: as many bytes, at the same place. */
export interface Base {
  /** It lies where the chunk goes: what they share need not be written. Else at that place of the version before. */
  readonly inPlace: boolean
  /** Checksums of its blocks. */
  readonly sums: Buffer
}

export interface OpenWindow {
  readonly number: number
  readonly start: number
  readonly end: number
  readonly entries: Uint8Array
  /** So many entries, from the first, come before they are wanted: they are not looked for. */
  unasked: number
  /** Entries still to come: 1 each. */
  readonly missing: Uint8Array
  missingCount: number
  receivedBytes: number
  /** Entries equal to one that comes, by the index of that one. */
  readonly repeats: Map<number, number[]>
  /** Older versions of entries that are wanted; ascending once they are asked about. */
  readonly bases: Map<number, Base>
  /** Of entries of which only parts come: which, from the chunk's start in bytes. */
  readonly parts: Map<number, readonly Range[]>
  /** The sender is to tell the checksums of the blocks of `bases`. */
  asksBlocks: boolean
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
    unasked: 0,
    missing: new Uint8Array(count).fill(1),
    missingCount: count,
    receivedBytes: 0,
    repeats: new Map(),
    bases: new Map(),
    parts: new Map(),
    asksBlocks: false,
  }
}

/** What a WANT says of a window. */
export interface Wanted {
  /** A bit for each entry that is wanted; when `based`, behind it one for each of them that has an older version here. */
  readonly bitmaps: Uint8Array
  readonly based: boolean
}

/** The WANT for a window: asks once for each missing digest; entries that repeat one are written when it comes. */
export function wanted(window: OpenWindow): Wanted {
  const bitmap = wantBitmap(window)
  const bases = [...window.bases].filter(([index]) => window.missing[index]).sort(([a], [b]) => a - b)
  window.bases.clear()
  for (const [index, base] of bases) window.bases.set(index, base)
  if (bases.length === 0) return { bitmaps: bitmap, based: false }
  const bitmaps = new Uint8Array(2 * bitmap.length)
  bitmaps.set(bitmap)
  const marks = bitmaps.subarray(bitmap.length)
  for (const index of window.bases.keys()) setBit(marks, index)
  window.asksBlocks = true
  return { bitmaps, based: true }
}

function wantBitmap(window: OpenWindow): Uint8Array {
  const bitmap = new Uint8Array(Math.ceil(window.missing.length / 8))
  const firstOf = new Map<string, number>()
  for (let i = 0; i < window.missing.length; i++) {
    if (!window.missing[i]) continue
    const name = Buffer.from(entryDigest(window.entries, i)).toString('latin1')
    // What comes unasked comes, also what is the same.
    const first = i < window.unasked ? undefined : firstOf.get(name)
    if (first !== undefined && entryLength(window.entries, first) === entryLength(window.entries, i)) {
      const repeats = window.repeats.get(first)
      if (repeats) repeats.push(i)
      else window.repeats.set(first, [i])
      window.missing[i] = 0
    } else {
      firstOf.set(name, i)
      setBit(bitmap, i)
    }
  }
  return bitmap
}
