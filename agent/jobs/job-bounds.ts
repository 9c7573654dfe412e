/** What a peer may hold or use up in jobs here. The values are in limits.ts; a test gives smaller ones. */
import {
  MAX_INCOMING_BYTES,
  MAX_INCOMING_BYTES_PER_PEER,
  MAX_VERIFIES_PER_MINUTE,
  MAX_VERIFIES_WAITING,
  PROGRESS_TIMEOUT_MS,
} from '../../protocol/limits.ts'

export interface JobBounds {
  /** An attempt in which something is owed and nothing moves for this long is over. */
  readonly progressTimeoutMs: number
  /** Memory of all attempts that receive, and of those of one peer. */
  readonly incomingBytes: number
  readonly incomingBytesPerPeer: number
  readonly verifiesPerMinute: number
  /** Requests of one peer that may wait for the one that is answered. */
  readonly verifiesWaiting: number
}

export const JOB_BOUNDS: JobBounds = {
  progressTimeoutMs: PROGRESS_TIMEOUT_MS,
  incomingBytes: MAX_INCOMING_BYTES,
  incomingBytesPerPeer: MAX_INCOMING_BYTES_PER_PEER,
  verifiesPerMinute: MAX_VERIFIES_PER_MINUTE,
  verifiesWaiting: MAX_VERIFIES_WAITING,
}
