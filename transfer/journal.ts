/**
 * What is durable of one job, and the manifest entries of it, in level: the memory from which a job resumes and from
 * which its root is computed. Both sides keep one.
 *
 * A key is the job (16 bytes) + the window's start (u64 BE); a value is the window's end (u64 LE) + its entries.
 * Windows never overlap: what is recorded anew replaces what lay there.
 */
import { RangeSet, type Range } from '../protocol/extent.ts'
import { ENTRY_BYTES, entryCount, entryOffset } from '../protocol/manifest.ts'
import { dataBytesOf, type StateLevel } from './chunk-index.ts'
import type { JournalRecord } from './journal-record.ts'
import { LeadingDigest } from './leading-digest.ts'

const PREFIX = Buffer.from('jr', 'latin1')

/** The durable windows of one job. One instance at a time. */
export class Journal {
  readonly #db: StateLevel
  readonly #job: Uint8Array
  #done: RangeSet
  #dataBytes = 0
  #leading: LeadingDigest | undefined

  private constructor(db: StateLevel, job: Uint8Array, done: RangeSet) {
    this.#db = db
    this.#job = job
    this.#done = done
  }

  /** Reads which ranges of the job (16 bytes) are recorded. */
  static async open(db: StateLevel, job: Uint8Array): Promise<Journal> {
    const ranges: Range[] = []
    const journal = new Journal(db, job, new RangeSet())
    for await (const { start, end, entries } of journal.records()) {
      ranges.push({ start, end })
      journal.#dataBytes += dataBytesOf(entries)
    }
    journal.#done = new RangeSet(ranges)
    return journal
  }

  /** Ranges recorded so far. */
  get done(): RangeSet {
    return this.#done
  }

  /** Bytes of the chunks recorded when the journal was opened. */
  get dataBytes(): number {
    return this.#dataBytes
  }

