/**
 * How often the lines of `--json` tell of a job: at most five in any second, as scripts are promised. Of these, three are for
 * a job that goes on as before, one more for a change of its state, and the last for its end, which is always told. Pure.
 */
import type { JobReport } from '../reports/job-reports.ts'
import { isFinished } from './progress.ts'

const SECOND_MS = 1_000
/** Lines of one second behind which none that goes on as before, or that changes, is told. */
const AS_BEFORE = 3
const CHANGES = 4
const APART_MS = SECOND_MS / AS_BEFORE

interface Told {
  state: string
  /** When the lines of the last second were told, ascending. */
  readonly times: number[]
}

/** Of one command; jobs do not disturb each other. */
export class ProgressPace {
  readonly #told = new Map<string, Told>()

  /** True when the report, which came at `at` (ms of one clock), is to be told; it then counts as told. */
  admits(report: JobReport, at: number): boolean {
    const told = this.#told.get(report.job)
    if (!told) {
      this.#told.set(report.job, { state: report.state, times: [at] })
      return true
    }
    const { times } = told
    while (times.length > 0 && at - times[0] >= SECOND_MS) times.shift()
    const changed = told.state !== report.state
    if (isFinished(report) ? !changed : times.length >= (changed ? CHANGES : AS_BEFORE)) return false
    if (!changed && times.length > 0 && at - times.at(-1)! < APART_MS) return false
    told.state = report.state
    times.push(at)
    return true
  }
}
