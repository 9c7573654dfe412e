/** What relocations are made of: parts of the running agent, and the way to a target. */
import type { Logger } from 'pino'
import type { BodyKind } from '../../protocol/relocation-signed.ts'
import { FluidError } from '../../protocol/errors.ts'
import type { AllowedMigrators } from '../../transfer/migrators/registry.ts'
import type { Cloud } from '../clouds/cloud.ts'
import type { Clouds } from '../clouds/open-cloud.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { RelocationRequest, RelocationTarget } from './target.ts'
import type { ArrivalRecord, KeptBody } from './target-record.ts'

export interface RelocationParts {
  readonly jobs: Jobs
  readonly clouds: Clouds
  /** Third parties' that may run here; none when left out. */
  readonly migrators?: AllowedMigrators
  /** Opens a conversation about one relocation. Throws NOT_PAIRED, PEER_UNREACHABLE, VERSION_UNSUPPORTED. */
  openTarget(asked: Asked, signal: AbortSignal): Promise<RelocationTarget>
  /** What came here from those that are peers still, as it is kept; nothing when left out. */
  arrivals?(): Promise<readonly ArrivalRecord[]>
  readonly log: Logger
}

/** Whom a relocation goes to, and what it asks there. */
export interface Asked {
  readonly peer: string
  readonly request: RelocationRequest
  /** What both sides signed of it, the last of each kind: noted as the conversation goes on. */
  evidence?: Partial<Record<BodyKind, KeptBody>>
}

/** Codes of what may pass by itself: a line, a peer, a cloud that is busy. */
const PASSING: ReadonlySet<string> = new Set([
  'PEER_UNREACHABLE',
  'TIMEOUT',
  'LANE_FAILED',
  'INTERRUPTED',
  'NO_PATH',
])

export function isPassing(error: unknown): boolean {
  return error instanceof FluidError && PASSING.has(error.code)
}

/** Each machine of a relocation with its cloud's driver. */
export async function withClouds<M extends { readonly cloud: Parameters<Clouds['cloud']>[0] }>(
  { clouds }: Pick<RelocationParts, 'clouds'>,
  machines: readonly M[],
): Promise<{ machine: M; cloud: Cloud }[]> {
  return Promise.all(machines.map(async (machine) => ({ machine, cloud: await clouds.cloud(machine.cloud) })))
}
