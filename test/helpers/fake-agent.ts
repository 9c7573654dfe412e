/**
 * A fake agent: an AgentApi that records every call and answers with canned reports. Only for tests of the command
 * line and its socket; nothing moves.
 */
import { FluidError } from '../../protocol/errors.ts'
import type { AgentApi, CallOptions } from '../../agent/api.ts'
import type { StatusReport } from '../../agent/reports/agent-reports.ts'
import type { JobReport, PlanReport, ReceiptReport } from '../../agent/reports/job-reports.ts'
import type { MachineReport } from '../../agent/reports/machine-report.ts'
import type {
  CandidateReport,
  MatchReport,
  OfferPage,
  OfferReport,
  OwnOfferReport,
} from '../../agent/reports/offer-reports.ts'
import type { GrantReport, PeerReport, SeedReport } from '../../agent/reports/peer-reports.ts'
import type {
  ArrivalReport,
  RelocationPlanReport,
  RelocationReceiptReport,
  RelocationReport,
} from '../../agent/reports/relocation-reports.ts'

export const FAKE_PEER_ID = '12D3KooWKRyzVWW6ChFjQjK4miCty85Niy48tpPV95XdKu1BcvMA'

export const fakeJob: JobReport = {
  job: 'job-1',
  direction: 'out',
  state: 'running',
  peer: FAKE_PEER_ID,
  peerName: 'beta',
  source: '/images/disk.raw',
  destination: 'disk.raw',
  logicalBytes: 8 * 1024 ** 3,
  doneBytes: 2 * 1024 ** 3,
  sentBytes: 900_000_000,
  wireBytes: 300_000_000,
  dedupedBytes: 500_000_000,
  zeroBytes: 700_000_000,
  resumedBytes: 0,
  bytesPerSecond: 512 * 1024 ** 2,
  wireBytesPerSecond: 80 * 1024 ** 2,
  etaSeconds: 12,
  seconds: 4.2,
  lanes: 4,
  path: 'tls',
  createdAt: '2026-11-22T10:00:00.000Z',
}

export const fakeComplete: JobReport = {
  ...fakeJob,
  state: 'complete',
  doneBytes: fakeJob.logicalBytes,
  seconds: 12.5,
  etaSeconds: undefined,
  root: `b3:${'ab'.repeat(32)}`,
  finishedAt: '2026-11-22T10:00:12.500Z',
}

export const fakeGrant: GrantReport = {
  folder: '/srv/images',
  maxBytes: 2 * 1024 ** 4,
  approve: 'ask',
  targets: { db: '/dev/vg0/db' },
}

const fakeArrival: ArrivalReport = {
  relocation: 'ab'.repeat(16),
  state: 'prepared',
  service: 'shop',
  peer: FAKE_PEER_ID,
  peerName: 'beta',
  cloud: 'qemu',
  machines: ['web'],
  createdAt: '2026-11-25T10:00:00.000Z',
}

export const fakePeer: PeerReport = {
  peer: FAKE_PEER_ID,
  name: 'beta',
  pairedAt: '2026-11-20T10:00:00.000Z',
  connected: true,
  addrs: [`/ip4/192.0.2.7/tcp/4001/p2p/${FAKE_PEER_ID}`],
  grant: fakeGrant,
  granted: { write: true, maxBytes: 0, ask: false },
}

export const fakeStatus: StatusReport = {
  peerId: FAKE_PEER_ID,
  name: 'alpha',
  addrs: [`/ip4/192.0.2.1/tcp/4001/p2p/${FAKE_PEER_ID}`],
  dataAddrs: ['192.0.2.1:4002'],
  pid: 4321,
  version: '0.1.0',
  home: '/home/fluid',
  uptimeSeconds: 3700,
  rssBytes: 120_000_000,
  peers: [fakePeer],
  jobs: [fakeJob],
  refused: { unpaired: 3 },
}

export const fakePlan: PlanReport = {
  feasible: true,
  source: '/images/disk.raw',
  sourceFormat: 'raw',
  peer: 'beta',
  destination: 'disk.raw',
  logicalBytes: 8 * 1024 ** 3,
  allocatedBytes: 2 * 1024 ** 3,
  targetFormat: 'raw',
  replacesExisting: false,
  freeBytes: 50 * 1024 ** 3,
  chunking: 'fastcdc 64 KiB',
  codecs: ['zstd'],
  lanes: 4,
  needsApproval: false,
  warnings: [],
  reasons: [],
}

