/** What the command line may ask of the running agent, put together from its parts; api.ts says what each call means. */
import { setTimeout as delay } from 'node:timers/promises'
import { peerReport, pendingReport } from './pairing/peer-report.ts'
import { dataAddrs, dialableAddrs } from './mesh/addresses.ts'
import type { AgentApi } from './api.ts'
import type { IdReport, StatusReport } from './reports/agent-reports.ts'
import type { MoveSpec } from './reports/job-reports.ts'
import type { PeerReport, SeedReport } from './reports/peer-reports.ts'
import { FluidError } from '../protocol/errors.ts'
import { MAX_LANES, PROGRESS_INTERVAL_MS } from '../protocol/limits.ts'
import { isPeerId } from '../protocol/peer-id.ts'
import { SEED_SCOPE } from '../transfer/chunk-index.ts'
import { benchPeer } from './bench-peer.ts'
import { createBrokerCalls } from './brokers/broker-calls.ts'
import type { BrokerClient } from './brokers/broker-client.ts'
import { createMatcher } from './brokers/broker-matching.ts'
import type { OfferPublisher } from './brokers/broker-offers.ts'
import type { OpenedRelocations } from './conduit/open-relocations.ts'
import type { TargetHost } from './conduit/open-target-host.ts'
import { createMachineCalls } from './clouds/machine-calls.ts'
import { evidenceReport } from './conduit/evidence.ts'
import { createRelocationCalls } from './conduit/relocation-calls.ts'
import type { Home } from './home.ts'
import { indexSeed } from './jobs/indexing.ts'
import type { JobParts } from './job-parts.ts'
import type { JobOptions } from './jobs/job-record.ts'
import { leftWithin, overWithin } from './jobs/job-watch.ts'
import type { Jobs } from './jobs/jobs.ts'
import { addrsOf } from './mesh/peer-address.ts'
import { checkDirectory, checkPeers } from './pairing/peer-checks.ts'
import type { PeerRecord } from './mesh/peers.ts'
import type { PendingRecord } from './pairing/pending-pairings.ts'
import { planMove } from './jobs/plan-move.ts'
import type { PortMapping } from './reach/port-mapping.ts'
import type { Reachability } from './reach/reachability.ts'
import { checkMapping, checkReach } from './reach/reach-check.ts'
import { receiptReport } from './jobs/receipt-report.ts'
import type { SeedFolders } from './jobs/seed-folders.ts'
import { verifyJob } from './jobs/verify-job.ts'

/** How long pause waits for the job to rest: a lane ends its windows first, and a peer may be away. */
const PAUSE_WAIT_MS = 5_000

export interface AgentApiParts {
  readonly parts: JobParts
  readonly jobs: Jobs
  readonly home: Home
  readonly seeds: SeedFolders
  readonly brokers: BrokerClient
  readonly publisher: OfferPublisher
  readonly relocations: OpenedRelocations
  readonly target: TargetHost
  readonly reachability: Reachability
  readonly portMapping?: PortMapping
  /** What runs beside the agent tells of itself. */
  readonly beside: () => Partial<StatusReport>
  stop(): void
}

