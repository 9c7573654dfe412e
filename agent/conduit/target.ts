/**
 * The target of a relocation as the source's Conduit drives it. Over the wire it is target-client.ts, and what answers
 * there is target-host.ts; protocol/relocation.md has the messages.
 *
 * Of any machine at most one side may let it run. The source owns that right until it hands over; from then on the target
 * holds it only while a lease from the source runs, until the source commits.
 */
import type { ErrorCode } from '../../protocol/errors.ts'
import type { Machine } from '../clouds/cloud.ts'

/** One Migrator to run on a machine's disks at the target, with what it is given. */
export interface MigratorStep {
  readonly migrator: string
  /** Semantic version the source's plan was made with; the target's has the same major. */
  readonly version: string
  /** As JSON at most MAX_STEP_BYTES; checked by the Migrator itself. */
  readonly input: unknown
}

/** How a machine is asked whether it serves. */
export type HealthCheck =
  | { readonly kind: 'http'; readonly url: string; readonly status?: number; readonly contains?: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }

export interface PlannedDisk {
  readonly id: string
  readonly sizeBytes: number
  /** Data in it, roughly. */
  readonly allocatedBytes: number
}

export interface PlannedMachine {
  /** As the source's cloud describes it; names, networks and forwards already those wanted at the target. */
  readonly machine: Machine
  readonly disks: readonly PlannedDisk[]
  readonly steps: readonly MigratorStep[]
}

/** What the source asks the target to take in. */
export interface RelocationRequest {
  /** 32 hex digits. */
  readonly relocation: string
  readonly service: string
  readonly live: boolean
  /** In the order in which they start. */
  readonly machines: readonly PlannedMachine[]
  readonly health: readonly HealthCheck[]
  /** Milliseconds from the start of the first machine until all checks have passed. */
  readonly gateMs: number
}

/** A reason to say no. */
export interface Objection {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
}

export interface PlannedPlace {
  readonly machine: string
  readonly disk: string
  /** The name under which a move to the target puts this disk. */
  readonly destination: string
  readonly format: 'raw' | 'qcow2'
}

/** What the target says to a request: nothing is reserved while it objects. */
export type RelocationAnswer =
  | {
      readonly accepted: true
      readonly places: readonly PlannedPlace[]
      readonly warnings: readonly string[]
    }
  | { readonly accepted: false; readonly objections: readonly Objection[] }

/** The source's word that its machines are stopped and these are their final disks. */
export interface Handover {
  /** Roots as the receipts of the moves have them: b3: and 64 hex digits. */
  readonly disks: readonly { readonly machine: string; readonly disk: string; readonly root: string }[]
}

export type TargetEvent =
  | {
      readonly kind: 'progress'
      readonly stage: 'adapting' | 'registering' | 'starting' | 'checking'
      readonly detail: string
    }
  /** Files as the Migrators changed them; never what is secret. */
  | { readonly kind: 'changed'; readonly machine: string; readonly path: string; readonly diff: string }
  /** The end: healthy, or everything is stopped there and removed, and the source may run again. */
  | {
      readonly kind: 'verdict'
      readonly healthy: boolean
      readonly objections: readonly Objection[]
      /** Milliseconds: edits, definition, start until the first check passed, and until all have. */
      readonly timings: Readonly<Record<'adapting' | 'registering' | 'starting' | 'checking', number>>
    }

/** Where a relocation stands at the target. */
export type TargetStanding =
  | 'unknown'
  | 'prepared'
  | 'starting'
  | 'healthy'
  | 'suspended'
  | 'committed'
  | 'released'

/** Decides whether the target's lease may go on; asked at each request for one. */
export interface LeaseGrantor {
  /** Grants `ms` from now on, or false: never again. Durable facts only: it must say the same after a crash. */
  grant(ms: number): boolean
  /**
   * Called in the same turn as each grant with when (performance.now() clock) the last of it has surely ended. After a
   * crash of the source nobody knows: then it is grantedUntil(now, LEASE_MS) of lease.ts.
   */
  onGranted(endsAt: number): void
}

/** One conversation with the target; reopened after a cut line. Every call throws PEER_UNREACHABLE, POLICY_DENIED, TIMEOUT. */
export interface RelocationTarget extends AsyncDisposable {
  /** Asks, and reserves on yes; idempotent. With `dry`, reserves nothing. */
  prepare(request: RelocationRequest, options: { dry: boolean }): Promise<RelocationAnswer>
  /**
   * Hands the right to run over; ends with a verdict. Leases are granted from here until commit(), abort(), a failure or
   * disposal, so after the verdict too. After a cut line the same handover in another conversation goes on where it was.
   */
  start(handover: Handover, grantor: LeaseGrantor): AsyncIterable<TargetEvent>
  /** The source has given up the right to run for good. Idempotent. */
  commit(): Promise<void>
  /**
   * Everything of this relocation ends there, whatever its standing: when it resolves nothing runs and nothing is left.
   * Idempotent. Throws JOB_STATE after finalize().
   */
  abort(reason: string): Promise<void>
  /** The source is gone: the target forgets that there was one. Idempotent. */
  finalize(): Promise<void>
  inquire(): Promise<TargetStanding>
}