export const fakeReceipt: ReceiptReport = {
  job: 'job-1',
  sender: FAKE_PEER_ID,
  receiver: FAKE_PEER_ID,
  destination: 'disk.raw',
  logicalBytes: 8 * 1024 ** 3,
  dataBytes: 2 * 1024 ** 3,
  zeroBytes: 6 * 1024 ** 3,
  sentBytes: 900_000_000,
  dedupedBytes: 500_000_000,
  resumedBytes: 0,
  wireBytes: 300_000_000,
  bytesByPath: { tls: 300_000_000 },
  chunks: 31_000,
  chunking: 'fastcdc',
  root: `b3:${'ab'.repeat(32)}`,
  path: 'tls',
  verifiedDeep: false,
  startedAt: '2026-11-22T10:00:00.000Z',
  finishedAt: '2026-11-22T10:00:12.500Z',
  senderSignature: 'c2ln',
  receiverSignature: 'c2ln',
  signaturesValid: true,
}

const fakeSeed: SeedReport = {
  folder: '/srv/catalogue',
  files: 3,
  chunks: 900,
  bytes: 60_000_000,
  state: 'ready',
}

export const fakeMachine: MachineReport = {
  name: 'web',
  cloud: 'qemu',
  state: 'running',
  vcpus: 2,
  memoryBytes: 4 * 2 ** 30,
  disks: [{ id: 'vda', path: '/srv/web.qcow2', format: 'qcow2', sizeBytes: 20 * 2 ** 30 }],
}

export const fakeRelocation: RelocationReport = {
  job: 'e0e1e2e3e4e5e6e7e8e9eaebecedeeef',
  state: 'converging',
  wanted: 'run',
  service: 'shop',
  peer: FAKE_PEER_ID,
  peerName: 'beta',
  live: true,
  machines: ['web', 'db'],
  jobs: ['job-1'],
  round: 2,
  totalBytes: 2 * 1024 ** 3,
  doneBytes: 2 * 1024 ** 3,
  sentBytes: 900_000_000,
  wireBytes: 300_000_000,
  dirtyBytes: 12 * 1024 ** 2,
  dirtyBytesPerSecond: 2 * 1024 ** 2,
  predictedDowntimeSeconds: 1.2,
  roots: [],
  changes: [],
  sourceRuns: false,
  seconds: 40,
  createdAt: '2026-11-22T10:00:00.000Z',
}

export const fakeEvidence: RelocationReceiptReport = {
  job: fakeRelocation.job,
  service: 'shop',
  side: 'source',
  state: 'live',
  source: FAKE_PEER_ID,
  target: FAKE_PEER_ID,
  bodies: [
    {
      kind: 'pledge',
      signer: 'source',
      says: 'gives them up for good',
      body: 'Ym9keQ',
      signature: 'c2ln',
      valid: true,
    },
  ],
  roots: [{ machine: 'web', disk: 'vda', root: `b3:${'ab'.repeat(32)}` }],
  missing: [],
  signaturesValid: true,
}

export const fakeLive: RelocationReport = {
  ...fakeRelocation,
  state: 'live',
  round: 3,
  downtimeSeconds: 4.2,
  pauseToDataSeconds: 0.8,
  startToHealthySeconds: 3.1,
  timings: { adapting: 120, registering: 80, starting: 2000, checking: 1100 },
  roots: [{ machine: 'web', disk: 'vda', root: `b3:${'ab'.repeat(32)}` }],
  changes: [{ machine: 'web', path: '/etc/hostname', diff: '-web\n+web-2\n' }],
}

