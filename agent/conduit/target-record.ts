/** A relocation as its target keeps it: everything that must outlive a crash. Unix times in ms. */
import type { Objection, PlannedPlace, Signed, TargetStanding } from '../../protocol/relocation-message.ts'
import type { BodyKind } from '../../protocol/relocation-signed.ts'
import type { CloudKind } from '../clouds/cloud.ts'
import type { PlacesClaim } from '../jobs/held-places.ts'
import type { RelocationRequest } from './target.ts'

/** A state is kept before what it allows is done, so after a crash the record says the most that may have happened. */
export type ArrivalState =
  // Asked, and waits for a person. In: the start. Out: prepared, released.
  | 'awaiting'
  // Names are taken; disks may be on their way. Out: adapting, releasing.
  | 'prepared'
  // Handed over: Migrators change the disks, no machine is made yet. Out: starting, releasing.
  | 'adapting'
  // Machines are made, started and asked whether they serve, each on a lease. Out: healthy, releasing.
  | 'starting'
  // The verdict is signed; machines run on leases until the source decides. Out: committed, releasing.
  | 'healthy'
  // The source has pledged never to run them again. Out: finalized, releasing.
  | 'committed'
  // Machines, disks and whatever else is being removed. Out: released.
  | 'releasing'
  // Ends: nothing is left; and: it is the target's alone.
  | 'released'
  | 'finalized'

/** A signed body, base64. */
export interface KeptBody {
  readonly body: string
  readonly signature: string
}

export interface Outcome {
  readonly healthy: boolean
  readonly objections: readonly Objection[]
  readonly timings: Readonly<Record<'adapting' | 'registering' | 'starting' | 'checking', number>>
}

export interface ArrivalRecord {
  /** 32 hex digits. */
  readonly relocation: string
  readonly peer: string
  readonly createdAt: number
  state: ArrivalState
  request: RelocationRequest
  places: readonly PlannedPlace[]
  readonly cloud: CloudKind
  /** The granted folder, in which the places are. */
  readonly folder: string
  /** A person said yes. */
  approved?: boolean
  /** Machines that may have been made here. */
  made: readonly string[]
  /** Machines that were told to start. */
  started: readonly string[]
  /** What both sides signed. */
  evidence: Partial<Record<BodyKind, KeptBody>>
  outcome?: Outcome
  /** Of what is done so far, ms. */
  timings?: Partial<Outcome['timings']>
  /** Why it is, or was, released. */
  reason?: string
  /** When the source last said something of it. */
  touchedAt: number
}

/** States in which nothing more happens by itself. */
export function isArrivalOver(state: ArrivalState): boolean {
  return state === 'released' || state === 'finalized'
}

/** States in which machines may run only on a lease. */
export function needsLease(state: ArrivalState): boolean {
  return state === 'adapting' || state === 'starting' || state === 'healthy'
}

/** What it claims of its places; nothing while a person is asked, and once they are empty. */
export function claimOf({ state, folder, places, createdAt }: ArrivalRecord): PlacesClaim | undefined {
  if (state === 'awaiting' || state === 'released') return undefined
  const names = places.map(({ destination }) => destination)
  return { folder, names, createdAt, isHeld: state !== 'prepared' }
}

/** What the source is told; `held` when machines were started and no lease lets them run. */
export function standingOf(state: ArrivalState, held: boolean): TargetStanding {
  switch (state) {
    case 'awaiting':
      return 'unknown'
    case 'prepared':
    case 'committed':
      return state
    case 'adapting':
      return 'starting'
    case 'starting':
    case 'healthy':
      return held ? 'suspended' : state
    // It is so as far as the source goes: nothing runs there any more, or soon.
    case 'releasing':
    case 'released':
      return 'released'
    case 'finalized':
      return 'unknown'
  }
}

export function keptBody({ body, signature }: Signed): KeptBody {
  return { body: Buffer.from(body).toString('base64'), signature: Buffer.from(signature).toString('base64') }
}

export function signedOf({ body, signature }: KeptBody): Signed {
  return { body: Buffer.from(body, 'base64'), signature: Buffer.from(signature, 'base64') }
}
