/** What the command line can ask of a running agent, over its Unix socket. Plain data only. */
import type { ErrorCode } from '../protocol/errors.ts'
import type { RelocateChange, RelocateGrant } from '../protocol/relocate-grant.ts'
import type { CloudKind, MachineState } from './clouds/cloud.ts'
import type { RelocationState } from './conduit/relocation-state.ts'
import type { ArrivalState } from './conduit/target-record.ts'
import type { PortMappingReport } from './reach/port-mapping.ts'
import type { ReachReport } from './reach/reachability.ts'
import type { RelayReport } from './mesh/relay.ts'

export type JobState =
  | 'connecting'
  | 'awaiting-approval'
  | 'running'
  | 'paused'
  | 'reconnecting'
  | 'verifying'
  | 'complete'
  | 'failed'
  | 'cancelled'

export interface IdReport {
  readonly peerId: string
  readonly name: string
  /** Multiaddrs that can be dialed, with /p2p/<peerId>. */
  readonly addrs: readonly string[]
  /** host:port of the data port. */
  readonly dataAddrs: readonly string[]
}

/** One job as `jobs`, `watch` and `move` show it. Bytes are numbers; see cli.md for each field. */
export interface JobReport {
  readonly job: string
  readonly direction: 'out' | 'in'
  readonly state: JobState
  readonly peer: string
  readonly peerName: string
  readonly source: string
  readonly destination: string
  readonly logicalBytes: number
  /** Bytes of the volume that are durable at the target, holes included. */
  readonly doneBytes: number
  readonly sentBytes: number
  readonly wireBytes: number
  readonly dedupedBytes: number
  readonly zeroBytes: number
  readonly resumedBytes: number
  readonly bytesPerSecond: number
  readonly wireBytesPerSecond: number
  readonly etaSeconds?: number
  readonly seconds: number
  readonly lanes: number
  readonly path?: 'tls' | 'libp2p' | 'webrtc' | 'relay'
  /** Why not a better path; absent when there is none better. */
  readonly pathReason?: string
  readonly root?: string
  /** Why it is paused, reconnecting or failed. */
  readonly error?: ErrorReport
  readonly createdAt: string
  readonly finishedAt?: string
}

export interface ErrorReport {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string
  readonly retryable: boolean
  readonly exit: number
}

export interface GrantReport {
  readonly folder: string
  /** 0: no limit but the disk. */
  readonly maxBytes: number
  readonly approve: 'auto' | 'ask'
  /** Names that stand for devices or exports the owner opened to this peer. */
  readonly targets: Readonly<Record<string, string>>
  /** Services that may be relocated to this agent; absent: none. */
  readonly relocate?: RelocateGrant
}

export interface PeerReport {
  readonly peer: string
  readonly name: string
  readonly pairedAt: string
  readonly connected: boolean
  /** How it is connected now. */
  readonly reached?: 'direct' | 'webrtc' | 'relay'
  /** The multiaddr of that connection. */
  readonly remoteAddr?: string
  readonly addrs: readonly string[]
  /** What the peer may do here; undefined: paired, but nothing is allowed. */
  readonly grant?: GrantReport
  /** What the peer said we may do there. */
  readonly granted?: { readonly write: boolean; readonly maxBytes: number; readonly ask: boolean }
}

export interface PendingReport {
  readonly peer: string
  readonly name: string
  readonly direction: 'in' | 'out'
  readonly since: string
}

export interface StatusReport extends IdReport {
  readonly pid: number
  readonly version: string
  readonly home: string
  readonly uptimeSeconds: number
  readonly rssBytes: number
  readonly peers: readonly PeerReport[]
  readonly jobs: readonly JobReport[]
  /** Of services that this agent sends away; absent from agents of before. */
  readonly relocations?: readonly RelocationReport[]
  /** What others relocate here, and is not over. */
  readonly arrivals?: readonly ArrivalReport[]
  /** Offences of peers counted since start, by kind. */
  readonly refused: Readonly<Record<string, number>>
  /** Absent when the agent does not serve the directory. */
  readonly directory?: { readonly agents: number }
  /** Whether the two ports can be reached from outside; absent from agents of before. */
  readonly reachable?: ReachReport
  /** Absent unless `port_mapping = true`. */
  readonly portMapping?: PortMappingReport
  /** Absent when it is no relay. */
  readonly relay?: RelayReport
  /** Peer IDs of relays through which this agent can be reached now. */
  readonly reachedThrough?: readonly string[]
  /** Of these, relays of strangers, found in the directory; absent when there is none. */
  readonly strangersRelays?: readonly string[]
  /** Absent when no broker runs in this process. */
  readonly broker?: BrokerReport
}

