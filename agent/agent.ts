/** The agent: opens its parts in order, wires them, and owns their closing. What they do is in their own files. */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { multiaddr } from '@multiformats/multiaddr'
import { pino, type Logger } from 'pino'
import { FluidError } from '../protocol/errors.ts'
import { openChunkIndex } from '../transfer/chunk-index.ts'
import { createLaneIdentity } from '../transfer/lanes/certificates.ts'
import { LanePool } from '../transfer/lane-pool.ts'
import { createPacer } from '../transfer/pacer.ts'
import { dataAddrs, dialableAddrs, hostOf, isLoopback } from './mesh/addresses.ts'
import { createAgentApi } from './agent-api.ts'
import type { AgentApi } from './api.ts'
import type { StatusReport } from './reports/agent-reports.ts'
import { createBrokerClient } from './brokers/broker-client.ts'
import { openOfferPublisher, type OwnOffer } from './brokers/broker-offers.ts'
import { createClouds } from './clouds/open-cloud.ts'
import { openRelocations } from './conduit/open-relocations.ts'
import { openTargetHost } from './conduit/open-target-host.ts'
import type { RelocationRecord } from './conduit/relocation-record.ts'
import { claimOf, type ArrivalRecord } from './conduit/target-record.ts'
import { loadConfig, type Config } from './config.ts'
import { openDataListener, type DataListener } from './viaduct/data-listener.ts'
import { openHome } from './home.ts'
import { migratorsHere } from './brokers/hosted-migrators.ts'
import { loadIdentity } from './identity.ts'
import { HeldPlaces } from './jobs/held-places.ts'
import { JOB_BOUNDS, type JobBounds } from './jobs/job-bounds.ts'
import type { JobParts } from './job-parts.ts'
import type { JobRecord } from './jobs/job-record.ts'
import { Jobs } from './jobs/jobs.ts'
import { type Mesh, openMesh } from './mesh.ts'
import { socketOf } from './reach/own-addresses.ts'
import type { PortMapping } from './reach/port-mapping.ts'
import { openReachability, type Reachability } from './reach/reachability.ts'
import { createSeedFolders } from './jobs/seed-folders.ts'
import { openStateStore } from './state-store.ts'
import { openStreamLanes } from './viaduct/stream-lanes.ts'
import { writableFormats } from './jobs/writable-formats.ts'

export interface AgentOptions {
  /** Path of an initialised home. */
  readonly home: string
  readonly listen?: readonly string[]
  readonly dataPort?: number
  readonly mdns?: boolean
  readonly bootstrap?: readonly string[]
  readonly directory?: boolean
  readonly logLevel?: string
  /** Bounds on what peers may hold, other than JOB_BOUNDS. */
  readonly bounds?: Partial<JobBounds>
  /** Logs go to standard error unless given. */
  readonly log?: Logger
  /** What runs beside the agent in its process, such as a broker. */
  readonly services?: readonly OpenService[]
}

/** Opens something on the parts and the jobs of a running agent, which outlive it. */
export type OpenService = (parts: JobParts, jobs: Jobs) => Promise<AgentService>

export interface AgentService extends AsyncDisposable {
  /** What `status` says of it. */
  status(): Partial<StatusReport>
}

export interface Agent extends AsyncDisposable {
  readonly api: AgentApi
  readonly ready: {
    readonly pid: number
    readonly peerId: string
    readonly addrs: string[]
    readonly dataAddrs: string[]
  }
  /** Resolves when something asked the agent to stop. */
  readonly closed: Promise<void>
}

