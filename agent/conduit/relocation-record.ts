/** A relocation as the source keeps it: everything that must outlive a crash. Bytes, and Unix time in ms. */
import type { BodyKind } from '../../protocol/relocation-signed.ts'
import type { KeptBody } from './target-record.ts'
import type { ErrorReport } from '../reports/error-report.ts'
import type { CloudKind, MachineState } from '../clouds/cloud.ts'
import type { RelocationState } from './relocation-state.ts'
import type { ServiceFile } from './service-file.ts'
import type { Handover, RelocationRequest, TargetEvent } from './target.ts'
import type { PlannedPlace } from '../../protocol/relocation-message.ts'

/** A machine of the service, as it was here when the plan was made. */
export interface SourceMachine {
  /** Its name here; at the target it may have another. */
  readonly name: string
  readonly targetName: string
  readonly cloud: CloudKind
  readonly stateBefore: MachineState
  /** Its cloud's marks of it as it was handed over; undefined before, and from versions that noted none. */
  readonly identity?: readonly string[]
}

/** One disk that moves. */
export interface MovingDisk {
  /** Its machine's name here. */
  readonly machine: string
  readonly disk: string
  readonly sizeBytes: number
  readonly allocatedBytes: number
  /** The job that carries it; undefined until it was begun. */
  readonly job?: string
  /** Of its final content; the target has all of it. */
  readonly root?: string
}

/** One round as it went. */
export interface RoundFacts {
  readonly round: number
  /** What had to be looked at. */
  readonly renewedBytes: number
  readonly sentBytes: number
  readonly wireBytes: number
  readonly seconds: number
  /** What the machines wrote meanwhile. */
  readonly dirtyBytes: number
}

/** Rounds that are remembered. */
export const MAX_ROUNDS_KEPT = 64

/** Why the machines must not simply run on here. */
export type GivenAway =
  | 'no'
  /** The target may run them while a lease from here lasts. */
  | 'by-lease'
  /** Committed, or about to be: until it says that nothing of it runs there. */
  | 'for-good'

export interface RelocationRecord {
  /** 32 hex digits. */
  readonly relocation: string
  readonly peer: string
  readonly service: ServiceFile
  readonly live: boolean
  readonly createdAt: number
  readonly request: RelocationRequest
  machines: readonly SourceMachine[]
  /** In the target's words; undefined until it said yes. */
  places?: readonly PlannedPlace[]
  disks: readonly MovingDisk[]
  state: RelocationState
  /** What its owner wants; a wish to go back stays until it is done. */
  wanted: 'run' | 'pause' | 'roll-back' | 'finalize'
  /** The owner wants the cut-over now, whatever the prediction says. */
  forced?: true
  /** Last rounds that failed, after which the machines ran on here. */
  ranOn?: number
  /** They run on, and no round was done since: a cut-over would fail as the one before. */
  roundFirst?: true
  /** Names of machines that finalize has removed here. */
  removed?: readonly string[]
  /** Disks stay when it is finalized. */
  keepDisks?: true
  /** A snapshot was taken, and what it told of writes may be in no job yet. */
  unsure?: true
  rounds: readonly RoundFacts[]
  givenAway: GivenAway
  /** Of the longest lease that is ever granted. */
  leaseMs: number
  /** The target said that nothing of it runs there any more. */
  released?: true
  /** The target knows that it may run them for good. */
  committed?: true
  /** A person here vouches that the target is gone for good: its word is not waited for. */
  targetGone?: true
  /** All machines run here again, as before. */
  restored?: true
  restoredAt?: number
  /** Files that were changed at the target; what is secret is never told. */
  changes: readonly Extract<TargetEvent, { kind: 'changed' }>[]
  /** What the target is doing. */
  detail?: string
  pausedAt?: number
  dataCompleteAt?: number
  healthyAt?: number
  /** Of the verdict, ms. */
  timings?: Extract<TargetEvent, { kind: 'verdict' }>['timings']
  finalizeAt?: number
  /** What both sides signed of it, the last of each kind; on the disk with the next change. */
  evidence?: Partial<Record<BodyKind, KeptBody>>
  error?: ErrorReport
  finishedAt?: number
}

/** Changes that are remembered. */
export const MAX_CHANGES_KEPT = 256

export function freshRelocation(
  begun: Pick<
    RelocationRecord,
    'relocation' | 'peer' | 'service' | 'live' | 'request' | 'machines' | 'disks' | 'leaseMs'
  >,
): RelocationRecord {
  return {
    createdAt: Date.now(),
    state: 'planned',
    wanted: 'run',
    rounds: [],
    givenAway: 'no',
    changes: [],
    ...begun,
  }
}

/** The handover of a relocation whose data is complete; undefined before. */
export function handoverOf({ disks, machines }: RelocationRecord): Handover | undefined {
  const final = disks.map(({ machine, disk, root }) => ({
    machine: machines.find(({ name }) => name === machine)!.targetName,
    disk,
    root: root ?? '',
  }))
  return final.every(({ root }) => root !== '') ? { disks: final } : undefined
}
