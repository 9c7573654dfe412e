/** `init` and `id`: who this agent is. */
import { hostname } from 'node:os'
import type { Command } from 'commander'
import { FluidError } from '../../protocol/errors.ts'
import type { IdReport } from '../reports/agent-reports.ts'
import { initHome, openHome } from '../home.ts'
import { formatIdentity } from '../output/peer-text.ts'
import { createQr, formatQr } from '../output/qr.ts'
import { freePeerName, isPeerName } from '../mesh/peer-name.ts'
import { action, describe, type Context, type Runtime } from './command.ts'

/** Adds `init` and `id`. */
export function addIdentityCommands(program: Command, runtime: Runtime): void {
  describe(
    program
      .command('init')
      .option('--name <name>', 'what this agent calls itself to peers (default: the host name)'),
    'Create the identity, configuration and state folder of an agent',
    'Writes an Ed25519 key that only its owner can read, and a config.toml in which every key is explained. A home that already has an identity is never overwritten.',
    ['fluidcloud init', 'fluidcloud init --name geneva-1', 'fluidcloud --home /srv/fluidcloud init'],
  ).action(action(runtime, init))

  describe(
    program.command('id').option('--qr', 'draw the first address as a QR code'),
    'Show the peer ID and the addresses of this agent',
    'The addresses are known while the agent runs; the peer ID always. Give it to whoever wants to pair with you.',
    ['fluidcloud id', 'fluidcloud id --qr', 'fluidcloud id --json | jq -r .peerId'],
  ).action(action(runtime, showId))
}

async function init(context: Context, options: { name?: string }): Promise<void> {
  const { name = freePeerName(hostname(), () => false) } = options
  if (!isPeerName(name)) {
    throw new FluidError('USAGE', `'${name}' cannot be the name of an agent`, {
      hint: 'Letters, digits, dots, dashes and underscores, at most 63',
    })
  }
  const { loadIdentity } = await import('../identity.ts')
  const home = await initHome(context.home.path, { name })
  const { peerId } = await loadIdentity(home.identityKey)
  context.report('id', { peerId, name, addrs: [], dataAddrs: [], home: home.path }, (style) => {
    const title = `${style.green(style.symbols.ok)} ${style.bold(name)} is ready\n`
    return (
      title +
      formatIdentity({ peerId, name, addrs: [], dataAddrs: [] }, style, [
        ['home', home.path],
        ['config', home.config],
      ])
    )
  })
  context.note('Next: fluidcloud agent, and in another terminal fluidcloud pair ticket')
}

async function showId(context: Context, options: { qr?: boolean }): Promise<void> {
  const report = (await askAgent(context)) ?? (await readIdentity(context))
  context.report('id', report, (style) => {
    if (!options.qr) return formatIdentity(report, style)
    const text = report.addrs.find((address) => !isLocal(address)) ?? report.addrs[0] ?? report.peerId
    const code = createQr(text) ?? createQr(report.peerId)
    return `${code ? formatQr(code, style) : ''}${text}\n`
  })
  if (report.addrs.length === 0)
    context.note('The agent does not run, so it has no addresses; start it with fluidcloud agent')
}

async function askAgent(context: Context): Promise<IdReport | undefined> {
  try {
    await using agent = await context.connect()
    return await agent.id()
  } catch (error) {
    if (error instanceof FluidError && error.code === 'AGENT_NOT_RUNNING') return undefined
    throw error
  }
}

async function readIdentity(context: Context): Promise<IdReport> {
  const [{ loadConfig }, { loadIdentity }] = await Promise.all([
    import('../config.ts'),
    import('../identity.ts'),
  ])
  const home = await openHome(context.home.path)
  const [{ peerId }, { name }] = await Promise.all([loadIdentity(home.identityKey), loadConfig(home.config)])
  return { peerId, name, addrs: [], dataAddrs: [] }
}

function isLocal(address: string): boolean {
  return /^\/ip[46]\/(127\.|::1\/)/.test(address)
}