/** Starts an agent; dispose it to stop. Throws NOT_INITIALISED, STATE_LOCKED, CONFIG_INVALID, STATE_DAMAGED, NO_SPACE. */
export async function createAgent(options: AgentOptions): Promise<Agent> {
  const home = await openHome(options.home)
  const config = await loadConfig(home.config, options)
  const log = options.log ?? pino({ level: config.log.level, base: undefined }, pino.destination(2))
  await using stack = new AsyncDisposableStack()
  const store = stack.use(await openStateStore(home.state))
  const identity = await loadIdentity(home.identityKey)
  const { level } = store
  const mesh = stack.use(await openMesh({ home, identity, store, config }))
  const listener = stack.use(await listenForLanes(config))
  const reachability = stack.use(await openReachability({ mesh, listener, config }))
  const portMapping = config.portMapping ? stack.use(await mapPorts(mesh, listener, reachability)) : undefined
  const streamLanes = stack.use(await openStreamLanes(mesh, config))
  const pool = stack.use(new LanePool())
  const parts: JobParts = {
    config,
    identity,
    mesh,
    listener,
    streamLanes,
    laneIdentity: await createLaneIdentity(config.name),
    pool,
    pacer: config.limits.bandwidth === undefined ? undefined : createPacer(config.limits.bandwidth),
    level,
    index: openChunkIndex(level),
    statePath: home.state,
    writableFormats: await writableFormats(),
    heldPlaces: new HeldPlaces(),
    version: packageVersion(),
    bounds: { ...JOB_BOUNDS, ...options.bounds },
    log,
  }
  const arrivals = store.table<ArrivalRecord>('arrivals')
  // Before the first offer is answered.
  for (const record of await arrivals.all()) parts.heldPlaces.set(record.relocation, claimOf(record))
  const jobs = stack.use(await Jobs.open(parts, store.table<JobRecord>('jobs')))
  const brokers = createBrokerClient({ ...mesh, config })
  const offers = store.table<OwnOffer>('offers')
  const { node } = mesh
  const hosted = () => migratorsHere(parts)
  const publisher = stack.use(
    await openOfferPublisher({ identity, node, client: brokers, table: offers, hosted }),
  )
  const clouds = stack.use(createClouds(config.clouds))
  const folder = join(home.path, 'arrivals')
  const departures = store.table<RelocationRecord>('relocations')
  const target = stack.use(await openTargetHost({ parts, jobs, clouds, table: arrivals, departures, folder }))
  const relocations = stack.use(await openRelocations(parts, jobs, clouds, { table: departures, arrivals }))
  const services: AgentService[] = []
  for (const open of options.services ?? []) services.push(stack.use(await open(parts, jobs)))
  const closed = Promise.withResolvers<void>()
  const api = createAgentApi({
    parts,
    jobs,
    home,
    seeds: createSeedFolders({ store }),
    brokers,
    publisher,
    relocations,
    target,
    reachability,
    portMapping,
    beside: () => Object.assign({}, ...services.map((service) => service.status())) as Partial<StatusReport>,
    stop: closed.resolve,
  })
  const owned = stack.move()
  return {
    api,
    ready: {
      pid: process.pid,
      peerId: identity.peerId,
      addrs: dialableAddrs(mesh.node),
      dataAddrs: dataAddrs(mesh.node, {
        port: listener.address.port,
        dataHost: config.dataHost,
        own: mesh.own,
      }),
    },
    closed: closed.promise,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Has the router forward both ports, where they listen on more than this machine. Loaded by who asks for it. */
async function mapPorts(
  { node }: Mesh,
  listener: DataListener,
  reachability: Reachability,
): Promise<PortMapping> {
  const { openPortMapping } = await import('./reach/port-mapping.ts')
  const ports = () => {
    const sockets = node
      .getMultiaddrs()
      .filter((addr) => isIP(hostOf(addr) ?? '') === 4 && !isLoopback(hostOf(addr)))
    const [socket] = sockets.flatMap((addr) => socketOf(addr) ?? [])
    const mesh = Number(socket?.split(':')[1] ?? 0)
    return { mesh, data: mesh > 0 ? listener.address.port : 0 }
  }
  return openPortMapping({ ports, onChange: reachability.mapped })
}

async function listenForLanes(config: Config): Promise<DataListener> {
  try {
    return await openDataListener({ host: dataHostOf(config), port: config.dataPort })
  } catch (cause) {
    throw new FluidError('CONFIG_INVALID', `Listening on data port ${config.dataPort} failed`, {
      cause,
      hint: 'Another program may use the port; see data_port in config.toml',
    })
  }
}

/** Lanes are taken where the mesh listens: on this machine only, or anywhere. */
function dataHostOf({ listen }: Config): string {
  const hosts = listen.map((addr) => hostOf(multiaddr(addr)))
  return hosts.length > 0 && hosts.every(isLoopback) ? hosts[0]! : '::'
}

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return version
}
