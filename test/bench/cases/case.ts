/** A row of what the benchmark knows to measure. */
import type { Options } from '../options.ts'
import type { Report } from '../report.ts'
import type { ResidentMemory } from '../resident-memory.ts'

/** What every case works with. */
export interface Bench {
  readonly options: Options
  readonly report: Report
  readonly memory: ResidentMemory
}

export interface Case {
  /** What --case names it by. */
  readonly id: string
  readonly title: string
  run(bench: Bench): Promise<void>
}
