/** The agent itself: who it is, how it does, how fast it is. Plain data only. */
import type { RelayReport } from '../mesh/relay.ts'
import type { PortMappingReport } from '../reach/port-mapping.ts'
import type { ReachReport } from '../reach/reachability.ts'
import type { JobReport } from './job-reports.ts'
import type { PeerReport } from './peer-reports.ts'
import type { ArrivalReport, RelocationReport } from './relocation-reports.ts'

export interface IdReport {
  readonly peerId: string
  readonly name: string
  /** Multiaddrs that can be dialed, with /p2p/<peerId>. */
  readonly addrs: readonly string[]
  /** host:port of the data port. */
  readonly dataAddrs: readonly string[]
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
