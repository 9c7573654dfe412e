/** `machines`: what this agent's clouds have, and their power. */
import type { Command } from 'commander'
import type { MachineReport } from '../reports/machine-report.ts'
import { CLOUD_KINDS } from '../clouds/cloud-config.ts'
import { formatMachine, formatMachines } from '../output/machine-text.ts'
import { agentAction, choice, describe, durationOption, type Context, type Runtime } from './command.ts'

const DEFAULT_GRACE_MS = 30_000

interface MachineOptions {
  readonly cloud?: MachineReport['cloud']
  readonly grace?: number
}

export function addMachineCommands(program: Command, runtime: Runtime): void {
  const machines = describe(
    program.command('machines'),
    'List the machines of this host, start and stop them',
    'Those of the clouds in config.toml ([clouds]). A machine that was relocated, and may run at its new place, is not started\nhere before fluidcloud rollback.',
    [
      'fluidcloud machines',
      'fluidcloud machines start web',
      'fluidcloud machines stop web --grace 1m',
      'fluidcloud machines --json',
    ],
  )
  const list = agentAction(runtime, async (context, agent) => {
    const found = await agent.machines()
    context.reportAll('machine', found, (style, columns) => formatMachines(found, style, columns))
  })
  machines.action(list)
  machines.command('list').summary('List them').description('List the machines of this host.').action(list)
  const cloud = () => choice('--cloud <cloud>', 'the cloud, where several have one of that name', CLOUD_KINDS)
  describe(
    machines.command('start').argument('<machine>', 'its name'),
    'Start a machine, or let a paused one go on',
    'One that runs already stays as it is.',
    ['fluidcloud machines start web'],
  )
    .addOption(cloud())
    .action(
      agentAction(runtime, async (context, agent, name: string, options: MachineOptions) =>
        show(context, await agent.machineStart({ name, cloud: options.cloud })),
      ),
    )
  describe(
    machines.command('stop').argument('<machine>', 'its name'),
    'Shut a machine down',
    'It is asked to, and loses its power when it still runs after a while.',
    ['fluidcloud machines stop web', 'fluidcloud machines stop web --grace 0s'],
  )
    .addOption(cloud())
    .addOption(durationOption('--grace <time>', 'time it has to shut down (default: 30s)'))
    .action(
      agentAction(runtime, async (context, agent, name: string, options: MachineOptions) => {
        const { grace: graceMs = DEFAULT_GRACE_MS } = options
        show(context, await agent.machineStop({ name, cloud: options.cloud, graceMs }))
      }),
    )
}

function show(context: Context, machine: MachineReport): void {
  context.report('machine', machine, (style) => formatMachine(machine, style))
}
