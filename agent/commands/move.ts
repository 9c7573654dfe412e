/** `move` and `plan`: the main job, and what it would do. */
import type { Command } from 'commander'
import { DEFAULT_LANES, MAX_LANES } from '../../protocol/limits.ts'
import type { AgentApi } from '../api.ts'
import type { MoveSpec } from '../reports/job-reports.ts'
import { progressFields } from '../output/ndjson.ts'
import { formatPlan } from '../output/plan-text.ts'
import {
  agentAction,
  choice,
  describe,
  integerOption,
  rateOption,
  type Context,
  type Runtime,
} from './command.ts'
import { exitOfPlan } from './plan-exit.ts'
import { Option } from 'commander'
import { parseDestination, parseSource } from './endpoints.ts'
import { sourceWarnings } from '../jobs/source-warnings.ts'
import { followJob } from './follow.ts'

interface MoveOptions {
  readonly streams?: number
  readonly bwlimit?: number
  readonly verify?: 'deep'
  readonly replace?: boolean
  readonly inPlace?: boolean
  readonly format?: 'raw' | 'qcow2'
  readonly compress?: 'auto' | 'on' | 'off'
  readonly dryRun?: boolean
  readonly detach?: boolean
}

/** Adds `move` and `plan`. */
export function addMoveCommands(program: Command, runtime: Runtime): void {
  describe(
    addMoveOptions(program.command('plan')),
    'Show what a move would do, and what stands against it',
    'Changes nothing. Exits 0 when the move can be made, else with the status of the first reason (7: not feasible, 4: not allowed).',
    ['fluidcloud plan disk.qcow2 geneva:disk.raw', 'fluidcloud plan /dev/vg0/db geneva:db --json'],
  ).action(agentAction(runtime, plan))

  describe(
    addMoveOptions(program.command('move'))
      .option('--dry-run', 'only show the plan')
      .option('--detach', 'start the job and leave; the agent goes on'),
    'Move a disk image or volume to a peer',
    'SRC is a file (raw with its holes, qcow2, vmdk, vhdx, vdi), a block device or an nbd URL. DST is a name inside the folder the peer granted, or a target it opened. Only what the peer does not hold yet is sent; every chunk is verified on arrival. The job belongs to the agent: Ctrl-C leaves it running, and it survives crashes of either side.',
    [
      'fluidcloud move disk.raw geneva:disk.raw',
      'fluidcloud move disk.qcow2 geneva:db.qcow2 --format qcow2 --verify deep',
      'fluidcloud move disk.raw geneva:disk.raw --replace --in-place',
      'fluidcloud move /dev/vg0/db geneva:db --streams 16 --bwlimit 1Gbit/s --detach',
    ],
  ).action(agentAction(runtime, move))
}

function addMoveOptions(command: Command): Command {
  return command
    .argument('<src>', 'what to move: a path or an nbd URL')
    .argument('<peer:dst>', 'where to: a paired peer and a name there')
    .addOption(
      integerOption(
        '--streams <count>',
        `data connections (default: ${DEFAULT_LANES}, or config.toml, and more while they help)`,
        1,
        MAX_LANES,
      ),
    )
    .addOption(
      rateOption(
        '--bwlimit <rate>',
        'most bytes a second, all connections together, such as 100MiB/s or 1Gbit/s',
      ),
    )
    .addOption(choice('--verify <how>', 'also read the target again from its disk', ['deep']))
    .addOption(
      new Option('--overwrite, --replace', 'put the new version in the place of one that has this name'),
    )
    .option(
      '--in-place',
      'with --replace: change the version there itself, without a copy; until the job is done nothing has its name',
    )
    .addOption(choice('--format <format>', 'format at the target (default: raw)', ['raw', 'qcow2']))
    .addOption(choice('--compress <when>', 'compress on the way (default: auto)', ['auto', 'on', 'off']))
}

function toSpec(context: Context, source: string, target: string, options: MoveOptions): MoveSpec {
  return {
    source: parseSource(source, context.terminal.cwd),
    ...parseDestination(target),
    lanes: options.streams,
    bandwidth: options.bwlimit,
    verifyDeep: options.verify === 'deep' || undefined,
    replace: options.replace,
    inPlace: options.inPlace,
    format: options.format,
    compression: options.compress,
  }
}

async function plan(
  context: Context,
  agent: AgentApi,
  source: string,
  target: string,
  options: MoveOptions,
): Promise<number> {
  const spec = toSpec(context, source, target, options)
  const report = await agent.plan(spec)
  context.report('plan', report, (style) => formatPlan({ ...report, peer: spec.peer }, style))
  return exitOfPlan(context, report)
}

async function move(
  context: Context,
  agent: AgentApi,
  source: string,
  target: string,
  options: MoveOptions,
): Promise<number> {
  if (options.dryRun) return plan(context, agent, source, target, options)
  const spec = toSpec(context, source, target, options)
  for (const warning of sourceWarnings(spec.source)) context.note(warning)
  const job = await agent.move(spec)
  if (!options.detach) return followJob(context, agent, job.job, job)
  context.report('progress', progressFields(job), () => `${job.job}\n`)
  context.note(`The job runs. Follow it with fluidcloud watch ${job.job}`)
  return 0
}
