/**
 * Where the time of a thread goes, stage by stage, for those who make it faster: with FLUIDCLOUD_PROFILE=1 in the
 * environment of an agent each job tells it in the log (agent/jobs/stage-report.ts). Without, a stage costs one comparison.
 *
 * Stages run to their end without giving the thread away to another lane. Their times are processor time of the thread, not
 * what passes while others have its core. Waits are time that passes: several may at once, one of each lane.
 */
import { threadCpuMs } from './linux.ts'

/** What a thread does, and what its lanes wait for. */
export type Stage =
  | 'read'
  | 'cut'
  | 'digest'
  | 'compress'
  | 'look-up'
  | 'decompress'
  | 'verify'
  | 'write'
  | 'wait-read'
  | 'wait-slot'
  | 'wait-want'
  | 'wait-line'
  | 'wait-frame'
  | 'wait-write'

/** Milliseconds by stage, and `cpu`: of the whole thread. */
export type StageTimes = Partial<Record<Stage | 'cpu', number>>

export const PROFILING = process.env.FLUIDCLOUD_PROFILE === '1'

let times: StageTimes = {}
let cpuTakenMs = 0

/** When a stage begins, for endStage(); 0 when nothing is measured. */
export function startStage(): number {
  return PROFILING ? threadCpuMs() : 0
}

/** Counts the processor time since `began` to `stage`, and gives the present for the stage that follows. */
export function endStage(stage: Stage, began: number): number {
  if (!PROFILING) return 0
  const now = threadCpuMs()
  addStage(stage, now - began)
  return now
}

/** Counts time that was measured elsewhere. */
export function addStage(stage: Stage, ms: number): void {
  if (PROFILING) times[stage] = (times[stage] ?? 0) + ms
}

/** Waits for `pending`, and counts that. */
export async function waitStage<T>(stage: Stage, pending: T | Promise<T>): Promise<T> {
  if (!PROFILING) return await pending
  const began = performance.now()
  try {
    return await pending
  } finally {
    addStage(stage, performance.now() - began)
  }
}

/** What this thread counted since the last call; undefined when nothing is measured. */
export function takeStageTimes(): StageTimes | undefined {
  if (!PROFILING) return undefined
  const taken = times
  times = {}
  taken.cpu = threadCpuMs() - cpuTakenMs
  cpuTakenMs += taken.cpu
  return taken
}

/** The sum of two. */
export function sumStageTimes(a: StageTimes, b: StageTimes): StageTimes {
  const sum: StageTimes = { ...a }
  for (const [stage, ms] of Object.entries(b) as [Stage, number][]) sum[stage] = (sum[stage] ?? 0) + ms
  return sum
}