export const fakeRelocationPlan: RelocationPlanReport = {
  feasible: true,
  service: 'shop',
  peer: FAKE_PEER_ID,
  peerName: 'beta',
  live: true,
  machines: [
    {
      name: 'web',
      targetName: 'web-2',
      cloud: 'qemu',
      state: 'running',
      vcpus: 2,
      memoryBytes: 1024 ** 3,
      firmware: 'bios',
      needs: ['db'],
      os: 'Debian GNU/Linux 12',
      listens: ['80/tcp nginx'],
      networks: ['user'],
      disks: [
        {
          disk: 'vda',
          role: 'boot',
          path: '/vm/web.qcow2',
          format: 'qcow2',
          sizeBytes: 8 * 1024 ** 3,
          allocatedBytes: 2 * 1024 ** 3,
          moves: true,
        },
      ],
      references: [
        { path: '/etc/shop.env', kind: 'postgres', to: 'postgres://shop:***@db/shop', fate: 'moves' },
        { path: '/etc/shop.env', kind: 'object-store', to: 'https://s3.example.org', fate: 'stays' },
      ],
      steps: [{ migrator: 'adapt-guest', version: '1.0.0' }],
      changes: [{ path: '/etc/hostname', diff: '--- /etc/hostname\n+++ /etc/hostname\n-web\n+web-2\n' }],
    },
  ],
  objectStores: [
    { name: 's3.example.org', endpoint: 'https://s3.example.org', buckets: ['shop'], usedBy: ['web'] },
  ],
  tasks: [{ id: 'move web/vda', what: 'rounds while it runs', after: [], bytes: 2 * 1024 ** 3 }],
  totalBytes: 2 * 1024 ** 3,
  predicted: { moveSeconds: 170, downtimeSeconds: 0.7, measured: false },
  warnings: [],
  reasons: [],
}

/** A call as the fake received it. */
export type RecordedCall = readonly [call: string, args: unknown]

export const FAKE_BROKER_ID = '12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq'
const FAKE_OFFER_ID = 'a0a1a2a3a4a5a6a7a8a9aaabacadaeaf'

export const fakeOffer: OfferReport = {
  offer: FAKE_OFFER_ID,
  peer: FAKE_PEER_ID,
  provider: 'Alpine Cloud',
  expiresAt: '2026-11-22T11:00:00.000Z',
  broker: FAKE_BROKER_ID,
  region: 'ch-gva-2',
  jurisdiction: 'CH',
  cloud: 'qemu',
  own: false,
}

export const fakeOwnOffer: OwnOfferReport = {
  offer: FAKE_OFFER_ID,
  provider: 'Alpine Cloud',
  file: '/srv/offer.toml',
  expiresAt: '2026-11-22T11:00:00.000Z',
  renewed: true,
  brokers: [{ broker: FAKE_BROKER_ID, taken: true, outcome: 'kept', message: '' }],
}

export const fakeCandidate: CandidateReport = {
  rank: 1,
  peer: FAKE_PEER_ID,
  provider: 'Alpine Cloud',
  offer: FAKE_OFFER_ID,
  score: 0.83,
  terms: { price: 0.83 },
  weights: { price: 1 },
  cost: { currency: 'EUR', moveOnce: 0.54, perMonth: 38.96 },
  etaSeconds: 515.4,
  failed: [],
  needs: [{ need: 'vcpus', wanted: 2, offered: 64, met: true }],
  place: { region: 'ch-gva-2', jurisdiction: 'CH' },
  addresses: ['/ip4/192.0.2.7/tcp/4001'],
  expiresAt: '2026-11-22T11:00:00.000Z',
  broker: FAKE_BROKER_ID,
}

export const fakeUnfit: CandidateReport = {
  ...fakeCandidate,
  rank: null,
  provider: 'Harbour Cloud',
  offer: 'b0b1b2b3b4b5b6b7b8b9babbbcbdbebf',
  place: { region: 'us-east', jurisdiction: 'US' },
  failed: [{ need: 'jurisdiction', wanted: ['CH', 'EU'], offered: 'US' }],
  needs: [{ need: 'jurisdiction', wanted: ['CH', 'EU'], offered: 'US', met: false }],
}

export const fakeMatch: MatchReport = {
  considered: 2,
  fitting: 1,
  currency: 'EUR',
  brokers: [FAKE_BROKER_ID],
  failures: [],
  candidates: [fakeCandidate, fakeUnfit],
}

/** Answers that replace the canned ones. */
export type FakeAnswers = { readonly [call in keyof AgentApi]?: AgentApi[call] }

/** Iterates `reports`, then ends. */
export async function* stream<T>(...reports: readonly T[]): AsyncGenerator<T> {
  yield* reports
}

/** Yields `first`, then waits until the caller goes away. */
export async function* streamUntilAborted<T>(first: T, { signal }: CallOptions = {}): AsyncGenerator<T> {
  yield first
  await new Promise((_, reject) =>
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
  )
}