/** Calls last as long as the agent; those that take long are bounded by their own deadlines. */
export function createAgentApi(all: AgentApiParts): AgentApi {
  const {
    parts,
    jobs,
    home,
    seeds,
    brokers,
    publisher,
    relocations,
    target,
    reachability,
    portMapping,
    beside,
    stop,
  } = all
  const { config, identity, mesh, listener } = parts
  const { node, peers, policy, pairing } = mesh
  const { directory, relay, relayClient } = node.services
  const startedAt = Date.now()
  const forever = new AbortController().signal
  const seedReports = new Map<string, SeedReport>()

  const report = (record: PeerRecord): Promise<PeerReport> => peerReport({ node, policy }, record)
  const id = async (): Promise<IdReport> => ({
    peerId: identity.peerId,
    name: config.name,
    addrs: dialableAddrs(node),
    dataAddrs: dataAddrs(node, {
      port: listener.address.port,
      dataHost: config.dataHost,
      own: mesh.own,
    }),
  })
  const optionsOf = (spec: MoveSpec): JobOptions => ({
    lanes: spec.lanes === undefined ? undefined : Math.min(spec.lanes, MAX_LANES),
    bandwidth: spec.bandwidth,
    verifyDeep: spec.verifyDeep ?? false,
    replace: spec.replace ?? false,
    inPlace: checkInPlace(spec),
    format: spec.format ?? 'raw',
    compression: spec.compression ?? 'auto',
  })
  const seedList = async (): Promise<SeedReport[]> =>
    (await seeds.list()).map(
      ({ folder }) => seedReports.get(folder) ?? { folder, files: 0, chunks: 0, bytes: 0, state: 'ready' },
    )

  /** Reads a seed folder to its end, whether or not anyone watches. */
  const scanSeed = async (folder: string): Promise<void> => {
    for await (const progress of indexSeed(parts, folder, forever)) seedReports.set(folder, progress)
  }

  return {
    id,
    async status() {
      return {
        ...(await id()),
        pid: process.pid,
        version: parts.version,
        home: home.path,
        uptimeSeconds: Math.round((Date.now() - startedAt) / 1000),
        rssBytes: process.memoryUsage.rss(),
        peers: await Promise.all((await peers.list()).map(report)),
        jobs: jobs.list(),
        relocations: relocations.relocations.list(),
        arrivals: target.calls.list().filter(({ state }) => state !== 'released' && state !== 'finalized'),
        refused: { ...mesh.refusals.snapshot(), ...prefixed('socket-', listener.refused) },
        directory: directory && { agents: directory.size },
        reachable: reachability.report(),
        portMapping: portMapping?.report(),
        relay: relay?.report(),
        strangersRelays: relayClient.strangers.length > 0 ? relayClient.strangers : undefined,
        reachedThrough: relayClient.reservedAt.length > 0 ? relayClient.reservedAt : undefined,
        ...beside(),
      }
    },
    async stop() {
      stop()
    },
    async find({ peer }) {
      if (!isPeerId(peer)) throw new FluidError('USAGE', `'${peer}' is not a peer ID`)
      if (!directory)
        throw new FluidError('USAGE', 'This agent does not serve the directory', {
          hint: 'Name a first contact: --bootstrap, or bootstrap in config.toml; or say directory = true',
        })
      for await (const addrs of directory.find(peer))
        return { peer, addrs: addrsOf(addrs.map(String), peer).map(String) }
      return { peer, addrs: [] }
    },

    async pairTicket(options) {
      const { ticket, expiresAt } = await pairing.issueTicket(options)
      return { ticket, expiresAt: new Date(expiresAt).toISOString() }
    },
    pairRedeem: async (options) => report(await pairing.redeem(options)),
    async pairRequest(options) {
      const answer = await pairing.request(options)
      return isPending(answer) ? pendingReport(answer) : report(answer)
    },
    pairList: async () => Promise.all((await peers.list()).map(report)),
    pairPending: async () => (await pairing.pending()).map(pendingReport),
    pairAccept: async (options) => report(await pairing.accept(options)),
    pairReject: (options) => pairing.reject(options),
    async pairRemove({ peer }) {
      const record = await peers.resolve(peer)
      // Denied first, which stops its jobs here.
      await policy.deny(record.peer)
      await pairing.remove({ peer: record.peer })
    },

    async policyShow({ peer }) {
      const records = peer === undefined ? await peers.list() : [await peers.resolve(peer)]
      return { peers: await Promise.all(records.map(report)), seeds: await seedList() }
    },
    async policySet({ peer, deny, ...change }) {
      const record = await peers.resolve(peer)
      if (deny) await policy.deny(record.peer)
      else await policy.set(record.peer, change)
      return report(record)
    },
    async *seedAdd({ folder }, { signal } = {}) {
      const seed = await seeds.add(folder)
      let over = false
      const scanning = scanSeed(seed.folder).finally(() => (over = true))
      scanning.catch(() => {})
      while (!over && !signal?.aborted) {
        await Promise.race([scanning, delay(PROGRESS_INTERVAL_MS)])
        const progress = seedReports.get(seed.folder)
        if (progress) yield progress
      }
      if (over) await scanning
    },
    async seedRemove({ folder }) {
      const seed = await seeds.remove(folder)
      seedReports.delete(seed.folder)
      // Chunks are not counted by folder: the others are read again.
      await parts.index.clear(SEED_SCOPE)
      for (const other of await seeds.list()) await scanSeed(other.folder)
    },
    seedList,

    async plan(spec, { signal = forever } = {}) {
      const { peer } = await peers.resolve(spec.peer)
      const sourceFormat = await jobs.arrivedFormat(spec.source)
      return planMove(parts, { ...spec, sourceFormat }, peer, optionsOf(spec), signal)
    },
    async move(spec) {
      const { peer } = await peers.resolve(spec.peer)
      return (await jobs.move(spec, peer, optionsOf(spec))).report()
    },
    jobs: async () => jobs.list(),
    watch: ({ job }, { signal = forever } = {}) => jobs.watch(job, signal),
    async pause({ job }) {
      const held = await jobs.pause(job)
      await overWithin(held, PAUSE_WAIT_MS, 'paused')
      return held.report()
    },
    async resume({ job }) {
      const going = await jobs.resume(job)
      await leftWithin(going, PAUSE_WAIT_MS, 'paused')
      return going.report()
    },
    cancel: async ({ job }) => (await jobs.cancel(job)).report(),
    verify: ({ job, deep }, { signal = forever } = {}) => verifyJob(parts, jobs.get(job), { deep, signal }),
    receipt: ({ job }) => receiptReport(jobs.get(job)),

    ...createBrokerCalls({
      peerId: identity.peerId,
      client: brokers,
      publisher,
      jobs: () => jobs.list(),
    }),

    ...createMachineCalls({
      clouds: relocations.parts.clouds,
      relocations: () => relocations.relocations.list(),
    }),

    arrivals: async () => target.calls.list(),
    relocationReceipt: ({ job }) =>
      evidenceReport(relocations.evidenceOf(job) ?? target.calls.evidenceOf(job)),
    arrivalApprove: ({ relocation }) => target.calls.approve(relocation),
    arrivalReject: ({ relocation }) => target.calls.reject(relocation),
    ...createRelocationCalls({
      ...relocations,
      peers,
      matcher: createMatcher({ client: brokers, jobs: () => jobs.list() }),
    }),

    async bench({ peer, bytes, lanes }, { signal = forever } = {}) {
      const record = await peers.resolve(peer)
      return benchPeer(parts, record.peer, { bytes, lanes, signal })
    },
    doctor: async () => [
      ...(directory ? [checkDirectory(directory)] : []),
      checkReach(reachability.report(), { config, addrs: (await id()).addrs }),
      ...(portMapping ? [checkMapping(portMapping.report())] : []),
      ...(await checkPeers(parts, await peers.list())),
    ],
  }
}

/** Whether the version there is to be changed in place. Throws USAGE where there can be none. */
function checkInPlace({ inPlace, replace, format = 'raw' }: MoveSpec): true | undefined {
  if (!inPlace) return undefined
  if (!replace) throw new FluidError('USAGE', '--in-place changes a version: say --replace too')
  if (format !== 'raw') throw new FluidError('USAGE', '--in-place is for raw targets only')
  return true
}

function isPending(answer: PeerRecord | PendingRecord): answer is PendingRecord {
  return 'since' in answer
}

function prefixed(prefix: string, counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(counts)
      .filter(([, n]) => n > 0)
      .map(([kind, n]) => [prefix + kind, n]),
  )
}
