/** `broker`: an agent whose process also keeps and hands out offers. */
import type { Command } from 'commander'
import { action, describe, listOption, type Context, type Runtime } from './command.ts'
import { runAgentProcess } from './agent.ts'

interface BrokerOptions {
  readonly listen?: string[]
  readonly mdns: boolean
  readonly bootstrap?: string[]
}

/** Adds `broker`. */
export function addBrokerCommand(program: Command, runtime: Runtime): void {
  const command = program
    .command('broker')
    .addOption(
      listOption(
        '--listen <multiaddr>',
        'where the mesh listens, such as /ip4/0.0.0.0/tcp/4001; may be repeated',
      ),
    )
    .option('--no-mdns', 'do not look for agents on the local network')
    .addOption(
      listOption(
        '--bootstrap <multiaddr>',
        'a first contact, such as another broker, ending in /p2p/<peer ID>; may be repeated',
      ),
    )
  describe(
    command,
    'Run a broker in the foreground',
    'A broker keeps offers that providers publish and finds those that fit a request. Anybody may publish and ask, within bounds; offers are signed, so a broker can leave some out, but not make or change any. Brokers that know each other hold the same offers. It is an agent with a home of its own: status and id tell about it, and it serves the directory.',
    [
      'fluidcloud --home broker init --name broker && fluidcloud --home broker broker',
      'fluidcloud broker --listen /ip4/0.0.0.0/tcp/4001',
      'fluidcloud broker --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…',
    ],
  ).action(action(runtime, runBroker))
}

async function runBroker(context: Context, options: BrokerOptions): Promise<void> {
  const { brokerService } = await import('../brokers/broker-host.ts')
  await runAgentProcess(
    context,
    {
      listen: options.listen,
      // It receives no volumes unless its owner pairs it, and several brokers live on one machine.
      dataPort: 0,
      mdns: options.mdns ? undefined : false,
      bootstrap: options.bootstrap,
      directory: true,
      services: [brokerService],
    },
    {
      title: 'The broker runs',
      next: (addrs, style) =>
        `Agents publish to it and ask it with ${style.cyan(`--broker ${addrs[0] ?? 'MULTIADDR'}`)}; stop with Ctrl-C.`,
    },
  )
}