/** A broker that runs in the agent's process. */
export interface BrokerReport {
  /** Offers whose lease runs. */
  readonly offers: number
  /** Peer IDs of brokers it exchanges offers with. */
  readonly neighbours: readonly string[]
  /** Offers refused since start, by reason. */
  readonly refused: Readonly<Record<string, number>>
}

/** Where a peer is, as others say. */
export interface FindReport {
  readonly peer: string
  /** Multiaddrs with /p2p/<peerId>; empty when nobody knows it. */
  readonly addrs: readonly string[]
}

export interface MoveSpec {
  /** Absolute path, or nbd URL. */
  readonly source: string
  /** Peer ID or the name it was paired as. */
  readonly peer: string
  readonly destination: string
  readonly lanes?: number
  /** Bytes a second, all lanes together. */
  readonly bandwidth?: number
  readonly verifyDeep?: boolean
  readonly replace?: boolean
  /** The version that is replaced itself becomes the new one, where it can; with `replace`. */
  readonly inPlace?: boolean
  readonly format?: 'raw' | 'qcow2'
  readonly compression?: 'auto' | 'on' | 'off'
}

export interface PlanReport {
  readonly feasible: boolean
  readonly source: string
  readonly sourceFormat: string
  readonly peer: string
  readonly destination: string
  readonly logicalBytes: number
  readonly allocatedBytes: number
  readonly targetFormat: string
  readonly replacesExisting: boolean
  /** The version that is replaced is changed in place. */
  readonly inPlace?: boolean
  readonly freeBytes?: number
  readonly chunking?: string
  readonly codecs?: readonly string[]
  readonly lanes?: number
  readonly needsApproval: boolean
  /** What speaks for caution, though not against the move; for people. */
  readonly warnings: string[]
  readonly reasons: readonly ErrorReport[]
}

export interface ReceiptReport {
  readonly job: string
  readonly sender: string
  readonly receiver: string
  readonly destination: string
  readonly logicalBytes: number
  readonly dataBytes: number
  readonly zeroBytes: number
  readonly sentBytes: number
  readonly dedupedBytes: number
  readonly resumedBytes: number
  readonly wireBytes: number
  readonly bytesByPath: Readonly<Record<string, number>>
  readonly chunks: number
  readonly chunking: string
  readonly root: string
  readonly path: string
  /** Why the last bytes took no better path, as this side knows. */
  readonly pathReason?: string
  readonly verifiedDeep: boolean
  readonly startedAt: string
  readonly finishedAt: string
  /** base64; Ed25519 over the receipt's body. */
  readonly senderSignature: string
  readonly receiverSignature: string
  readonly signaturesValid: boolean
}

export interface VerifyReport {
  readonly job: string
  readonly match: boolean
  readonly sourceRoot?: string
  readonly targetRoot?: string
  readonly deep: boolean
  readonly checkedBytes: number
  readonly seconds: number
  readonly reasons: readonly ErrorReport[]
}

export interface BenchReport {
  readonly peer: string
  readonly roundTripMs: number
  readonly bytes: number
  readonly seconds: number
  readonly bytesPerSecond: number
  readonly lanes: number
  readonly path: string
  /** Processor time of this agent's whole process. */
  readonly cpuSecondsPerGiB: number
  /** The same of the peer, where it tells. */
  readonly peerCpuSecondsPerGiB?: number
}

export interface CheckReport {
  readonly name: string
  readonly state: 'ok' | 'warn' | 'fail'
  readonly detail: string
  readonly hint?: string
}

export interface SeedReport {
  readonly folder: string
  readonly files: number
  readonly chunks: number
  readonly bytes: number
  readonly state: 'scanning' | 'ready'
}

/** What became of an offer at one broker. */
export interface OfferAtBroker {
  /** Peer ID. */
  readonly broker: string
  /** True when it holds this version now. */
  readonly taken: boolean
  /** What the broker found it to be; absent when there was no answer. */
  readonly outcome?: string
  /** Why it was not taken. */
  readonly code?: ErrorCode
  readonly message: string
  readonly hint?: string
}

/** An offer that this agent publishes. */
export interface OwnOfferReport {
  readonly offer: string
  readonly provider: string
  readonly file: string
  readonly expiresAt: string
  /** True as long as the agent renews it. */
  readonly renewed: boolean
  readonly brokers: readonly OfferAtBroker[]
}

