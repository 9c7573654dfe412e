/** A job as it is kept in the state store: everything that must outlive a crash. Bytes, and Unix time in ms. */
import type { ErrorCode } from '../../protocol/errors.ts'
import type { Range } from '../../protocol/extent.ts'
import type { ImageFormat } from '../../transfer/backends/image-format.ts'
import type { Destination } from '../../transfer/destination.ts'
import { createCounters, type TransferCounters } from '../../transfer/transfer-counters.ts'
import type { ErrorReport } from '../reports/error-report.ts'
import type { JobState } from '../reports/job-reports.ts'

/** What the owner of a job asked for. */
export interface JobOptions {
  /** Undefined: as many as the line asks for, see lane-count.ts. */
  readonly lanes?: number
  /** Bytes a second; undefined: no limit. */
  readonly bandwidth?: number
  readonly verifyDeep: boolean
  readonly replace: boolean
  /** The version that is replaced may become the new one; with `replace` only. */
  readonly inPlace?: boolean
  readonly format: 'raw' | 'qcow2'
  readonly compression: 'auto' | 'on' | 'off'
}

/** A signed body as both sides keep it; base64. */
export interface SignedBody {
  readonly body: string
  readonly senderSignature: string
  readonly receiverSignature: string
}

/** How the rounds of a job stand, see rounds.ts. */
export interface Rounds {
  /** What the job belongs to; nobody else pauses or ends it. */
  readonly owner: string
  readonly number: number
  readonly url: string
  readonly epoch: string
  readonly last: boolean
  /** Whole windows' cells that the receiver has to take for out of date before data flows. */
  readonly renewed: readonly Range[]
}

export interface JobRecord {
  /** 32 hex digits. */
  readonly job: string
  readonly direction: 'out' | 'in'
  readonly peer: string
  /** Path or URL here; on the receiving side what the sender calls it. */
  readonly source: string
  /** A name at the target. */
  readonly destination: string
  readonly options: JobOptions
  /** Set for a benchmark; no such record is ever kept. */
  readonly bench?: true
  readonly createdAt: number
  /** What its owner wants; a job that is to be cancelled stays so until the other side knows. */
  wanted: 'run' | 'pause' | 'cancel'
  state: JobState
  sizeBytes: number
  /** Data in it, as the sender last told; receiving side. */
  allocatedBytes?: number
  /** What the source was taken for when it was first opened, and is read as from then on; sending side. */
  sourceFormat?: ImageFormat
  /** Fingerprint of the source that the journal belongs to; none before anything is staged for it. */
  snapshot?: string
  /** Of a volume that is written to while it moves; sending side. */
  rounds?: Rounds
  chunking?: string
  counters: TransferCounters
  /** Bytes on the wire by the kind of path they took. */
  wireByPath: Record<string, number>
  /** Where it is put; receiving side. */
  target?: Destination
  /** Identity of the staged file, noted just before it gets its final name, to find it there after a crash; receiving side. */
  placed?: string
  /** What it changed in place could not be put back yet: tried when the agent starts, and when it is cancelled again. */
  stranded?: true
  /** Scope of the grant in the chunk index; receiving side. */
  scope?: string
  /** A person said yes; receiving side. */
  approved?: boolean
  agreement?: SignedBody
  /** The receiver's copy lacks the sender's signature until it came. */
  receipt?: SignedBody
  root?: string
  /** The sender wrote twice to one place: the target is read back before it is believed; receiving side. */
  readBack?: boolean
  /** False while a complete job's chunks are not all in the index; receiving side. */
  indexed?: boolean
  error?: ErrorReport
  /** Why its bytes take no better path. */
  pathReason?: string
  /** It failed for good, or both have signed for it, and the receiver may not know yet; sending side. */
  untold?: true
  /** Its peer has heard nothing of it yet; sending side. */
  unoffered?: true
  /** Broken or lying frames, and passes over a source that changed. */
  offences: number
  rescans: number
  startedAt?: number
  finishedAt?: number
}

/** The record of a job that begins now. */
export function freshRecord(
  begun: Pick<JobRecord, 'job' | 'direction' | 'peer' | 'source' | 'destination' | 'options'> &
    Partial<JobRecord>,
): JobRecord {
  return {
    createdAt: Date.now(),
    wanted: 'run',
    state: 'connecting',
    sizeBytes: 0,
    counters: createCounters(),
    wireByPath: {},
    offences: 0,
    rescans: 0,
    ...begun,
  }
}

/** States in which nothing more happens by itself. */
export function isOver(state: JobState): boolean {
  return state === 'complete' || state === 'failed' || state === 'cancelled'
}

/** The target's disk or the source's: until somebody puts it right. */
const RESTING: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['NO_SPACE', 'TARGET_WRITE', 'SOURCE_READ'])

/**
 * True for what a job rests with, on either side, until its owner resumes it. So is a name that was taken since the target agreed:
 * what came is kept there.
 */
export function restsWith({ chunking, options }: JobRecord, code: ErrorCode): boolean {
  return RESTING.has(code) || (code === 'NAME_EXISTS' && chunking !== undefined && !options.inPlace)
}
