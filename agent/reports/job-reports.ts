/** Moves of disks: what is asked for, planned, under way and proven. Plain data only. */
import type { ErrorReport } from './error-report.ts'

export type JobState =
  | 'connecting'
  | 'awaiting-approval'
  | 'running'
  | 'paused'
  | 'reconnecting'
  | 'verifying'
  | 'complete'
  | 'failed'
  | 'cancelled'

/** One job as `jobs`, `watch` and `move` show it. Bytes are numbers; see cli.md for each field. */
export interface JobReport {
  readonly job: string
  readonly direction: 'out' | 'in'
  readonly state: JobState
  readonly peer: string
  readonly peerName: string
  readonly source: string
  readonly destination: string
  readonly logicalBytes: number
  /** Bytes of the volume that are durable at the target, holes included. */
  readonly doneBytes: number
  readonly sentBytes: number
  readonly wireBytes: number
  readonly dedupedBytes: number
  readonly zeroBytes: number
  readonly resumedBytes: number
  readonly bytesPerSecond: number
  readonly wireBytesPerSecond: number
  readonly etaSeconds?: number
  readonly seconds: number
  readonly lanes: number
  readonly path?: 'tls' | 'libp2p' | 'webrtc' | 'relay'
  /** Why not a better path; absent when there is none better. */
  readonly pathReason?: string
  readonly root?: string
  /** Why it is paused, reconnecting or failed. */
  readonly error?: ErrorReport
  readonly createdAt: string
  readonly finishedAt?: string
}

export interface MoveSpec {
  /** Absolute path, or nbd URL. */
  readonly source: string
  /** Peer ID or the name it was paired as. */
  readonly peer: string
  readonly destination: string
  readonly lanes?: number
  /** Bytes a second, all lanes together. */
  readonly bandwidth?: number
  readonly verifyDeep?: boolean
  readonly replace?: boolean
  /** The version that is replaced itself becomes the new one, where it can; with `replace`. */
  readonly inPlace?: boolean
  readonly format?: 'raw' | 'qcow2'
  readonly compression?: 'auto' | 'on' | 'off'
}

export interface PlanReport {
  readonly feasible: boolean
  readonly source: string
  readonly sourceFormat: string
  readonly peer: string
  readonly destination: string
  readonly logicalBytes: number
  readonly allocatedBytes: number
  readonly targetFormat: string
  readonly replacesExisting: boolean
  /** The version that is replaced is changed in place. */
  readonly inPlace?: boolean
  readonly freeBytes?: number
  readonly chunking?: string
  readonly codecs?: readonly string[]
  readonly lanes?: number
  readonly needsApproval: boolean
  /** What speaks for caution, though not against the move; for people. */
  readonly warnings: string[]
  readonly reasons: readonly ErrorReport[]
}

export interface ReceiptReport {
  readonly job: string
  readonly sender: string
  readonly receiver: string
  readonly destination: string
  readonly logicalBytes: number
  readonly dataBytes: number
  readonly zeroBytes: number
  readonly sentBytes: number
  readonly dedupedBytes: number
  readonly resumedBytes: number
  readonly wireBytes: number
  readonly bytesByPath: Readonly<Record<string, number>>
  readonly chunks: number
  readonly chunking: string
  readonly root: string
  readonly path: string
  /** Why the last bytes took no better path, as this side knows. */
  readonly pathReason?: string
  readonly verifiedDeep: boolean
  readonly startedAt: string
  readonly finishedAt: string
  /** base64; Ed25519 over the receipt's body. */
  readonly senderSignature: string
  readonly receiverSignature: string
  readonly signaturesValid: boolean
}

export interface VerifyReport {
  readonly job: string
  readonly match: boolean
  readonly sourceRoot?: string
  readonly targetRoot?: string
  readonly deep: boolean
  readonly checkedBytes: number
  readonly seconds: number
  readonly reasons: readonly ErrorReport[]
}
