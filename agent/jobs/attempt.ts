/** What one attempt of a job works with, on either side, and how its bytes are booked. */
import type { Agreement, Offer } from '../../protocol/control-message.ts'
import type { Placement, PlacementOptions } from '../../transfer/destination.ts'
import type { Journal } from '../../transfer/journal.ts'
import type { PreparedSource } from '../../transfer/prepared-source.ts'
import type { HeldRoom } from './incoming-room.ts'
import type { Job } from './job.ts'
import type { JobSignals } from './job-runs.ts'
import type { JobParts } from '../job-parts.ts'
import type { Viaduct } from '../viaduct/viaduct.ts'

/** What an attempt hears of its owner and of the other jobs. */
export type AttemptSignals = Pick<JobSignals, 'signal' | 'onWish' | 'moving'>

export interface OutgoingAttempt extends AttemptSignals {
  readonly parts: JobParts
  readonly job: Job
  readonly source: PreparedSource
  /** What identifies the state of the source that is sent. */
  readonly snapshot: string
  /** What source.fingerprint() said when the attempt began. */
  readonly fingerprint: string
  readonly journal: Journal
}

export interface IncomingAttempt extends AttemptSignals {
  readonly parts: JobParts
  readonly job: Job
  readonly offer: Offer
  readonly agreement: Agreement
  readonly viaduct: Viaduct
  /** What the lanes it begins with, and the rest of it, may take. */
  readonly room: Pick<HeldRoom, 'grow'>
  /** Opens the place for the volume; where the job's record says unless given. */
  place?(options: PlacementOptions): Promise<Placement>
  /** Processor time so far, told with the receipt; of benchmarks only. */
  cpuMs?(): number
}

/** Books what an attempt carries under the path it took; to be done before anybody is told that the job is over. */
export interface WireBooks {
  /** What lanes carried since, under the path they take. */
  lanes(path: string | undefined): void
  /** What the control stream carried since, which counts for the job from then on. */
  control(): void
}

/**
 * Books of one attempt of the job, on this viaduct. What an attempt before counted and did not live to book, since its agent
 * was killed, goes by the path of this one.
 */
export function openBooks({ record }: Job, { stream, relayed }: Viaduct): WireBooks {
  const { counters, wireByPath } = record
  let bookedBytes = Object.values(wireByPath).reduce((sum, bytes) => sum + bytes, 0)
  let controlBytes = 0
  const book = (path: string, bytes: number) => {
    wireByPath[path] = (wireByPath[path] ?? 0) + bytes
    bookedBytes += bytes
  }
  return {
    lanes: (path = 'mesh') => book(path, counters.wireBytes - bookedBytes),
    control() {
      const bytes = stream.wireBytes - controlBytes
      controlBytes += bytes
      counters.wireBytes += bytes
      book(relayed ? 'relay' : 'mesh', bytes)
    },
  }
}
