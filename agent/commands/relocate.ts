/** `relocate`, `cutover`, `rollback` and `finalize`: a whole service, from one cloud to another. */
import type { Command } from 'commander'
import type { AgentApi } from '../api.ts'
import type { RelocationReport, RelocationSpec } from '../reports/relocation-reports.ts'
import { relocationFields } from '../output/relocation-fields.ts'
import { formatRelocationPlan } from '../output/relocation-plan-text.ts'
import { formatBrief } from '../output/relocation-text.ts'
import { formatDuration } from '../units.ts'
import { agentAction, describe, type Context, type Runtime } from './command.ts'
import { exitOfPlan } from './plan-exit.ts'
import { followRelocation } from './follow-relocation.ts'
import { brokerOption, brokersOf, readText } from './offers.ts'

interface RelocateOptions {
  readonly to?: string
  readonly live?: boolean
  readonly dryRun?: boolean
  readonly detach?: boolean
}

/** Adds the verbs about relocations. */
export function addRelocationCommands(program: Command, runtime: Runtime): void {
  describe(
    program
      .command('relocate')
      .argument('<service>', 'what the service is made of, TOML; as short as the name of a machine')
      .option('--to <peer>', 'where to (default: the best offer of a broker)')
      .option('--live', 'keep the machines running until the last moment')
      .option('--dry-run', 'only show the plan')
      .option('--detach', 'begin and leave; the agent goes on')
      .addOption(brokerOption()),
    'Move a whole service while it runs: plan, copy, cut over, adapt, check',
    'Finds out by itself what the machines are made of, what they listen on and depend on. The machines here stop only for the last round, run there on leases until the health checks have passed, and run here again by themselves if anything fails. They stay here, stopped, until fluidcloud finalize. The relocation belongs to the agent: Ctrl-C leaves it running, and it survives crashes of either side.',
    [
      'fluidcloud relocate service.toml --to zurich --dry-run',
      'fluidcloud relocate service.toml --to zurich --live',
      'fluidcloud relocate service.toml --live --detach --json',
    ],
  ).action(agentAction(runtime, relocate))

  describe(
    program.command('cutover').argument('<job>', 'the relocation'),
    'Cut a live relocation over now, whatever is left to move',
    'The machines stand still until the rest has moved, which may be longer than the service file allows.',
    ['fluidcloud cutover JOB'],
  ).action(
    agentAction(runtime, async (context, agent, job: string) => {
      const report = await agent.cutover({ job })
      const { predictedDowntimeSeconds: predicted } = report
      context.note(
        predicted === undefined
          ? 'Warning: how long the machines will stand still cannot be told yet'
          : `Warning: the machines will stand still for about ${formatDuration(predicted * 1000)}, apart from their start`,
      )
      show(context, report)
    }),
  )
  describe(
    program
      .command('rollback')
      .argument('<job>', 'the relocation')
      .option('--target-gone', 'the target is gone for good: go on though it does not answer')
      .option('--detach', 'do not wait until it is done'),
    'Take a relocation back: the service runs here again, and nothing stays there',
    'Possible until it is finalized. The machines run here only once nothing can run there. After the cut-over what was written there since is lost.\nA target that is live and does not answer is waited for, since its machines may run. If it is lost for good say --target-gone: should it ever come back, its machines run there too until it is reached. It is told to end them until it was, or is no peer any more (fluidcloud pair rm).',
    ['fluidcloud rollback JOB', 'fluidcloud rollback JOB --target-gone'],
  ).action(
    agentAction(
      runtime,
      async (context, agent, job: string, options: { targetGone?: boolean; detach?: boolean }) => {
        const report = await agent.rollback({ job, targetGone: options.targetGone })
        if (report.downtimeSeconds !== undefined && !report.sourceRuns)
          context.note('What was written at the target since the cut-over is lost')
        if (options.detach) return show(context, report)
        return await followRelocation(context, agent, report.job, { until: 'rolled-back' })
      },
    ),
  )
  describe(
    program
      .command('finalize')
      .argument('<job>', 'the relocation')
      .option('--keep-disks', 'leave the disks where they are')
      .option('--detach', 'do not wait until it is done'),
    'End a relocation that went well: remove the stopped machines and their disks here',
    'After this there is no way back.',
    ['fluidcloud finalize JOB', 'fluidcloud finalize JOB --keep-disks'],
  ).action(
    agentAction(
      runtime,
      async (context, agent, job: string, options: { keepDisks?: boolean; detach?: boolean }) => {
        const report = await agent.finalize({ job, keepDisks: options.keepDisks })
        if (options.detach) return show(context, report)
        return await followRelocation(context, agent, report.job, { until: 'finalized' })
      },
    ),
  )
}

function show(context: Context, report: RelocationReport): void {
  context.report('relocation', relocationFields(report), (style) => formatBrief(report, style))
}

async function relocate(
  context: Context,
  agent: AgentApi,
  file: string,
  options: RelocateOptions,
  command: Command,
): Promise<number> {
  const text = await readText(context, file)
  // Whoever wrote it is told here, before anybody is asked.
  const { parseServiceFile } = await import('../conduit/service-file.ts')
  parseServiceFile(text)
  const spec: RelocationSpec = { text, peer: options.to, brokers: brokersOf(command), live: options.live }
  if (options.dryRun) return await plan(context, agent, spec)
  const report = await agent.relocate(spec)
  if (!options.detach)
    return await followRelocation(context, agent, report.job, { until: 'live', first: report })
  context.report('relocation', relocationFields(report), () => `${report.job}\n`)
  context.note(`It runs. Follow it with fluidcloud watch ${report.job}`)
  return 0
}

async function plan(context: Context, agent: AgentApi, spec: RelocationSpec): Promise<number> {
  const report = await agent.relocationPlan(spec)
  context.report('plan', report, (style, columns) => formatRelocationPlan(report, style, columns))
  return exitOfPlan(context, report)
}
