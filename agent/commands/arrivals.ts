/** `policy arrivals`, `approve` and `reject`: what others relocate to this agent. */
import type { Command } from 'commander'
import type { ArrivalReport } from '../reports/relocation-reports.ts'
import { formatTable } from '../output/table.ts'
import { printable } from '../output/text.ts'
import type { Style } from '../output/style.ts'
import { agentAction, describe, type Runtime } from './command.ts'

/** Adds them below `policy`. */
export function addArrivalCommands(policy: Command, runtime: Runtime): void {
  describe(
    policy.command('arrivals'),
    'List services that others relocate here',
    'Suspended ones are held: their machines go on when the source says so.',
    ['fluidcloud policy arrivals'],
  ).action(
    agentAction(runtime, async (context, agent) => {
      const arrivals = await agent.arrivals()
      context.reportAll('arrival', arrivals, (style, columns) => formatArrivals(arrivals, style, columns))
    }),
  )
  describe(
    policy.command('approve').argument('<relocation>', 'its id, or an unambiguous beginning of it'),
    'Let a service in that waits for a person',
    'For peers that are asked about: policy set PEER --approve ask.',
    ['fluidcloud policy approve 6f1c'],
  ).action(
    agentAction(runtime, async (context, agent, relocation: string) => {
      const arrival = await agent.arrivalApprove({ relocation })
      context.report('arrival', arrival, (style) => `${style.green(style.symbols.ok)} ${said(arrival)}\n`)
    }),
  )
  describe(
    policy.command('reject').argument('<relocation>', 'its id, or an unambiguous beginning of it'),
    'Turn a service away, as long as its source has not given it up',
    'Nothing of it is left here; it runs at its source.',
    ['fluidcloud policy reject 6f1c'],
  ).action(
    agentAction(runtime, async (context, agent, relocation: string) => {
      const arrival = await agent.arrivalReject({ relocation })
      context.report('arrival', arrival, (style) => `${style.green(style.symbols.ok)} ${said(arrival)}\n`)
    }),
  )
}

/** A table of them; empty text when there is none. */
export function formatArrivals(arrivals: readonly ArrivalReport[], style: Style, columns?: number): string {
  if (arrivals.length === 0) return `${style.dim('Nothing is relocated to here')}\n`
  return formatTable(
    [
      { title: 'RELOCATION' },
      { title: 'STATE' },
      { title: 'SERVICE', flexible: true },
      { title: 'FROM', flexible: true },
      { title: 'MACHINES', flexible: true },
    ],
    arrivals.map(({ relocation, state, service, peerName, machines }) => [
      relocation.slice(0, 8),
      state,
      printable(service),
      printable(peerName),
      machines.join(', '),
    ]),
    { style, columns },
  )
}

function said({ service, peerName, state }: ArrivalReport): string {
  return printable(`${service} from ${peerName} is ${state}`)
}
