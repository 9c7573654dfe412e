/**
 * The target of a relocation as the source's Conduit drives it. Over the wire it is target-client.ts, and what answers
 * there is target-host.ts; protocol/relocation.md has the messages.
 *
 * Of any machine at most one side may let it run. The source owns that right until it hands over; from then on the target
 * holds it only while a lease from the source runs, until the source commits.
 */
import type {
  FinalDisk,
  Objection,
  Plan,
  PlannedPlace,
  Stage,
  TargetStanding,
} from '../../protocol/relocation-message.ts'

/** What the source asks the target to take in. */
export type RelocationRequest = Omit<Plan, 'source' | 'target'>

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
  readonly disks: readonly FinalDisk[]
}

export type TargetEvent =
  | {
      readonly kind: 'progress'
      readonly stage: Stage
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
      readonly timings: Readonly<Record<Stage, number>>
    }

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
  /** When the target was heard last in this conversation, whatever it said; performance.now(). */
  readonly heardAt: number
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
