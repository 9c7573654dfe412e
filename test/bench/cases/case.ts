/** A row of what the benchmark knows to measure. */
import type { Options } from '../options.ts'
import type { Report } from '../report.ts'

export interface Case {
  /** What --case names it by. */
  readonly id: string
  readonly title: string
  run(options: Options, report: Report): Promise<void>
}
