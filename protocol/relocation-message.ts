/** Messages of a relocation, decoded and validated. Their meaning: relocation.md; their limits: limits.ts. */
import type { ErrorCode } from './errors.ts'

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

/** What is to be relocated; the body of Prepare. */
export interface Plan extends Parties {
  readonly service: string
  readonly live: boolean
  readonly machines: readonly PlanMachine[]
  readonly health: readonly PlanCheck[]
  readonly gateMs: number
}

export interface PlanMachine {
  readonly machine: PlanHardware
  readonly disks: readonly {
    readonly id: string
    readonly sizeBytes: number
    readonly allocatedBytes: number
  }[]
  readonly steps: readonly { readonly migrator: string; readonly version: string; readonly input: unknown }[]
}

export type PlanCheck =
  | { readonly kind: 'http'; readonly url: string; readonly status?: number; readonly contains?: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }

/** A machine; agent/clouds/cloud.ts has the words. */
export interface PlanHardware {
  readonly name: string
  readonly architecture: 'x86_64'
  readonly vcpus: number
  readonly memoryBytes: number
  readonly firmware: 'bios' | 'uefi'
  readonly chipset: 'q35' | 'pc'
  readonly disks: readonly PlanDisk[]
  readonly nics: readonly PlanNic[]
  readonly extra?: Readonly<Record<string, unknown>>
}

export interface PlanDisk {
  readonly id: string
  /** Empty: where a disk lies at the source is not told. */
  readonly path: string
  readonly format: 'raw' | 'qcow2'
  readonly sizeBytes: number
  readonly boot: boolean
  readonly bus: 'virtio' | 'scsi' | 'sata' | 'ide'
  readonly readOnly: boolean
  readonly serial?: string
}

export interface PlanNic {
  readonly id: string
  readonly mac: string
  readonly model: 'virtio' | 'e1000'
  readonly network: string
  readonly forwards: readonly {
    readonly hostAddress: string
    readonly hostPort: number
    readonly guestPort: number
  }[]
}

export interface Place {
  readonly machine: string
  readonly disk: string
  readonly destination: string
  readonly format: 'raw' | 'qcow2'
}

export interface Objected {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
}

/** The body of Handover. */
export interface Final extends Parties {
  /** BLAKE3 of the body of the plan, 32 bytes. */
  readonly planDigest: Uint8Array
  /** Roots as receipts have them. */
  readonly disks: readonly { readonly machine: string; readonly disk: string; readonly root: string }[]
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
  readonly objections: readonly Objected[]
  /** Milliseconds. */
  readonly timings: Readonly<Record<Stage, number>>
  /** BLAKE3 of the body of the handover, 32 bytes. */
  readonly finalDigest: Uint8Array
}

export type StandingState =
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
      readonly places: readonly Place[]
      readonly warnings: readonly string[]
      readonly objections: readonly Objected[]
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
  | { readonly kind: 'standing'; readonly state: StandingState }
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
