/** What a destination is, and the place made for it: types only; placement.ts opens them. */
import type { Sink } from './sink.ts'

/** A file inside a granted folder; `name` comes from a peer. */
export interface FileDestination {
  readonly kind: 'file'
  readonly folder: string
  readonly name: string
  readonly format: 'raw' | 'qcow2'
  /** True when a file of this name is to be replaced. */
  readonly replace: boolean
  /** True when that file itself is to become the new version, if it can: see adopted-file.ts. */
  readonly inPlace?: boolean
}

/** Where a volume goes. */
export type Destination =
  | FileDestination
  | { readonly kind: 'block'; readonly path: string }
  | { readonly kind: 'nbd'; readonly url: string }

export interface PlacementOptions {
  /** Id of the job, part of the staging name: letters, digits, - and _. */
  readonly job: string
  readonly sizeBytes: number
  /** How many lane workers will open the sink. */
  readonly lanes: number
  /** Permission bits of a file under its final name, DEFAULT_FILE_MODE unless given; staged, it is its owner's alone. */
  readonly fileMode?: number
  /**
   * Awaited before anything is staged that was not there before, and has its name: from then on nothing that is recorded of the
   * job is true of what is staged. What it throws ends the attempt.
   */
  beginAnew?(): Promise<void>
  readonly signal?: AbortSignal
}

export const DEFAULT_FILE_MODE = 0o600

/** A place that is being filled. Dispose keeps what is staged, so that the job can be resumed. */
export interface Placement extends AsyncDisposable {
  /** What each lane worker gives to openSink(); valid until the placement is disposed, in this process only. */
  readonly sinkUrl: string
  /** Where what was written can be read, if not there: an address for openSource(). */
  readonly readUrl?: string
  /** The main thread's own, for sync and final checks. It may be larger than the volume (devices, qcow2). */
  readonly sink: Sink
  /** True when what this job wrote earlier is still there; always so for devices and exports, which have no staging. */
  readonly resumed: boolean
  /** Absolute path of an existing version under the final name. */
  readonly previous?: string
  /** Where that version lies now, if it was taken from under its name to be updated in place. */
  readonly previousAt?: string
  /** Why it could not be updated in place, though asked for. */
  readonly obstacle?: string
  /** Names the staged file as long as it exists, also under its final name: see isPlaced(). */
  readonly identity: string
  /** Makes everything durable and puts it under its final name. Throws NAME_EXISTS when it was taken meanwhile. */
  commit(signal?: AbortSignal): Promise<{ path: string }>
  /** Removes what is staged; what was written to a device or export stays. */
  discard(): Promise<void>
}
