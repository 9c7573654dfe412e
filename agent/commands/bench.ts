/** `bench`: how fast a peer can be reached. */
import type { Command } from 'commander'
import { MAX_LANES } from '../../protocol/limits.ts'
import { formatBench } from '../output/peer-text.ts'
import { agentAction, describe, integerOption, sizeOption, type Runtime } from './command.ts'

const DEFAULT_BENCH_BYTES = 256 * 1024 * 1024

/** Adds `bench`. */
export function addBenchCommand(program: Command, runtime: Runtime): void {
  describe(
    program
      .command('bench')
      .argument('<peer>', 'its name or peer ID')
      .addOption(sizeOption('--size <size>', 'how much to send').default(DEFAULT_BENCH_BYTES, '256MiB'))
      .addOption(integerOption('--streams <count>', 'data connections', 1, MAX_LANES)),
    'Measure the path to a peer',
    'Sends random bytes over the same connections a move uses; nothing is written there.',
    ['fluidcloud bench geneva', 'fluidcloud bench geneva --size 4GiB --streams 16'],
  ).action(
    agentAction(
      runtime,
      async (context, agent, peer: string, options: { size: number; streams?: number }) => {
        const report = await agent.bench({ peer, bytes: options.size, lanes: options.streams })
        context.report('bench', report, (style) => formatBench({ ...report, peer }, style))
      },
    ),
  )
}
