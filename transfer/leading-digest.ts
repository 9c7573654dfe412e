/**
 * The digest of a volume, made while its windows are recorded: at the end of a job only what is not in it yet is read from
 * the journal, rather than 44 bytes for each chunk of the volume while everybody waits.
 *
 * Lanes are apart, so windows come out of order; those ahead wait here, within a bound. What finds no room is read from the
 * journal in the end, with all behind it.
 */
import { FluidError } from '../protocol/errors.ts'
import { createRoot, entryCount, type Root } from '../protocol/manifest.ts'
import { dataBytesOf } from './chunk-index.ts'
import type { JournalRecord } from './journal-record.ts'

/** A volume's root and the sums that go into its receipt. */
export interface VolumeDigest {
  /** 32 bytes. */
  readonly root: Uint8Array
  readonly chunks: number
  readonly dataBytes: number
}

/** Entries of windows ahead: of some 6 GiB of usual data. */
const MAX_AHEAD_BYTES = 4 * 1024 * 1024

export class LeadingDigest {
  readonly #sizeBytes: number
  readonly #chunking: string
  readonly #root: Root
  /** Windows behind a gap, by their start. */
  readonly #ahead = new Map<number, JournalRecord>()
  #aheadBytes = 0
  #end = 0
  #chunks = 0
  #dataBytes = 0

  constructor(sizeBytes: number, chunking: string) {
    this.#sizeBytes = sizeBytes
    this.#chunking = chunking
    this.#root = createRoot(sizeBytes, chunking)
  }

  /** True when it was begun for a volume of this size and chunking. */
  isOf(sizeBytes: number, chunking: string): boolean {
    return this.#sizeBytes === sizeBytes && this.#chunking === chunking
  }

  /** What lies before is digested. */
  get end(): number {
    return this.#end
  }

  /** Takes a window; one that was taken before changes nothing. It overlaps no other. */
  add(record: JournalRecord): void {
    if (record.start !== this.#end) {
      if (record.start < this.#end || this.#ahead.has(record.start)) return
      const bytes = this.#aheadBytes + record.entries.length
      if (bytes > MAX_AHEAD_BYTES) return
      this.#ahead.set(record.start, record)
      this.#aheadBytes = bytes
      return
    }
    for (let next: JournalRecord | undefined = record; next; next = this.#ahead.get(this.#end)) {
      if (this.#ahead.delete(next.start)) this.#aheadBytes -= next.entries.length
      this.#root.update(next.entries)
      this.#chunks += entryCount(next.entries)
      this.#dataBytes += dataBytesOf(next.entries)
      this.#end = next.end
    }
  }

  /** The digest of the whole volume; the last that is done with it. Throws VERIFY_MISMATCH when not all of it was added. */
  finish(): VolumeDigest {
    if (this.#end !== this.#sizeBytes)
      throw new FluidError(
        'VERIFY_MISMATCH',
        `Of ${this.#sizeBytes} bytes only the first ${this.#end} are known`,
      )
    return { root: this.#root.digest(), chunks: this.#chunks, dataBytes: this.#dataBytes }
  }
}
