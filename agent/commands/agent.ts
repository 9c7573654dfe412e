/** `agent`: the daemon, in the foreground. */
import { flushCompileCache } from 'node:module'
import type { Command } from 'commander'
import type { AgentOptions as CreateOptions } from '../agent.ts'
import { serveControl } from '../control/server.ts'
import { openHome } from '../home.ts'
import { formatIdentity } from '../output/peer-text.ts'
import type { Style } from '../output/style.ts'
import { action, describe, integerOption, listOption, type Context, type Runtime } from './command.ts'

interface AgentOptions {
  readonly listen?: string[]
  readonly dataPort?: number
  readonly mdns: boolean
  readonly bootstrap?: string[]
}

/** Adds `agent`. */
export function addAgentCommand(program: Command, runtime: Runtime): void {
  const command = program
    .command('agent')
    .addOption(
      listOption(
        '--listen <multiaddr>',
        'where the mesh listens, such as /ip4/0.0.0.0/tcp/4001; may be repeated',
      ),
    )
    .addOption(
      integerOption('--data-port <port>', 'port of the data connections; 0: any free port', 0, 65_535),
    )
    .option('--no-mdns', 'do not look for agents on the local network')
    .addOption(
      listOption('--bootstrap <multiaddr>', 'a first contact, ending in /p2p/<peer ID>; may be repeated'),
    )
  describe(
    command,
    'Run the agent in the foreground',
    'It holds the jobs: closing other terminals stops nothing, and after a crash every job goes on by itself. Flags win over config.toml. Logs go to standard error. SIGTERM and Ctrl-C stop it cleanly; jobs resume at the next start.',
    [
      'fluidcloud agent',
      'fluidcloud agent --listen /ip4/0.0.0.0/tcp/4001 --data-port 4002',
      'fluidcloud agent --json --no-mdns 2>agent.log',
    ],
  ).action(action(runtime, runAgent))
}

async function runAgent(context: Context, options: AgentOptions): Promise<void> {
  await runAgentProcess(
    context,
    {
      listen: options.listen,
      dataPort: options.dataPort,
      mdns: options.mdns ? undefined : false,
      bootstrap: options.bootstrap,
    },
    {
      title: 'The agent runs',
      next: (_, style) =>
        `Let a peer in with ${style.cyan('fluidcloud pair ticket')}, here in another terminal; stop with Ctrl-C.`,
    },
  )
}

/** Runs an agent, and what is beside it, until it is asked to stop. `words` are for people. */
export async function runAgentProcess(
  context: Context,
  options: Omit<CreateOptions, 'home' | 'logLevel'>,
  words: { readonly title: string; readonly next: (addrs: readonly string[], style: Style) => string },
): Promise<void> {
  const home = await openHome(context.home.path)
  using stop = stopOnSignals(context)
  const { createAgent } = await import('../agent.ts')
  await using agent = await createAgent({
    ...options,
    home: home.path,
    logLevel: context.verbose ? 'debug' : context.quiet ? 'warn' : undefined,
  })
  // createAgent() holds the state lock now: whatever socket file is there belongs to nobody.
  await using _control = await serveControl(agent.api, home)
  const { pid, peerId, addrs, dataAddrs } = agent.ready
  context.report('ready', { pid, peerId, addrs, dataAddrs, socket: home.socket }, (style) => {
    const title = `${style.green(style.symbols.live)} ${style.bold(words.title)} (pid ${pid})\n`
    const lines = formatIdentity({ peerId, name: '', addrs, dataAddrs }, style, [['socket', home.socket]])
    return `${title}${lines}\n${words.next(addrs, style)}\n`
  })
  // Now, since an agent may be killed.
  flushCompileCache()
  await Promise.race([stop.requested, agent.closed])
  context.note('Stopping: jobs go on at the next start')
}

/** Resolves at the first SIGTERM or SIGINT; the second leaves at once. */
function stopOnSignals({ terminal }: Context): { requested: Promise<void> } & Disposable {
  const { promise, resolve } = Promise.withResolvers<void>()
  let asked = false
  const onSignal = (): void => {
    if (asked) terminal.exit(130)
    asked = true
    resolve()
  }
  terminal.signals.on('SIGTERM', onSignal)
  terminal.signals.on('SIGINT', onSignal)
  return {
    requested: promise,
    [Symbol.dispose]() {
      terminal.signals.off('SIGTERM', onSignal)
      terminal.signals.off('SIGINT', onSignal)
    },
  }
}
