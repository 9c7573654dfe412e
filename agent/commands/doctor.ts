/** `doctor`: is this machine fit, and if not, what to do. */
import type { Command } from 'commander'
import { FluidError } from '../../protocol/errors.ts'
import { formatChecks } from '../output/peer-text.ts'
import type { AgentClient } from '../control/client.ts'
import { connectAgent } from '../control/client.ts'
import { action, describe, type Context, type Runtime } from './command.ts'

/** Adds `doctor`. */
export function addDoctorCommand(program: Command, runtime: Runtime): void {
  describe(
    program.command('doctor'),
    'Check this machine and its peers',
    'Looks at the home, the configuration, ports, tools, disks, the kernel and, while the agent runs, each paired peer. Exits 1 when a check fails; each that does says what to do.',
    ['fluidcloud doctor', 'fluidcloud doctor --json | jq \'select(.state=="fail")\''],
  ).action(
    action(runtime, async (context) => {
      await using agent = await agentIfRunning(context)
      // Loads native code, which no other verb needs.
      const { runDoctor } = await import('../doctor.ts')
      const checks = await runDoctor(context.home, agent)
      context.reportAll('check', checks, (style) => formatChecks(checks, style))
      return checks.some(({ state }) => state === 'fail') ? 1 : 0
    }),
  )
}

async function agentIfRunning({ home }: Context): Promise<AgentClient | undefined> {
  try {
    return await connectAgent(home)
  } catch (error) {
    if (error instanceof FluidError && error.code === 'AGENT_NOT_RUNNING') return undefined
    throw error
  }
}
