/** `status`: the agent, its peers and its running jobs on one screen. */
import type { Command } from 'commander'
import { formatStatus } from '../output/peer-text.ts'
import { formatRelocations } from '../output/relocation-text.ts'
import { formatArrivals } from './arrivals.ts'
import { agentAction, describe, type Runtime } from './command.ts'

/** Adds `status`. */
export function addStatusCommand(program: Command, runtime: Runtime): void {
  describe(
    program.command('status'),
    'Show the agent, its peers and its running jobs',
    'Says how each peer is reached, what it may do here, and why a job waits.',
    ['fluidcloud status', 'fluidcloud status --json | jq .jobs'],
  ).action(
    agentAction(runtime, async (context, agent) => {
      const status = await agent.status()
      const running = (status.relocations ?? []).filter(({ finishedAt }) => finishedAt === undefined)
      context.report('status', status, (style, columns) => {
        const relocations = formatRelocations(running, style, columns)
        const arrivals = status.arrivals?.length ? formatArrivals(status.arrivals, style, columns) : ''
        return [formatStatus(status, style, columns), relocations, arrivals].filter(Boolean).join('\n')
      })
    }),
  )
}
