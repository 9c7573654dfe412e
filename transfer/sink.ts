/** What a volume is written to. Implementations live in backends/ and pass test/conformance/sink.ts. */
import type { Extent, Range } from '../protocol/extent.ts'

/** A writable volume of fixed size. One instance belongs to one thread; several may be open on the same volume. */
export interface Sink extends AsyncDisposable {
  readonly sizeBytes: number
  readonly supports: {
    /** True when what was never written reads as zeros: holes need no zero(). */
    readonly zeroed: boolean
    /** True when zero() gives the space back. */
    readonly sparse: boolean
    /** True when several threads may each open the volume; false: one writer only. */
    readonly shared: boolean
  }
  /** Of a version that is updated in place: the path by which the chunk index knows what it held. */
  readonly former?: string
  /** Told before these ranges are written, of what is written soon; only saves time. */
  prepare?(ranges: readonly Range[]): void
  /** Writes all of `bytes` at `offset`; may finish at once. Throws NO_SPACE or TARGET_WRITE with the offset. */
  write(bytes: Uint8Array, offset: number): void | Promise<void>
  /** Makes the range read as zeros, deallocating where it can. */
  zero(offset: number, lengthBytes: number): void | Promise<void>
  /** Fills `target` from `offset` (what was written, or zeros). Throws TARGET_WRITE on error. */
  read(target: Uint8Array, offset: number): void | Promise<void>
  /** Ranges that may hold data within [from, to); a sink that cannot tell yields the whole range. */
  written(from: number, to: number): AsyncIterable<Extent>
  /** Makes everything written so far by any opener survive a power cut. */
  sync(): Promise<void>
  /** To be called when no opener writes any more and all is synced: what is read from now on is read from the disk. */
  forgetCached?(): void
}
