/** What other agents relocate to this one, on the parts of a running agent. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ArrivalReport } from '../reports/relocation-reports.ts'
import type { Clouds } from '../clouds/open-cloud.ts'
import { dialPeer } from '../mesh/dial-peer.ts'
import type { JobParts } from '../job-parts.ts'
import { isOver } from '../jobs/job-record.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { Table } from '../state-store.ts'
import type { Evidence } from './evidence.ts'
import type { RelocationRecord } from './relocation-record.ts'
import type { Arrival } from './target-arrival.ts'
import { Arrivals } from './target-arrivals.ts'
import { serveRelocations } from './target-host.ts'
import type { ArrivalParts } from './target-parts.ts'
import type { ArrivalRecord } from './target-record.ts'

export interface TargetHost extends AsyncDisposable {
  readonly calls: {
    /** Newest first. */
    list(): ArrivalReport[]
    /** Throw JOB_UNKNOWN, JOB_STATE. */
    approve(id: string): Promise<ArrivalReport>
    reject(id: string): Promise<ArrivalReport>
    /** Of the relocation of that id to here. Throws JOB_UNKNOWN. */
    evidenceOf(id: string): Evidence
  }
}

export interface TargetHostOptions {
  readonly parts: JobParts
  readonly jobs: Jobs
  readonly clouds: Clouds
  readonly table: Table<ArrivalRecord>
  /** Of relocations from this agent. */
  readonly departures: Pick<Table<RelocationRecord>, 'all'>
  /** A folder of the agent's own, made when it is needed. */
  readonly folder: string
}

const WAKE_TIMEOUT_MS = 10_000
const LET_IN_MS = 500

/** Goes on with what was unfinished, then serves. */
export async function openTargetHost(options: TargetHostOptions): Promise<TargetHost> {
  const { parts, jobs, clouds, table, departures, folder } = options
  const { mesh, identity, config, writableFormats, heldPlaces, log } = parts
  const folderOf = (relocation: string) => join(folder, relocation)
  const records = () => jobs.list().map(({ job }) => jobs.get(job).record)
  const arrivalParts: ArrivalParts = {
    identity,
    clouds,
    cloudsConfig: config.clouds,
    table,
    writableFormats,
    heldPlaces,
    stores: config.migrators.stores,
    log,
    folderOf,
    removeFolder: (relocation) => rm(folderOf(relocation), { recursive: true, force: true }),
    jobs: records,
    departures: () => departures.all(),
    async cancelJobs({ peer, places }) {
      const names = new Set(places.map(({ destination }) => destination))
      for (const { job, direction, peer: sender, destination, state } of records())
        if (direction === 'in' && sender === peer && names.has(destination) && !isOver(state))
          await jobs.cancel(job)
    },
    async migrator({ migrator, version }) {
      // Loaded by agents that are asked to change a guest, not by all.
      const { resolveMigrator } = await import('../../transfer/migrators/registry.ts')
      return await resolveMigrator(migrator, version, {
        ...config.migrators,
        log: (name, text) => log.warn({ migrator: name }, text),
      })
    },
  }
  await using stack = new AsyncDisposableStack()
  const arrivals = stack.use(
    await Arrivals.open(arrivalParts, {
      policy: mesh.policy,
      wake: (peer) => {
        dialPeer(mesh, peer, { signal: AbortSignal.timeout(WAKE_TIMEOUT_MS) }).catch(() => {})
      },
    }),
  )
  // Whoever let the service in need not let in each of its disks.
  const letting = setInterval(() => {
    for (const { record } of arrivals.list()) {
      if (!record.approved || record.state !== 'prepared') continue
      for (const { job, direction, peer, destination, state } of records())
        if (direction === 'in' && state === 'awaiting-approval' && peer === record.peer)
          if (record.places.some((place) => place.destination === destination))
            void jobs.resume(job).catch(() => {})
    }
  }, LET_IN_MS).unref()
  stack.defer(() => clearInterval(letting))
  stack.use(await serveRelocations({ mesh, parts: arrivalParts, arrivals }))
  const owned = stack.move()
  const report = ({ record, standing }: Arrival): ArrivalReport => ({
    relocation: record.relocation,
    state: standing === 'suspended' ? standing : record.state,
    service: record.request.service,
    peer: record.peer,
    peerName: mesh.peers.get(record.peer)?.name ?? record.peer.slice(-8),
    cloud: record.cloud,
    machines: record.request.machines.map(({ machine }) => machine.name),
    ...(record.reason !== undefined && { reason: record.reason }),
    createdAt: new Date(record.createdAt).toISOString(),
  })
  const calls: TargetHost['calls'] = {
    list: () => arrivals.list().map(report),
    approve: async (id) => report(await arrivals.approve(id)),
    reject: async (id) => report(await arrivals.reject(id)),
    evidenceOf(id) {
      const { relocation, request, state, peer, evidence } = arrivals.get(id).record
      const { service } = request
      return { relocation, service, side: 'target', state, source: peer, target: identity.peerId, evidence }
    },
  }
  return { calls, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
