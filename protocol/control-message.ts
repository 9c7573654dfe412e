/** What the control stream says, decoded and validated; viaduct.md gives the meaning of each message. */
import type { ErrorCode } from './errors.ts'
import type { Range } from './extent.ts'

/** What one agent can do; lists are best first. */
export interface Capabilities {
  readonly chunkings: readonly string[]
  readonly codecs: readonly string[]
  readonly lanes: readonly string[]
  /** What it can write. */
  readonly formats: readonly string[]
  readonly maxLanes: number
}

/** Who speaks, and in which versions. */
export interface Hello {
  readonly major: number
  /** The highest minor known. */
  readonly minor: number
  /** Software and version, for people. */
  readonly agent: string
  readonly capabilities: Capabilities
}

/** How lanes to one side are opened and proven, in one attempt. */
export interface LaneEndpoint {
  /** host:port, best first; empty when this side cannot be dialed. */
  readonly addresses: readonly string[]
  /** 16 bytes. */
  readonly token: Uint8Array
  /** DER of the certificate this side shows. */
  readonly certificate: Uint8Array
}

export type Compression = 'auto' | 'on' | 'off'

/** What moves, and where to. */
export interface Offer {
  /** 16 bytes, the same for every attempt. */
  readonly job: Uint8Array
  readonly destination: string
  readonly sizeBytes: number
  readonly allocatedBytes: number
  readonly sourceFormat: string
  /** Differs whenever the source may have changed. */
  readonly snapshot: string
  readonly targetFormat: string
  readonly replace: boolean
  readonly verifyDeep: boolean
  readonly chunkings: readonly string[]
  readonly codecs: readonly string[]
  readonly lanes: number
  readonly dryRun: boolean
  /** Absent in a dry run. */
  readonly endpoint?: LaneEndpoint
  readonly label: string
  readonly compression: Compression
  /** Set for a benchmark: the receiver throws away what arrives, and keeps nothing of the job. */
  readonly bench?: true
  /** Whoever dials may add lanes up to so many; absent: none. */
  readonly mostLanes?: number
  /** Set when a version of this name may be changed in place, rather than a new one made beside it. */
  readonly inPlace?: true
}

/** What both sides sign before anything moves. */
export interface Agreement {
  readonly job: Uint8Array
  /** Peer IDs, as text. */
  readonly sender: string
  readonly receiver: string
  readonly destination: string
  readonly sizeBytes: number
  readonly allocatedBytes: number
  readonly snapshot: string
  readonly targetFormat: string
  readonly replace: boolean
  readonly verifyDeep: boolean
  readonly chunking: string
  readonly codecs: readonly string[]
  readonly lanes: number
  readonly minor: number
  /** Unix time at the receiver. */
  readonly agreedAtMs: number
  /** True when a version lies under this name now. */
  readonly replacesExisting: boolean
  /** At the receiver, when agreed. */
  readonly freeBytes: number
  /** True when the receiver holds staged data of this job. */
  readonly resumes: boolean
  /** Whoever dials may add lanes up to so many; absent: none. */
  readonly mostLanes?: number
  /** Set when the version of this name is to be changed in place. */
  readonly inPlace?: true
}

/** Why something was refused. */
export interface Reason {
  readonly code: ErrorCode
  readonly message: string
}

/** What the sender counted; all attempts together. */
export interface SenderTotals {
  /** Payload before compression. */
  readonly sentBytes: number
  readonly wireBytes: number
  readonly resumedBytes: number
  readonly startedAtMs: number
  readonly path: string
}

/** What moved: signed by both sides and kept. */
export interface Receipt {
  readonly job: Uint8Array
  readonly sender: string
  readonly receiver: string
  readonly destination: string
  readonly snapshot: string
  readonly sizeBytes: number
  /** 32 bytes. */
  readonly root: Uint8Array
  readonly chunking: string
  readonly chunks: number
  readonly dataBytes: number
  readonly zeroBytes: number
  readonly sentBytes: number
  readonly dedupedBytes: number
  readonly resumedBytes: number
  /** Both directions, all attempts. */
  readonly wireBytes: number
  readonly path: string
  readonly verifiedDeep: boolean
  readonly startedAtMs: number
  readonly finishedAtMs: number
  /** BLAKE3 of the agreement's body. */
  readonly agreementDigest: Uint8Array
}

export type ControlMessage =
  | ({ readonly kind: 'hello' } & Hello)
  | ({ readonly kind: 'offer' } & Offer)
  | { readonly kind: 'pending'; readonly reason: string }
  | {
      readonly kind: 'agreement'
      /** An encoded Agreement, exactly as it was signed. */
      readonly body: Uint8Array
      readonly signature: Uint8Array
      readonly endpoint?: LaneEndpoint
    }
  | { readonly kind: 'refusal'; readonly reasons: readonly Reason[] }
  | {
      readonly kind: 'accept'
      readonly signature: Uint8Array
      /** What is durable at the receiver in these ranges is out of date; whole windows. Absent: nothing. */
      readonly renewed?: readonly Range[]
    }
  | {
      readonly kind: 'committed'
      readonly ranges: readonly Range[]
      readonly more: boolean
      /** Of chunks that may come before they are wanted, on each lane. */
      readonly unaskedBytes?: number
    }
  | { readonly kind: 'lane-report'; readonly opened: number; readonly reason: string }
  | { readonly kind: 'checkpoint'; readonly ranges: readonly Range[] }
  | { readonly kind: 'pause'; readonly reason: string }
  | { readonly kind: 'resume' }
  | { readonly kind: 'cancel'; readonly reason: string }
  | { readonly kind: 'complete'; readonly root: Uint8Array; readonly totals: SenderTotals }
  | { readonly kind: 'verifying'; readonly doneBytes: number; readonly totalBytes: number }
  | {
      readonly kind: 'receipt'
      /** An encoded Receipt, exactly as it was signed. */
      readonly body: Uint8Array
      readonly receiverSignature: Uint8Array
      /** Absent in the receiver's first copy. */
      readonly senderSignature?: Uint8Array
      /** Of a benchmark: processor time the receiver's process took. */
      readonly cpuMs?: number
    }
  | {
      readonly kind: 'status'
      readonly code: ErrorCode
      readonly message: string
      readonly fatal: boolean
      /** Byte offset of the volume it speaks of. */
      readonly offset?: number
    }
  | { readonly kind: 'heartbeat'; readonly doneBytes: number }
  | { readonly kind: 'verify-request'; readonly job: Uint8Array; readonly deep: boolean }
  | {
      readonly kind: 'verify-result'
      /** Absent when the volume could not be read. */
      readonly root?: Uint8Array
      readonly checkedBytes: number
      readonly error?: Reason
    }
  /** A message of a later minor: receivers ignore it. */
  | { readonly kind: 'unknown' }

/** One kind of control message. */
export type ControlMessageOf<K extends ControlMessage['kind']> = Extract<ControlMessage, { kind: K }>
