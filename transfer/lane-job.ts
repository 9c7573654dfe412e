/** What the main thread and a lane worker say to each other: plain data over one MessagePort a lane. */
import type { MessagePort } from 'node:worker_threads'
import type { ErrorCode } from '../protocol/errors.ts'
import type { Extent } from '../protocol/extent.ts'
import type { Scope } from './chunk-index.ts'
import type { Chunking } from './chunker.ts'
import type { LaneDescriptor, LanePath, LineState } from './lane.ts'
import type { StageTimes } from './stage-clock.ts'

/** Sends windows that the main thread hands out. */
export interface SendJob {
  readonly role: 'send'
  readonly lane: LaneDescriptor
  readonly sourceUrl: string
  readonly chunking: Chunking
  /** Kept in memory at a time; at least 2, at most WINDOWS_PER_LANE. */
  readonly windows: number
  readonly compression: 'auto' | 'on' | 'off'
  /** Rate limits that all hold, see pacer.ts; none: as fast as the line goes. */
  readonly pacers: readonly SharedArrayBuffer[]
  /** Of the lane's first chunks, which the receiver takes before it wants them. */
  readonly unaskedBytes: number
  /** A version is changed in place: little is sent, and most of the work is to read. */
  readonly rereads?: boolean
}

/** Receives windows and places them. */
export interface ReceiveJob {
  readonly role: 'receive'
  readonly lane: LaneDescriptor
  readonly sinkUrl: string
  readonly sizeBytes: number
  /** Path of the agent's state database, for the chunk index. */
  readonly statePath: string
  /** Scopes this peer may find chunks in, best first; empty: nothing to look up. */
  readonly scopes: readonly Scope[]
  /** See recent-chunks.ts. */
  readonly recent: SharedArrayBuffer
  /** Of chunks that have an older version at their place, only blocks that differ are asked for. */
  readonly comparesBlocks: boolean
  /** Path of the version that is replaced, when it is another file. */
  readonly previous?: string
  /** Of the lane's first chunks, which the sender may send before they are wanted. */
  readonly unaskedBytes: number
  /** There is an old version at the target's place: most of the work is to read it again. */
  readonly rereads: boolean
}

/** Reads windows and digests them, without a line: verification and seeds. */
export interface ScanJob {
  readonly role: 'scan'
  readonly sourceUrl: string
  readonly chunking: Chunking
}

export type LaneJob = SendJob | ReceiveJob | ScanJob

/** Main thread to worker, on the worker's own port. */
export interface OpenLane {
  readonly job: LaneJob
  readonly port: MessagePort
}

/** Main thread to lane. */
export type ToLane =
  | {
      readonly type: 'window'
      readonly start: number
      readonly end: number
      readonly extents: readonly Extent[]
    }
  /** A lane of the job saw that the line loses packets. */
  | { readonly type: 'line-loses' }
  /** So many more of the windows that the lane placed are noted. */
  | { readonly type: 'noted'; readonly windows: number }
  | { readonly type: 'finish' }
  | { readonly type: 'abort' }

/** Bytes and time of a lane since it opened. */
export interface LaneCounters {
  readonly wireSentBytes: number
  readonly wireReceivedBytes: number
}

/** Lane to main thread. */
export type FromLane =
  | { readonly type: 'opened'; readonly path: LanePath }
  /** Ready to take one more window. */
  | { readonly type: 'next' }
  /** A window was read, by a lane that only reads: its manifest entries. */
  | { readonly type: 'scanned'; readonly start: number; readonly end: number; readonly entries: Uint8Array }
  /** All wanted chunks of the window were handed to the line. */
  | {
      readonly type: 'sent'
      readonly start: number
      readonly end: number
      readonly entries: Uint8Array
      readonly sentBytes: number
      readonly dataBytes: number
    }
  /** The sender announced a window; `missing`: it holds chunks that were not here. */
  | { readonly type: 'announced'; readonly start: number; readonly end: number; readonly missing: boolean }
  /** A window is on the target's disk, though not yet durable. */
  | {
      readonly type: 'placed'
      readonly start: number
      readonly end: number
      readonly entries: Uint8Array
      readonly receivedBytes: number
    }
  | ({ readonly type: 'counters'; readonly line?: LineState } & LaneCounters)
  | ({
      readonly type: 'closed'
      readonly error?: LaneFault
      /** Of the whole thread since a lane of it closed last, when stages are measured. */
      readonly stages?: StageTimes
    } & LaneCounters)

/** An error that crossed a thread. */
export interface LaneFault {
  readonly code: ErrorCode
  readonly message: string
  readonly offset?: number
}
