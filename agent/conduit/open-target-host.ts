/** What other agents relocate to this one, on the parts of a running agent. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { resolveMigrator } from '../../transfer/migrators/registry.ts'
import type { Clouds } from '../clouds/open-cloud.ts'
import { dialPeer } from '../dial-peer.ts'
import type { JobParts } from '../job-parts.ts'
import { isOver } from '../job-record.ts'
import type { Jobs } from '../jobs.ts'
import type { Table } from '../state-store.ts'
import { Arrivals } from './target-arrivals.ts'
import { serveRelocations } from './target-host.ts'
import type { ArrivalParts } from './target-parts.ts'
import type { ArrivalRecord } from './target-record.ts'

export interface TargetHost extends AsyncDisposable {
  readonly arrivals: Arrivals
}

export interface TargetHostOptions {
  readonly parts: JobParts
  readonly jobs: Jobs
  readonly clouds: Clouds
  readonly table: Table<ArrivalRecord>
  /** A folder of the agent's own, made when it is needed. */
  readonly folder: string
}

const WAKE_TIMEOUT_MS = 10_000

/** Goes on with what was unfinished, then serves. */
export async function openTargetHost(options: TargetHostOptions): Promise<TargetHost> {
  const { parts, jobs, clouds, table, folder } = options
  const { mesh, identity, config, writableFormats, log } = parts
  const folderOf = (relocation: string) => join(folder, relocation)
  const records = () => jobs.list().map(({ job }) => jobs.get(job).record)
  const arrivalParts: ArrivalParts = {
    identity,
    clouds,
    cloudsConfig: config.clouds,
    table,
    writableFormats,
    log,
    folderOf,
    removeFolder: (relocation) => rm(folderOf(relocation), { recursive: true, force: true }),
    jobs: records,
    async cancelJobs({ peer, places }) {
      const names = new Set(places.map(({ destination }) => destination))
      for (const { job, direction, peer: sender, destination, state } of records())
        if (direction === 'in' && sender === peer && names.has(destination) && !isOver(state))
          await jobs.cancel(job)
    },
    migrator: ({ migrator, version }) =>
      resolveMigrator(migrator, version, {
        ...config.migrators,
        log: (name, text) => log.warn({ migrator: name }, text),
      }),
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
  stack.use(await serveRelocations({ mesh, parts: arrivalParts, arrivals }))
  const owned = stack.move()
  return { arrivals, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
