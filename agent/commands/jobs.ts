/** `jobs`, `watch`, `pause`, `resume` and `cancel`: the jobs the agent holds. */
import type { Command } from 'commander'
import { FluidError } from '../../protocol/errors.ts'
import type { AgentApi } from '../api.ts'
import type { JobReport } from '../reports/job-reports.ts'
import type { RelocationReport } from '../reports/relocation-reports.ts'
import { formatControlled, formatJobs } from '../output/job-text.ts'
import { jobFields } from '../output/ndjson.ts'
import { relocationFields } from '../output/relocation-fields.ts'
import { formatBrief, formatRelocations } from '../output/relocation-text.ts'
import { agentAction, describe, type Context, type Runtime } from './command.ts'
import { followAll } from './follow-all.ts'
import { followJob } from './follow.ts'
import { followRelocation } from './follow-relocation.ts'

/** Adds the verbs about jobs. */
export function addJobCommands(program: Command, runtime: Runtime): void {
  describe(
    program.command('jobs'),
    'List jobs, running and finished',
    'Those this agent sends and those it receives, and relocations of services, whose ids the other verbs take too.',
    ['fluidcloud jobs', 'fluidcloud jobs --json | jq -r \'select(.state=="running").job\''],
  ).action(
    agentAction(runtime, async (context, agent) => {
      const jobs = await agent.jobs()
      const relocations = await agent.relocations()
      if (context.json) for (const each of relocations) context.emit('relocation', relocationFields(each))
      context.reportAll(
        'job',
        jobs.map(jobFields),
        (style, columns) => formatRelocations(relocations, style, columns) + formatJobs(jobs, style, columns),
      )
    }),
  )
  describe(
    program.command('watch').argument('[job]', 'the job (default: every job and relocation)'),
    'Follow a job, or every job and relocation, until it ends',
    'Relocations of services too. Exits with the outcome of the job. Ctrl-C leaves it running.',
    ['fluidcloud watch', 'fluidcloud watch JOB --json'],
  ).action(
    agentAction(runtime, (context, agent, job?: string) =>
      job === undefined
        ? followAll(context, agent)
        : followJob(context, agent, job).catch(async (error: unknown) => {
            const relocation = await relocationCalled(agent, job, error)
            return followRelocation(context, agent, relocation.job, { until: 'live', first: relocation })
          }),
    ),
  )
  addControl(program, runtime, 'pause', {
    purpose: 'Pause a job',
    details: 'What is durable stays; fluidcloud resume goes on from there.',
  })
  addControl(program, runtime, 'resume', {
    purpose: 'Resume a paused job, or approve one that waits for it',
    details: 'Nothing that is durable at the target is sent again.',
  })
  addControl(program, runtime, 'cancel', {
    purpose: 'Cancel a job for good',
    details: 'Nothing of it stays at the target: no staging, no index entries.',
  })
}

function addControl(
  program: Command,
  runtime: Runtime,
  verb: 'pause' | 'resume' | 'cancel',
  { purpose, details }: { purpose: string; details: string },
): void {
  const handler = async (context: Context, agent: AgentApi, job: string): Promise<void> => {
    let report: JobReport
    try {
      report = await agent[verb]({ job })
    } catch (error) {
      const relocation = await relocationCalled(agent, job, error)
      const changed = await agent[VERBS_OF_RELOCATIONS[verb]]({ job: relocation.job })
      return context.report('relocation', relocationFields(changed), (style) => formatBrief(changed, style))
    }
    context.report('job', jobFields(report), (style) => formatControlled(verb, report, style))
  }
  describe(program.command(verb).argument('<job>', 'the job'), purpose, details, [
    `fluidcloud ${verb} JOB`,
  ]).action(agentAction(runtime, handler))
}

const VERBS_OF_RELOCATIONS = {
  pause: 'relocationPause',
  resume: 'relocationResume',
  cancel: 'rollback',
} as const

/** The relocation of that id when no job has it; else what the agent said of the job. */
async function relocationCalled(agent: AgentApi, id: string, error: unknown): Promise<RelocationReport> {
  if (!(error instanceof FluidError) || error.code !== 'JOB_UNKNOWN') throw error
  const found = (await agent.relocations()).filter(
    ({ job }) => job === id || (id.length >= 4 && job.startsWith(id)),
  )
  if (found.length !== 1) throw error
  return found[0]
}
