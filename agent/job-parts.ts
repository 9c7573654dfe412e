/** What jobs are made of: the long-lived parts of a running agent, wired in agent.ts. */
import type { Logger } from 'pino'
import type { ChunkIndex, StateLevel } from '../transfer/chunk-index.ts'
import { CHUNKINGS } from '../transfer/chunker.ts'
import type { LaneIdentity } from '../transfer/lane.ts'
import type { LanePool } from '../transfer/lane-pool.ts'
import type { Capabilities, Hello } from '../protocol/control-message.ts'
import { PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../protocol/ids.ts'
import { MAX_LANES_ACCEPTED } from '../protocol/limits.ts'
import type { Config } from './config.ts'
import type { DataListener } from './viaduct/data-listener.ts'
import type { Identity } from './identity.ts'
import type { HeldPlaces } from './jobs/held-places.ts'
import type { JobBounds } from './jobs/job-bounds.ts'
import type { Mesh } from './mesh.ts'
import type { StreamLanes } from './viaduct/stream-lanes.ts'

export interface JobParts {
  readonly config: Config
  readonly identity: Identity
  readonly mesh: Mesh
  readonly listener: DataListener
  readonly streamLanes: StreamLanes
  /** What this side shows on its TLS lanes. */
  readonly laneIdentity: LaneIdentity & { readonly certificateDer: Uint8Array }
  readonly pool: LanePool
  /** The rate limit that all jobs share, see pacer.ts; undefined: none. */
  readonly pacer?: SharedArrayBuffer
  /** Journals and the chunk index, inside the state database. */
  readonly level: StateLevel
  readonly index: ChunkIndex
  /** Where lane workers open that database. */
  readonly statePath: string
  /** Formats this agent can write: qcow2 only with qemu-utils. */
  readonly writableFormats: readonly string[]
  /** Where no job may write, since a machine has it. */
  readonly heldPlaces: HeldPlaces
  readonly version: string
  readonly bounds: JobBounds
  readonly log: Logger
}

/** What an agent says of itself. */
type Introduced = Pick<JobParts, 'writableFormats'> & {
  readonly config: Pick<Config, 'allowRelay' | 'webrtc'>
}

/** What this agent can do, best first. */
export function capabilities({ writableFormats, config }: Introduced): Capabilities {
  return {
    chunkings: [...CHUNKINGS],
    codecs: ['zstd', 'raw'],
    lanes: ['tls', 'libp2p', ...(config.webrtc ? ['webrtc'] : []), ...(config.allowRelay ? ['relay'] : [])],
    formats: writableFormats,
    maxLanes: MAX_LANES_ACCEPTED,
  }
}

/** How this agent introduces itself on every viaduct. */
export function helloOf(parts: Introduced & Pick<JobParts, 'version'>): { kind: 'hello' } & Hello {
  return {
    kind: 'hello',
    major: PROTOCOL_MAJOR,
    minor: PROTOCOL_MINOR,
    agent: `fluidcloud/${parts.version}`,
    capabilities: capabilities(parts),
  }
}
