/** What the command line can ask of a running agent, over its Unix socket; answers are plain data (reports/). */
import type { RelocateChange } from '../protocol/relocate-grant.ts'
import type { CloudKind } from './clouds/cloud.ts'
import type { BenchReport, CheckReport, IdReport, StatusReport } from './reports/agent-reports.ts'
import type { JobReport, MoveSpec, PlanReport, ReceiptReport, VerifyReport } from './reports/job-reports.ts'
import type { MachineReport } from './reports/machine-report.ts'
import type { MatchReport, OfferPage, OwnOfferReport } from './reports/offer-reports.ts'
import type { FindReport, PeerReport, PendingReport, SeedReport } from './reports/peer-reports.ts'
import type {
  ArrivalReport,
  RelocationPlanReport,
  RelocationReceiptReport,
  RelocationReport,
  RelocationSpec,
} from './reports/relocation-reports.ts'

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
  /** The machines run here again, and nothing is left there; `targetGone`: also if the target does not answer. */
  rollback(options: { job: string; targetGone?: boolean }): Promise<RelocationReport>
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
