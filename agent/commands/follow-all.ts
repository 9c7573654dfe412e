/** Following all that is under way from the terminal: jobs, and relocations of services. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AgentApi } from '../api.ts'
import { isFinished } from '../output/progress.ts'
import type { Context } from './command.ts'
import { catchInterrupt, leave, ProgressOutput, reportResult, watchAgain } from './follow.ts'
import { followRelocations } from './follow-relocation.ts'

/** A relocation goes on between the jobs that carry its disks. */
const BETWEEN_JOBS_MS = 250

/** Shows every job and relocation until none is left to report, or the person leaves. */
export async function followAll(context: Context, agent: AgentApi): Promise<number> {
  using interrupt = catchInterrupt(context)
  const { signal } = interrupt
  const shown = new ProgressOutput(context)
  const ended = new Set<string>()
  let relocating = true
  const relocations = followRelocations(context, agent, signal, () => shown.clear()).finally(
    () => (relocating = false),
  )
  relocations.catch(() => {})
  try {
    for (;;) {
      for await (const report of watchAgain(context, agent, undefined, signal)) {
        if (ended.has(report.job)) continue
        shown.show(report)
        if (!isFinished(report)) continue
        ended.add(report.job)
        shown.clear()
        if (report.state === 'complete') reportResult(context, report)
        else context.note(`${report.job} ${report.state}${report.error ? `: ${report.error.message}` : ''}`)
      }
      if (!relocating) break
      await Promise.race([relocations, sleep(BETWEEN_JOBS_MS, undefined, { signal })])
    }
    await relocations
  } catch (error) {
    if (!signal.aborted) throw error
    return leave(context, shown)
  } finally {
    shown.clear()
  }
  return 0
}