  /** From now on what is recorded is digested on the way, if nothing is yet; until something recorded is taken back. */
  digestAlong(sizeBytes: number, chunking: string): void {
    if (this.#leading?.isOf(sizeBytes, chunking)) return
    this.#leading = this.#done.totalBytes === 0 ? new LeadingDigest(sizeBytes, chunking) : undefined
  }

  /** Hands over what was digested of the volume's beginning, which may be nothing; digesting along ends. */
  takeLeading(sizeBytes: number, chunking: string): LeadingDigest {
    const leading = this.#leading
    this.#leading = undefined
    return leading?.isOf(sizeBytes, chunking) ? leading : new LeadingDigest(sizeBytes, chunking)
  }

  /** Records windows, in one write unless they overlap; with `durable`, they have reached the disk when this resolves. */
  async append(records: readonly JournalRecord[], options: { durable: boolean }): Promise<void> {
    let group: JournalRecord[] = []
    let covered = new RangeSet()
    for (const record of records) {
      if (covered.intersects(record.start, record.end)) {
        await this.#put(group, options)
        group = []
        covered = new RangeSet()
      }
      if (this.#done.intersects(record.start, record.end)) await this.#cut(record, { durable: false })
      group.push(record)
      covered.add(record.start, record.end)
    }
    await this.#put(group, options)
  }

  /** Takes ranges out of what is recorded; on the disk when this resolves. */
  async forget(ranges: Iterable<Range>): Promise<void> {
    for (const range of ranges) {
      if (!this.#done.intersects(range.start, range.end)) continue
      await this.#cut(range, { durable: true })
      this.#done.remove(range.start, range.end)
    }
  }

  /** Recorded windows in order; those that begin at `from` or later. */
  async *records(from = 0): AsyncGenerator<JournalRecord> {
    for await (const [key, value] of this.#db.iterator({ gte: this.#key(from), lte: this.#key(Infinity) })) {
      yield decode(key, value)
    }
  }

  /**
   * Recorded windows in order with `pending` among them, which hold where they lie: of what is recorded there, the rest. Those
   * that begin at `from` or later.
   */
  async *recordsWith(pending: readonly JournalRecord[], from = 0): AsyncGenerator<JournalRecord> {
    const anew = new RangeSet(pending)
    const sorted = pending.toSorted((a, b) => a.start - b.start)
    let next = 0
    for await (const record of this.records(from)) {
      for (const { start, end } of new RangeSet([record]).removeAll(anew)) {
        while (next < sorted.length && sorted[next].start < start) yield sorted[next++]
        yield { start, end, entries: between(record.entries, start, end) }
      }
    }
    yield* sorted.slice(next)
  }

  /** Removes everything recorded of the job; on the disk when this resolves. */
  async clear(): Promise<void> {
    this.#leading = undefined
    if (this.#done.totalBytes === 0) return
    await this.#db.clear({ gte: this.#key(0), lte: this.#key(Infinity) })
    // That cannot be synced itself; any write that is has what went before reach the disk too.
    await this.#db.batch().del(this.#key(0)).write({ sync: true })
    this.#done = new RangeSet()
    this.#dataBytes = 0
  }

  async #put(records: readonly JournalRecord[], { durable }: { durable: boolean }): Promise<void> {
    const batch = this.#db.batch()
    for (const { start, end, entries } of records) batch.put(this.#key(start), encode(end, entries))
    await batch.write({ sync: durable })
    for (const record of records) {
      this.#done.add(record.start, record.end)
      this.#leading?.add(record)
    }
  }

  /** Takes [start, end) out of what is recorded, keeping the parts of records that reach beyond it. */
  async #cut({ start, end }: Range, { durable }: { durable: boolean }): Promise<void> {
    this.#leading = undefined
    const batch = this.#db.batch()
    const [before] = await this.#db
      .iterator({ gte: this.#key(0), lt: this.#key(start), reverse: true, limit: 1 })
      .all()
    const within = await this.#db.iterator({ gte: this.#key(start), lt: this.#key(end) }).all()
    for (const [key, value] of before ? [before, ...within] : within) {
      const record = decode(key, value)
      if (record.end <= start) continue
      batch.del(key)
      if (record.start < start)
        batch.put(this.#key(record.start), encode(start, between(record.entries, record.start, start)))
      if (record.end > end)
        batch.put(this.#key(end), encode(record.end, between(record.entries, end, record.end)))
    }
    await batch.write({ sync: durable })
  }

  #key(start: number): Buffer {
    const key = Buffer.allocUnsafe(PREFIX.length + this.#job.length + 8)
    key.set(PREFIX, 0)
    key.set(this.#job, PREFIX.length)
    key.writeBigUInt64BE(
      start === Infinity ? 2n ** 64n - 1n : BigInt(start),
      PREFIX.length + this.#job.length,
    )
    return key
  }
}

function encode(end: number, entries: Uint8Array): Buffer {
  const value = Buffer.allocUnsafe(8 + entries.length)
  value.writeBigUInt64LE(BigInt(end), 0)
  value.set(entries, 8)
  return value
}

function decode(key: Uint8Array, value: Uint8Array): JournalRecord {
  const keyView = Buffer.from(key.buffer, key.byteOffset, key.length)
  const valueView = Buffer.from(value.buffer, value.byteOffset, value.length)
  return {
    start: Number(keyView.readBigUInt64BE(key.length - 8)),
    end: Number(valueView.readBigUInt64LE(0)),
    entries: valueView.subarray(8),
  }
}

/** The entries that begin within [start, end). */
function between(entries: Uint8Array, start: number, end: number): Uint8Array {
  let first = 0
  let last = entryCount(entries)
  while (first < last && entryOffset(entries, first) < start) first++
  while (last > first && entryOffset(entries, last - 1) >= end) last--
  return entries.subarray(first * ENTRY_BYTES, last * ENTRY_BYTES)
}
