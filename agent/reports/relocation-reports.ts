/** Relocations of services: what is asked for, planned, under way, proven, and what arrives here. Plain data only. */
import type { RelocationState } from '../conduit/relocation-state.ts'
import type { ArrivalState } from '../conduit/target-record.ts'
import type { ErrorReport } from './error-report.ts'
import type { MatchReport } from './offer-reports.ts'

/** What is to be relocated. */
export interface RelocationSpec {
  /** service.toml. */
  readonly text: string
  /** Peer ID or the name it was paired as; undefined: a broker is asked. */
  readonly peer?: string
  /** Brokers to ask, multiaddrs; empty: those known. */
  readonly brokers: readonly string[]
  readonly live?: boolean
}

/** Something in a service that leads elsewhere. */
export interface ReferenceReport {
  /** The file in the guest that says so. */
  readonly path: string
  readonly kind: string
  /** Where it leads, without secrets. */
  readonly to: string
  readonly fate: 'moves' | 'stays' | 'rewritten' | 'unknown'
}

export interface PlannedMachineReport {
  readonly name: string
  readonly targetName: string
  readonly cloud: string
  readonly state: string
  readonly vcpus: number
  readonly memoryBytes: number
  readonly firmware: string
  readonly needs: readonly string[]
  /** As the guest says; absent when it could not be looked into. */
  readonly os?: string
  readonly listens: readonly string[]
  readonly networks: readonly string[]
  readonly disks: readonly {
    readonly disk: string
    readonly role: 'boot' | 'volume'
    readonly path: string
    readonly format: string
    readonly sizeBytes: number
    readonly allocatedBytes: number
    readonly moves: boolean
    readonly destination?: string
  }[]
  readonly references: readonly ReferenceReport[]
  readonly steps: readonly { readonly migrator: string; readonly version: string }[]
  /** What the Migrators would change, as it looks now; never what is secret. */
  readonly changes: readonly { readonly path: string; readonly diff: string }[]
}

export interface RelocationPlanReport {
  readonly feasible: boolean
  readonly service: string
  readonly peer?: string
  readonly peerName?: string
  /** Where no target was named: what the brokers knew, and how it was ranked. */
  readonly match?: MatchReport
  readonly live: boolean
  readonly machines: readonly PlannedMachineReport[]
  readonly objectStores: readonly {
    readonly name: string
    readonly endpoint: string
    readonly buckets: readonly string[]
    readonly usedBy: readonly string[]
  }[]
  /** What is done, and after what. */
  readonly tasks: readonly {
    readonly id: string
    readonly what: string
    readonly after: readonly string[]
    readonly bytes?: number
  }[]
  readonly totalBytes: number
  /** Apart from the time that machines take to start. */
  readonly predicted: {
    readonly moveSeconds: number
    readonly downtimeSeconds: number
    /** False: the rate was never measured with this peer. */
    readonly measured: boolean
  }
  readonly warnings: readonly string[]
  readonly reasons: readonly ErrorReport[]
}

/** A relocation as `relocate` and `watch` show it. Bytes are numbers; seconds are absent until they are known. */
export interface RelocationReport {
  /** Its id, which the verbs about jobs take too. */
  readonly job: string
  readonly state: RelocationState
  readonly wanted: 'run' | 'pause' | 'roll-back' | 'finalize'
  readonly service: string
  readonly peer: string
  readonly peerName: string
  readonly live: boolean
  readonly machines: readonly string[]
  /** The jobs that carry its disks. */
  readonly jobs: readonly string[]
  /** What is being done. */
  readonly detail?: string
  /** Rounds done. */
  readonly round: number
  readonly totalBytes: number
  /** Durable at the target, in the round under way. */
  readonly doneBytes?: number
  readonly sentBytes: number
  readonly wireBytes: number
  /** Written by the machines since the last round began. */
  readonly dirtyBytes?: number
  readonly dirtyBytesPerSecond?: number
  readonly predictedDowntimeSeconds?: number
  /** From the pause here until healthy there, or running here again. */
  readonly downtimeSeconds?: number
  readonly pauseToDataSeconds?: number
  readonly startToHealthySeconds?: number
  /** Of the target, ms. */
  readonly timings?: Readonly<Record<'adapting' | 'registering' | 'starting' | 'checking', number>>
  readonly roots: readonly { readonly machine: string; readonly disk: string; readonly root: string }[]
  /** Files of guests that the target changed; never what is secret. */
  readonly changes: readonly { readonly machine: string; readonly path: string; readonly diff: string }[]
  /** After going back: the machines run here again. */
  readonly sourceRuns: boolean
  readonly finalizeAt?: string
  readonly error?: ErrorReport
  readonly seconds: number
  readonly createdAt: string
  readonly finishedAt?: string
}

/** What both sides of a relocation signed, as this one kept it: the last of each kind, in order. */
export interface RelocationReceiptReport {
  /** Its id. */
  readonly job: string
  readonly service: string
  /** Which side this agent is. */
  readonly side: 'source' | 'target'
  readonly state: string
  /** Peer IDs. */
  readonly source: string
  readonly target: string
  readonly bodies: readonly {
    readonly kind: 'plan' | 'final' | 'term' | 'outcome' | 'pledge' | 'release'
    readonly signer: 'source' | 'target'
    /** In a few words, for people. */
    readonly says: string
    /** base64; what Ed25519 covers is in protocol/relocation.md. */
    readonly body: string
    readonly signature: string
    /** Signed by whom it should be, about this relocation, and about the body before it where it names that. */
    readonly valid: boolean
  }[]
  /** Of the disks that were handed over. */
  readonly roots: readonly { readonly machine: string; readonly disk: string; readonly root: string }[]
  /** Kinds that should be there in this state. */
  readonly missing: readonly string[]
  /** All are valid, and none is missing. */
  readonly signaturesValid: boolean
}

/** A service that another agent relocates to this one. */
export interface ArrivalReport {
  readonly relocation: string
  /** `suspended`: its machines are held, since no lease lets them run. */
  readonly state: ArrivalState | 'suspended'
  readonly service: string
  readonly peer: string
  readonly peerName: string
  readonly cloud: string
  readonly machines: readonly string[]
  /** Why it is, or was, ended. */
  readonly reason?: string
  readonly createdAt: string
}
