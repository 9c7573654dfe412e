/** Byte ranges of a volume, and sets of them. Pure. */

/** An allocated byte range: [offset, offset + length). Bytes; safe integers. */
export interface Extent {
  readonly offset: number
  readonly length: number
}

/** A half-open byte range [start, end). */
export interface Range {
  readonly start: number
  readonly end: number
}

/** The same ranges and more, ascending, in at most `most`: the smallest gaps are closed first, from `leastGapBytes` on. */
export function closeGaps(ranges: readonly Range[], most: number, leastGapBytes: number): Range[] {
  let closed = ranges.slice()
  for (let gap = leastGapBytes; closed.length > most; gap *= 2) {
    const joined: Range[] = []
    for (const range of closed) {
      const last = joined.at(-1)
      if (last && range.start - last.end <= gap)
        joined[joined.length - 1] = { start: last.start, end: range.end }
      else joined.push(range)
    }
    closed = joined
  }
  return closed
}

/**
 * A set of bytes of a volume, kept as the fewest ascending ranges.
 *
 * Adding at the end, as a transfer does, costs O(log n); elsewhere O(n) for n ranges.
 */
export class RangeSet implements Iterable<Range> {
  /** start, end, start, end...: strictly ascending, so neighbours have merged. */
  readonly #bounds: number[] = []
  #totalBytes = 0

  constructor(ranges: Iterable<Range> = []) {
    for (const { start, end } of ranges) this.add(start, end)
  }

  /** The set that flat bounds (start, end, start, end...) describe, in any order. */
  static fromBounds(bounds: readonly number[]): RangeSet {
    if (bounds.length % 2 !== 0) throw new RangeError(`${bounds.length} bounds are not pairs`)
    const set = new RangeSet()
    for (let i = 0; i < bounds.length; i += 2) set.add(bounds[i], bounds[i + 1])
    return set
  }

  /** Adds [start, end); what is there already stays. */
  add(start: number, end: number): this {
    return this.#put(start, end, true)
  }

  /** Adds every range of the other set. */
  addAll(ranges: Iterable<Range>): this {
    for (const { start, end } of ranges) this.add(start, end)
    return this
  }

  /** Takes [start, end) out. */
  remove(start: number, end: number): this {
    return this.#put(start, end, false)
  }

  /** Takes every range of the other set out. */
  removeAll(ranges: Iterable<Range>): this {
    for (const { start, end } of ranges) this.remove(start, end)
    return this
  }

  /** True when every byte of [start, end) is in the set; an empty range always is. */
  contains(start: number, end: number): boolean {
    if (start === end) return true
    const at = this.#boundsUpTo(start)
    return at % 2 === 1 && this.#bounds[at] >= end
  }

  /** True when any byte of [start, end) is in the set. */
  intersects(start: number, end: number): boolean {
    if (start >= end) return false
    const at = this.#boundsUpTo(start)
    return at % 2 === 1 || (at < this.#bounds.length && this.#bounds[at] < end)
  }

  /** What is missing within [0, sizeBytes), as a new set. */
  complement(sizeBytes: number): RangeSet {
    return new RangeSet([{ start: 0, end: sizeBytes }]).removeAll(this)
  }

  /** Bytes in the set; O(1). */
  get totalBytes(): number {
    return this.#totalBytes
  }

  /** Number of separate ranges. */
  get count(): number {
    return this.#bounds.length / 2
  }

  /** start, end, start, end...: ascending; a copy. */
  toBounds(): number[] {
    return this.#bounds.slice()
  }

  /** A set of its own with the same bytes. */
  clone(): RangeSet {
    return RangeSet.fromBounds(this.#bounds)
  }

  /** The ranges, ascending, none touching another. */
  *[Symbol.iterator](): Generator<Range> {
    for (let i = 0; i < this.#bounds.length; i += 2)
      yield { start: this.#bounds[i], end: this.#bounds[i + 1] }
  }

  /** Makes every byte of [start, end) a member or not: drops the bounds within, and adds one where membership turns. */
  #put(start: number, end: number, member: boolean): this {
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start) {
      throw new RangeError(`[${start}, ${end}) is not a range of bytes`)
    }
    if (start === end) return this
    const first = this.#boundsBefore(start)
    const last = this.#boundsUpTo(end)
    const turns: number[] = []
    if ((first % 2 === 1) !== member) turns.push(start)
    if ((last % 2 === 1) !== member) turns.push(end)
    const dropped = this.#bounds.splice(first, last - first, ...turns)
    const held = bytesBetween(start, end, dropped, first % 2 === 1)
    this.#totalBytes += member ? end - start - held : -held
    return this
  }

  /** Number of bounds below `value`. */
  #boundsBefore(value: number): number {
    return this.#boundsUpTo(value - 1)
  }

  /** Number of bounds at or below `value`; odd: the byte at `value` is in the set. */
  #boundsUpTo(value: number): number {
    let low = 0
    let high = this.#bounds.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#bounds[middle] <= value) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Bytes of [start, end) that are members: membership is `member` before `start`, and turns at each of `bounds`. */
function bytesBetween(start: number, end: number, bounds: readonly number[], member: boolean): number {
  let bytes = 0
  let from = start
  for (const bound of bounds) {
    if (member) bytes += bound - from
    from = bound
    member = !member
  }
  return member ? bytes + end - from : bytes
}
