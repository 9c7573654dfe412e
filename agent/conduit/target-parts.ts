/** What arrivals are made of: parts of the running agent. */
import type { Logger } from 'pino'
import type { EditMigrator } from '../../transfer/migrator.ts'
import type { WritableGuestFiles } from '../../transfer/guest-files.ts'
import type { WritableDisk } from '../../transfer/guest/open-writable-guest.ts'
import type { CloudsConfig } from '../clouds/cloud-config.ts'
import type { Clouds } from '../clouds/open-cloud.ts'
import type { Identity } from '../identity.ts'
import type { HeldPlaces } from '../jobs/held-places.ts'
import type { JobRecord } from '../jobs/job-record.ts'
import type { Table } from '../state-store.ts'
import type { RelocationRecord } from './relocation-record.ts'
import type { ArrivalRecord } from './target-record.ts'
import type { MigratorStep } from '../../protocol/relocation-message.ts'

export interface ArrivalParts {
  readonly identity: Pick<Identity, 'peerId' | 'sign'>
  readonly clouds: Clouds
  /** As guards open them. */
  readonly cloudsConfig: CloudsConfig
  readonly table: Table<ArrivalRecord>
  /** Formats that this agent can write. */
  readonly writableFormats: readonly string[]
  readonly log: Logger
  /** A folder of this relocation alone: its guard, and what was changed. */
  folderOf(relocation: string): string
  removeFolder(relocation: string): Promise<void>
  readonly heldPlaces: HeldPlaces
  /** Jobs as they are kept. */
  jobs(): Iterable<JobRecord>
  /** Relocations from this agent, as they are kept. */
  departures(): Promise<readonly Pick<RelocationRecord, 'state' | 'machines' | 'removed'>[]>
  /** Ends those that put, or would put, something under its places. */
  cancelJobs(record: Pick<ArrivalRecord, 'peer' | 'places'>): Promise<void>
  /** The Migrator of that name and major version. Throws POLICY_DENIED, VERSION_UNSUPPORTED, MIGRATOR_FAILED. */
  migrator(step: MigratorStep): Promise<EditMigrator>
  /** Object stores on this host that may be asked, address:port. */
  readonly stores: readonly string[]
  openGuest?(disks: readonly WritableDisk[], options: { signal: AbortSignal }): Promise<WritableGuestFiles>
}