/** An offer that a broker handed out, and that proved itself. */
export interface OfferReport {
  readonly offer: string
  readonly peer: string
  readonly provider: string
  readonly expiresAt: string
  readonly broker: string
  readonly region: string
  readonly jurisdiction: string
  readonly cloud: string
  /** True for this agent's own. */
  readonly own: boolean
}

/** A broker that did not answer. */
export interface BrokerFailureReport {
  readonly broker: string
  readonly code: ErrorCode
  readonly message: string
}

export interface OfferPage {
  readonly offers: readonly OfferReport[]
  readonly brokers: readonly string[]
  readonly failures: readonly BrokerFailureReport[]
}

type NeedValue = number | boolean | string | readonly string[] | null

/** Migrators from what the source has to what a candidate accepts. */
export interface ChainReport {
  /** Empty when there is no chain. */
  readonly steps: readonly {
    readonly from: string
    readonly to: string
    readonly migrator: string
    readonly version: string
    readonly peer: string
    readonly provider: string
    readonly offer: string
  }[]
  /** Why there is none. */
  readonly reason?: string
}

/** One offer under a request, explained. */
export interface CandidateReport {
  /** 1 is best; null: it fails a need. */
  readonly rank: number | null
  readonly peer: string
  readonly provider: string
  readonly offer: string
  /** 0 to 1. */
  readonly score: number
  /** 0 to 1 for each goal that has a weight. */
  readonly terms: Readonly<Record<string, number>>
  readonly weights: Readonly<Record<string, number>>
  /** What is odd or unknown about a term. */
  readonly notes?: Readonly<Record<string, string>>
  readonly cost: {
    readonly currency: string | null
    readonly moveOnce: number | null
    readonly perMonth: number | null
  }
  readonly etaSeconds: number
  readonly failed: readonly {
    readonly need: string
    readonly wanted: NeedValue
    readonly offered: NeedValue
  }[]
  /** Every need, met or not. */
  readonly needs: readonly {
    readonly need: string
    readonly wanted: NeedValue
    readonly offered: NeedValue
    readonly met: boolean
  }[]
  /** When it fails nothing but the formats. */
  readonly chain?: ChainReport
  readonly place: { readonly region: string; readonly jurisdiction: string }
  readonly addresses: readonly string[]
  readonly expiresAt: string
  /** The one that handed it out. */
  readonly broker: string
}

export interface MatchReport {
  readonly considered: number
  readonly fitting: number
  /** The one prices are compared in, or empty. */
  readonly currency: string
  readonly brokers: readonly string[]
  readonly failures: readonly BrokerFailureReport[]
  /** Best first, then those that fail. */
  readonly candidates: readonly CandidateReport[]
  /** Of a watch: the candidate is better than what was told before. */
  readonly better?: boolean
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
  /** From the pause here until healthy there. */
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

/** A machine of one of this agent's clouds. */
export interface MachineReport {
  readonly name: string
  readonly cloud: CloudKind
  readonly state: MachineState
  readonly vcpus: number
  readonly memoryBytes: number
  readonly disks: readonly {
    readonly id: string
    readonly path: string
    readonly format: string
    readonly sizeBytes: number
  }[]
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

/** What every long call takes: `signal` aborts when the caller went away or asked to stop. */
export interface CallOptions {
  readonly signal?: AbortSignal
}

/** Every call. Streams yield until done or aborted; closing the terminal stops the stream, never the job. */
export interface AgentApi {
  id(): Promise<IdReport>
  status(): Promise<StatusReport>
  stop(): Promise<void>
  /** Asks the directory for a peer by its ID alone. Throws USAGE when the agent does not serve it. */
  find(options: { peer: string }): Promise<FindReport>

  pairTicket(options: {
    expiresMs: number
    uses: number
    folder?: string
    maxBytes?: number
    approve: 'auto' | 'ask'
  }): Promise<{ ticket: string; expiresAt: string }>
  pairRedeem(options: { ticket: string; name?: string }): Promise<PeerReport>
  /** `peer` is a peer ID or a multiaddr that ends in /p2p/<id>. */
  pairRequest(options: { peer: string; name?: string }): Promise<PeerReport | PendingReport>
  pairList(): Promise<PeerReport[]>
  pairPending(): Promise<PendingReport[]>
  pairAccept(options: { peer: string; name?: string }): Promise<PeerReport>
  pairReject(options: { peer: string }): Promise<void>
  pairRemove(options: { peer: string }): Promise<void>