/** The fake and what was asked of it, in order. */
export function createFakeAgent(answers: FakeAnswers = {}): { api: AgentApi; calls: RecordedCall[] } {
  const calls: RecordedCall[] = []
  const canned: AgentApi = {
    id: async () => fakeStatus,
    find: async ({ peer }) => ({ peer, addrs: [] }),
    status: async () => fakeStatus,
    stop: async () => {},
    pairTicket: async () => ({ ticket: 'fluid1qqqq', expiresAt: '2026-11-22T11:00:00.000Z' }),
    pairRedeem: async () => fakePeer,
    pairRequest: async () => ({
      peer: FAKE_PEER_ID,
      name: 'beta',
      direction: 'out',
      since: '2026-11-22T10:00:00.000Z',
    }),
    pairList: async () => [fakePeer],
    pairPending: async () => [
      { peer: FAKE_PEER_ID, name: 'gamma', direction: 'in', since: '2026-11-22T10:00:00.000Z' },
    ],
    pairAccept: async () => fakePeer,
    pairReject: async () => {},
    pairRemove: async () => {},
    policyShow: async () => ({ peers: [fakePeer], seeds: [fakeSeed] }),
    policySet: async () => fakePeer,
    seedAdd: () => stream<SeedReport>({ ...fakeSeed, state: 'scanning', files: 1 }, fakeSeed),
    seedRemove: async () => {},
    seedList: async () => [fakeSeed],
    plan: async () => fakePlan,
    move: async () => fakeJob,
    jobs: async () => [fakeJob],
    watch: () => stream(fakeJob, fakeComplete),
    pause: async () => ({ ...fakeJob, state: 'paused' }),
    resume: async () => fakeJob,
    cancel: async () => ({ ...fakeJob, state: 'cancelled' }),
    verify: async ({ job, deep }) => ({
      job,
      match: true,
      sourceRoot: fakeComplete.root,
      targetRoot: fakeComplete.root,
      deep,
      checkedBytes: 2 * 1024 ** 3,
      seconds: 3,
      reasons: [],
    }),
    receipt: async () => fakeReceipt,
    machines: async () => [fakeMachine],
    machineStart: async () => fakeMachine,
    machineStop: async () => ({ ...fakeMachine, state: 'stopped' }),
    relocationPlan: async () => fakeRelocationPlan,
    relocate: async () => fakeRelocation,
    relocations: async () => [],
    arrivals: async () => [],
    relocationReceipt: failing('JOB_UNKNOWN', 'There is no such relocation'),
    arrivalApprove: async ({ relocation }) => ({ ...fakeArrival, relocation }),
    arrivalReject: async ({ relocation }) => ({ ...fakeArrival, relocation, state: 'released' }),
    relocationWatch: ({ job }) => (job === undefined ? stream() : stream(fakeRelocation, fakeLive)),
    relocationPause: async () => ({ ...fakeRelocation, state: 'paused', wanted: 'pause' }),
    relocationResume: async () => fakeRelocation,
    cutover: async () => fakeRelocation,
    rollback: async () => ({ ...fakeRelocation, state: 'rolling-back' }),
    finalize: async () => ({ ...fakeLive, state: 'finalizing', wanted: 'finalize' }),
    bench: async ({ peer, bytes }) => ({
      peer,
      roundTripMs: 1.25,
      bytes,
      seconds: 1,
      bytesPerSecond: bytes,
      lanes: 4,
      path: 'tls',
      cpuSecondsPerGiB: 1.4,
    }),
    offersPublish: async ({ file }) => ({ ...fakeOwnOffer, file }),
    offersWithdraw: async () => ({ ...fakeOwnOffer, renewed: false }),
    offersList: () => stream<OfferPage>({ offers: [fakeOffer], brokers: [FAKE_BROKER_ID], failures: [] }),
    offersOwn: async () => [fakeOwnOffer],
    match: () => stream(fakeMatch),
    matchWatch: () => stream(fakeMatch),
    doctor: async () => [{ name: 'peer beta', state: 'ok', detail: '1 ms' }],
  }
  const all = { ...canned, ...answers } as Record<string, (...args: unknown[]) => unknown>
  const recorded = Object.fromEntries(
    Object.entries(all).map(([call, answer]) => [
      call,
      (args: unknown, options: unknown) => {
        calls.push([call, args])
        return answer(args, options)
      },
    ]),
  )
  return { api: recorded as unknown as AgentApi, calls }
}

/** An answer that fails. */
export function failing(
  code: ConstructorParameters<typeof FluidError>[0],
  message: string,
): () => Promise<never> {
  return async () => {
    throw new FluidError(code, message)
  }
}
