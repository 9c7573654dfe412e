import type { Range } from '../protocol/extent.ts'

/** A window that became durable: its range and its manifest entries. */
export interface JournalRecord extends Range {
  readonly entries: Uint8Array
}
