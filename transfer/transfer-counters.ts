/** What a job counts, all attempts together; plain data, kept with the job. Bytes. */

import type { StageTimes } from './stage-clock.ts'

export interface TransferCounters {
  /** Payload of chunks that travelled, before compression. */
  sentBytes: number
  /** Chunks the target already held. */
  dedupedBytes: number
  /** Holes and zeros, which never travel. */
  zeroBytes: number
  /** Everything written to the network for the job, both directions. */
  wireBytes: number
  /** Data an earlier attempt had made durable. */
  resumedBytes: number
  /** Of the lanes' threads, when stages are measured: stage-clock.ts. */
  stages?: StageTimes
}

export function createCounters(): TransferCounters {
  return { sentBytes: 0, dedupedBytes: 0, zeroBytes: 0, wireBytes: 0, resumedBytes: 0 }
}
