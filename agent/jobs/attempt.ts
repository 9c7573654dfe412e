/** What one attempt of a job works with, on either side, and how its bytes are booked. */
import type { Agreement, Offer } from '../../protocol/control-message.ts'
import type { Placement, PlacementOptions } from '../../transfer/destination.ts'
import type { Journal } from '../../transfer/journal.ts'
import type { PreparedSource } from '../../transfer/prepared-source.ts'
import type { HeldRoom } from './incoming-room.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'
import type { Viaduct } from '../viaduct/viaduct.ts'

export interface OutgoingAttempt {
  readonly parts: JobParts
  readonly job: Job
  readonly source: PreparedSource
  /** What identifies the state of the source that is sent. */
  readonly snapshot: string
  /** What source.fingerprint() said when the attempt began. */
  readonly fingerprint: string
  readonly journal: Journal
  readonly signal: AbortSignal
  /** Called when the job's owner asks for a pause or its end while the attempt runs. */
  onWish(listener: () => void): Disposable
}

export interface IncomingAttempt {
  readonly parts: JobParts
  readonly job: Job
  readonly offer: Offer
  readonly agreement: Agreement
  readonly viaduct: Viaduct
  /** What the lanes it begins with, and the rest of it, may take. */
  readonly room: Pick<HeldRoom, 'grow'>
  readonly signal: AbortSignal
  onWish(listener: () => void): Disposable
  /** Opens the place for the volume; where the job's record says unless given. */
  place?(options: PlacementOptions): Promise<Placement>
  /** Processor time so far, told with the receipt; of benchmarks only. */
  cpuMs?(): number
}

/** Books bytes under the path they took; those of the control stream also count for the job. */
export function count(job: Job, bytes: number, path: string, { counted = false } = {}): void {
  job.record.wireByPath[path] = (job.record.wireByPath[path] ?? 0) + bytes
  if (!counted) job.record.counters.wireBytes += bytes
}