  policyShow(options: { peer?: string }): Promise<{ peers: PeerReport[]; seeds: SeedReport[] }>
  /** Changes only what is given; `targets` entries with an empty value are removed; `deny` takes the whole grant away. */
  policySet(
    options: {
      peer: string
      folder?: string
      maxBytes?: number
      approve?: 'auto' | 'ask'
      targets?: Record<string, string>
      deny?: boolean
    } & RelocateChange,
  ): Promise<PeerReport>
  seedAdd(options: { folder: string }, call?: CallOptions): AsyncIterable<SeedReport>
  seedRemove(options: { folder: string }): Promise<void>
  seedList(): Promise<SeedReport[]>

  plan(spec: MoveSpec, call?: CallOptions): Promise<PlanReport>
  move(spec: MoveSpec): Promise<JobReport>
  jobs(): Promise<JobReport[]>
  /** Progress at most 5 a second a job; ends when the job (or, without one, nothing) is left to report. */
  watch(options: { job?: string }, call?: CallOptions): AsyncIterable<JobReport>
  pause(options: { job: string }): Promise<JobReport>
  /** Also approves a job that waits for approval. */
  resume(options: { job: string }): Promise<JobReport>
  cancel(options: { job: string }): Promise<JobReport>
  verify(options: { job: string; deep: boolean }, call?: CallOptions): Promise<VerifyReport>
  receipt(options: { job: string }): Promise<ReceiptReport>

  /** Looks at clouds and guests, and asks the target; changes nothing. */
  machines(): Promise<MachineReport[]>
  /** Throws JOB_STATE for one that was relocated and may run elsewhere. */
  machineStart(options: { name: string; cloud?: CloudKind }): Promise<MachineReport>
  machineStop(options: { name: string; cloud?: CloudKind; graceMs: number }): Promise<MachineReport>

  relocationPlan(spec: RelocationSpec, call?: CallOptions): Promise<RelocationPlanReport>
  /** Plans, keeps the plan and begins. Throws what stands against it. */
  relocate(spec: RelocationSpec, call?: CallOptions): Promise<RelocationReport>
  /** Newest first. */
  relocations(): Promise<RelocationReport[]>
  /** What others relocate to this agent, newest first. */
  arrivals(): Promise<ArrivalReport[]>
  /** Of a relocation from here or to here. Throws JOB_UNKNOWN, JOB_STATE. */
  relocationReceipt(options: { job: string }): Promise<RelocationReceiptReport>
  /** Of one that waits for a person. */
  arrivalApprove(options: { relocation: string }): Promise<ArrivalReport>
  /** Of any that is not committed: nothing of it is left. */
  arrivalReject(options: { relocation: string }): Promise<ArrivalReport>
  /** Ends when the relocation is live, over, or rests; without an id follows all that are under way. */
  relocationWatch(options: { job?: string }, call?: CallOptions): AsyncIterable<RelocationReport>
  relocationPause(options: { job: string }): Promise<RelocationReport>
  relocationResume(options: { job: string }): Promise<RelocationReport>
  /** Does not wait for a downtime that fits. */
  cutover(options: { job: string }): Promise<RelocationReport>
  /** The machines run here again, and nothing is left there. */
  rollback(options: { job: string }): Promise<RelocationReport>
  /** Removes machines and disks here. */
  finalize(options: { job: string; keepDisks?: boolean }): Promise<RelocationReport>

  /** Publishes the offer file `text`, and goes on renewing it; `file` is its absolute path. Brokers: multiaddrs, or none for those known. */
  offersPublish(
    options: { text: string; file: string; brokers: readonly string[] },
    call?: CallOptions,
  ): Promise<OwnOfferReport>
  offersWithdraw(
    options: { offer: string; brokers: readonly string[] },
    call?: CallOptions,
  ): Promise<OwnOfferReport>
  /** What brokers hold, a page at a time. */
  offersList(options: { brokers: readonly string[] }, call?: CallOptions): AsyncIterable<OfferPage>
  offersOwn(): Promise<OwnOfferReport[]>
  /** Matches the request file `text`; the candidates come in parts. */
  match(options: { text: string; brokers: readonly string[] }, call?: CallOptions): AsyncIterable<MatchReport>
  /** The best now, then each that is better, until aborted. */
  matchWatch(
    options: { text: string; brokers: readonly string[] },
    call?: CallOptions,
  ): AsyncIterable<MatchReport>

  bench(options: { peer: string; bytes: number; lanes?: number }, call?: CallOptions): Promise<BenchReport>
  doctor(): Promise<CheckReport[]>
}

/** Calls that answer with a stream rather than a value. */
export const STREAMING_CALLS = [
  'seedAdd',
  'watch',
  'relocationWatch',
  'offersList',
  'match',
  'matchWatch',
] as const satisfies readonly (keyof AgentApi)[]
