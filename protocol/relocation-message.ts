/** Messages of a relocation, decoded and validated. Their meaning: relocation.md; their limits: limits.ts. */
import type { ErrorCode } from './errors.ts'
import type { Machine } from './machine.ts'

/** A body with the signature over it, as both sides keep it. */
export interface Signed {
  readonly body: Uint8Array
  /** 64 bytes of Ed25519. */
  readonly signature: Uint8Array
}

/** Whom a signed body speaks of. */
export interface Parties {
  /** 32 hex digits. */
  readonly relocation: string
  /** Peer IDs. */
  readonly source: string
  readonly target: string
}

/** One Migrator to run on a machine's disks at the target, with what it is given. */
export interface MigratorStep {
  readonly migrator: string
  /** Semantic version the source's plan was made with; the target's has the same major. */
  readonly version: string
  /** As JSON at most MAX_STEP_BYTES; checked by the Migrator itself. */
  readonly input: unknown
}

/** How a service is asked whether it serves. */
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

/** What is to be relocated; the body of Prepare. */
export interface Plan extends Parties {
  readonly service: string
  readonly live: boolean
  /** In the order in which they start. */
  readonly machines: readonly PlannedMachine[]
  readonly health: readonly HealthCheck[]
  /** Milliseconds from the start of the first machine until all checks have passed. */
  readonly gateMs: number
}

export interface PlannedPlace {
  readonly machine: string
  readonly disk: string
  /** The name under which a move to the target puts this disk. */
  readonly destination: string
  readonly format: 'raw' | 'qcow2'
}

/** A reason to say no. */
export interface Objection {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
}

/** One disk as the source left it. */
export interface FinalDisk {
  readonly machine: string
  readonly disk: string
  /** As the receipts of the moves have it: b3: and 64 hex digits. */
  readonly root: string
}

/** The body of Handover. */
export interface Final extends Parties {
  /** BLAKE3 of the body of the plan, 32 bytes. */
  readonly planDigest: Uint8Array
  readonly disks: readonly FinalDisk[]
}

/** The body of Lease. */
export interface Term extends Parties {
  /** 16 bytes, of the question. */
  readonly nonce: Uint8Array
  /** From when the target asked; 0: no, and never again. */
  readonly leaseMs: number
}

export type Stage = 'adapting' | 'registering' | 'starting' | 'checking'

/** The body of Verdict. */
export interface Outcome extends Parties {
  readonly healthy: boolean
  readonly objections: readonly Objection[]
  /** Milliseconds. */
  readonly timings: Readonly<Record<Stage, number>>
  /** BLAKE3 of the body of the handover, 32 bytes. */
  readonly finalDigest: Uint8Array
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

/** What the source says; `relocation` is 32 hex digits. */
export type RelocationRequestMessage =
  | { readonly kind: 'prepare'; readonly plan: Signed; readonly dry: boolean }
  | { readonly kind: 'handover'; readonly final: Signed }
  | { readonly kind: 'commit'; readonly pledge: Signed }
  | { readonly kind: 'abort'; readonly relocation: string; readonly reason: string }
  | { readonly kind: 'finalize'; readonly relocation: string }
  | { readonly kind: 'inquire'; readonly relocation: string }

/** What the target says. */
export type RelocationAnswerMessage =
  | { readonly kind: 'pending'; readonly reason: string }
  | {
      readonly kind: 'answer'
      readonly accepted: boolean
      readonly places: readonly PlannedPlace[]
      readonly warnings: readonly string[]
      readonly objections: readonly Objection[]
    }
  | { readonly kind: 'progress'; readonly relocation: string; readonly stage: Stage; readonly detail: string }
  | {
      readonly kind: 'changed'
      readonly relocation: string
      readonly machine: string
      readonly path: string
      readonly diff: string
    }
  | { readonly kind: 'verdict'; readonly outcome: Signed }
  | { readonly kind: 'released'; readonly release: Signed }
  | { readonly kind: 'standing'; readonly state: TargetStanding }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'ask'; readonly relocation: string; readonly nonce: Uint8Array }

export type RelocationMessage =
  | RelocationRequestMessage
  | RelocationAnswerMessage
  | { readonly kind: 'lease'; readonly term: Signed }
  | { readonly kind: 'heartbeat' }
  /** A kind of message that only a newer version knows. */
  | { readonly kind: 'unknown' }

export type RelocationMessageOf<K extends RelocationMessage['kind']> = Extract<RelocationMessage, { kind: K }>

/** One frame: a message, and the request it is or belongs to; 0: none. */
export interface RelocationFrame {
  readonly request: number
  readonly message: RelocationMessage
}
