/** What a volume is read from. Implementations live in backends/ and pass test/conformance/source.ts. */
import type { Extent } from '../protocol/extent.ts'

/** A readable volume. One instance belongs to one thread; several may be open on the same volume. */
export interface Source extends AsyncDisposable {
  readonly sizeBytes: number
  readonly supports: {
    /** True when extents() leaves out holes without reading them. */
    readonly holes: boolean
  }
  /** Allocated ranges from `from` on, ascending, not overlapping; at most 1 GiB each. Lazily found. */
  extents(from: number, options?: { signal?: AbortSignal }): AsyncIterable<Extent>
  /**
   * Fills `target` from `offset`, whole or not at all.
   * May finish at once (no promise) when the bytes are at hand.
   * Throws SOURCE_READ with the offset, or SOURCE_CHANGED when the volume ended early.
   */
  read(target: Uint8Array, offset: number): void | Promise<void>
  /** Tells the system that this range is read next; costs nothing when it cannot. */
  prefetch(offset: number, lengthBytes: number): void
  /** A short text that differs when the content may have changed (size, mtime, inode...). */
  fingerprint(): Promise<string>
}
