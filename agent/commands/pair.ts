/** `pair`: letting a peer know us, by ticket or by asking. */
import type { Command } from 'commander'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_TICKET_CHARS } from '../../protocol/limits.ts'
import { isPeerId } from '../../protocol/peer-id.ts'
import type { AgentApi } from '../api.ts'
import type { PeerReport, PendingReport } from '../reports/peer-reports.ts'
import { nearest } from '../toml-table.ts'
import { describeGrant, formatPeers, formatPending } from '../output/peer-text.ts'
import { formatFields } from '../output/table.ts'
import { printable } from '../output/text.ts'
import {
  absolute,
  agentAction,
  choice,
  describe,
  durationOption,
  integerOption,
  sizeOption,
  type Context,
  type Runtime,
} from './command.ts'

const DEFAULT_EXPIRES_MS = 3_600_000
const MAX_USES = 1000

/** Adds `pair` and what is below it. */
export function addPairCommands(program: Command, runtime: Runtime): void {
  const pair = program
    .command('pair')
    .argument('[target]', 'a ticket, a peer ID, or a multiaddr that ends in /p2p/<peer ID>')
    .option('--ticket-stdin', 'read the ticket from standard input, where ps does not show it')
    .option('--as <name>', 'what to call the peer here (default: what it calls itself)')
  describe(
    pair,
    'Pair with another agent, by its ticket or its peer ID',
    'A ticket grants at once what its issuer wrote into it. A bare peer ID leaves a request that a person there accepts. Paired is not allowed: what a peer may do here is its policy (fluidcloud policy).',
    [
      'fluidcloud pair fluid1qyq… --as geneva',
      'fluidcloud pair --ticket-stdin < ticket',
      'fluidcloud pair /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…',
    ],
  ).action(agentAction(runtime, pairWith))

  const ticket = pair
    .command('ticket')
    .addOption(
      durationOption('--expires <time>', 'how long it can be used').default(DEFAULT_EXPIRES_MS, '1h'),
    )
    .addOption(integerOption('--uses <count>', 'how many agents can use it', 1, MAX_USES).default(1))
    .option('--into <dir>', 'the folder the peer may write into (default: imports in the home)')
    .addOption(
      sizeOption(
        '--max <size>',
        'largest volume the peer may send, such as 500GiB (default: what the disk holds)',
      ),
    )
    .addOption(
      choice('--approve <how>', 'start its jobs by themselves, or ask for each', ['auto', 'ask']).default(
        'auto',
      ),
    )
  describe(
    ticket,
    'Issue a ticket that lets a peer pair and write here',
    'The ticket is a secret until it is used: send it as you would send a password.',
    [
      'fluidcloud pair ticket',
      'fluidcloud pair ticket --into /srv/images --max 2TiB --approve ask',
      'fluidcloud pair ticket --expires 7d --uses 5',
    ],
  ).action(agentAction(runtime, issueTicket))

  describe(pair.command('list'), 'List paired peers', 'With what each may do here, and we there.', [
    'fluidcloud pair list',
  ]).action(
    agentAction(runtime, async (context, agent) => {
      const peers = await agent.pairList()
      context.reportAll('peer', peers, (style, columns) => formatPeers(peers, style, columns))
    }),
  )
  describe(
    pair.command('pending'),
    'List requests to be paired',
    'Those of others, for you to accept or reject, and your own.',
    ['fluidcloud pair pending'],
  ).action(
    agentAction(runtime, async (context, agent) => {
      const pending = await agent.pairPending()
      context.reportAll('pending', pending, (style, columns) => formatPending(pending, style, columns))
    }),
  )
  describe(
    pair
      .command('accept')
      .argument('<peer>', 'its peer ID, or the name it gave')
      .option('--as <name>', 'what to call it here'),
    'Accept a request to be paired',
    'The peer is known then and may do nothing yet: fluidcloud policy set says what it may.',
    ['fluidcloud pair accept 12D3KooW… --as zurich'],
  ).action(
    agentAction(runtime, async (context, agent, peer: string, _: unknown, command: Command) => {
      reportPaired(context, await agent.pairAccept({ peer, name: nameOf(command) }))
    }),
  )
  describe(
    pair.command('reject').argument('<peer>', 'its peer ID, or the name it gave'),
    'Reject a request to be paired',
    'The peer is told no; it may ask again.',
    ['fluidcloud pair reject 12D3KooW…'],
  ).action(
    agentAction(runtime, async (context, agent, peer: string) => {
      await agent.pairReject({ peer })
      context.report(
        'rejected',
        { peer },
        (style) => `${style.green(style.symbols.ok)} Rejected ${printable(peer)}\n`,
      )
    }),
  )
  describe(
    pair.command('rm').argument('<peer>', 'its name or peer ID'),
    'Forget a peer',
    'It loses its grant at once, and its running jobs end.',
    ['fluidcloud pair rm geneva'],
  ).action(
    agentAction(runtime, async (context, agent, peer: string) => {
      await agent.pairRemove({ peer })
      context.report(
        'removed',
        { peer },
        (style) => `${style.green(style.symbols.ok)} Forgot ${printable(peer)}\n`,
      )
    }),
  )
}

/** The value of --as. pair and accept both have it, and commander gives it to the outer one. */
function nameOf(command: Command): string | undefined {
  return command.optsWithGlobals<{ as?: string }>().as
}

async function issueTicket(
  context: Context,
  agent: AgentApi,
  options: { expires: number; uses: number; into?: string; max?: number; approve: 'auto' | 'ask' },
): Promise<void> {
  const { ticket, expiresAt } = await agent.pairTicket({
    expiresMs: options.expires,
    uses: options.uses,
    folder: absolute(context, options.into),
    maxBytes: options.max,
    approve: options.approve,
  })
  context.report('ticket', { ticket, expiresAt }, () => `${ticket}\n`)
  context.note(`It can be used until ${expiresAt}. At the other agent: fluidcloud pair TICKET`)
}

async function pairWith(
  context: Context,
  agent: AgentApi,
  target: string | undefined,
  options: { ticketStdin?: boolean },
  command: Command,
): Promise<void> {
  const name = nameOf(command)
  if (options.ticketStdin) {
    if (target !== undefined) throw new FluidError('USAGE', '--ticket-stdin takes the place of TICKET')
    return reportPaired(context, await agent.pairRedeem({ ticket: await readTicket(context), name }))
  }
  if (target === undefined) {
    throw new FluidError('USAGE', 'pair needs a ticket, a peer ID or a multiaddr', {
      hint: 'See fluidcloud pair --help',
    })
  }
  if (/^fluid1/i.test(target)) return reportPaired(context, await agent.pairRedeem({ ticket: target, name }))
  if (isPeerId(target) || /\/p2p\/[^/]+$/.test(target)) {
    const answer = await agent.pairRequest({ peer: target, name })
    return 'pairedAt' in answer ? reportPaired(context, answer) : reportPending(context, answer)
  }
  const near = nearest(
    target,
    command.commands.map((each) => each.name()),
  )
  throw new FluidError('USAGE', `'${printable(target)}' is neither a ticket, a peer ID nor a multiaddr`, {
    hint: near
      ? `Did you mean fluidcloud pair ${near}?`
      : 'A multiaddr ends in /p2p/<peer ID>; a ticket begins with fluid1',
  })
}

async function readTicket({ terminal, note }: Context): Promise<string> {
  if (terminal.stdin.isTTY) note('Paste the ticket and press Enter')
  let text = ''
  for await (const part of terminal.stdin) {
    text += String(part)
    if (text.trimStart().includes('\n') || text.length > MAX_TICKET_CHARS * 2) break
  }
  const [ticket] = text.trim().split(/\s/)
  if (ticket === '') throw new FluidError('USAGE', 'No ticket came on standard input')
  return ticket
}

function reportPaired(context: Context, peer: PeerReport): void {
  context.report('paired', peer, (style) => {
    const title = `${style.green(style.symbols.ok)} Paired with ${style.bold(printable(peer.name))}\n`
    const { granted } = peer
    return (
      title +
      formatFields(
        [
          ['peer ID', peer.peer],
          ['may here', printable(describeGrant(peer.grant))],
          [
            'we there',
            granted?.write
              ? `write${granted.ask ? ', its owner is asked first' : ''}`
              : 'nothing, or not known yet',
          ],
        ],
        style,
      )
    )
  })
  if (peer.granted?.write)
    context.note(`Move something there: fluidcloud move disk.raw ${printable(peer.name)}:disk.raw`)
}

function reportPending(context: Context, pending: PendingReport): void {
  context.report(
    'pending',
    pending,
    (style) =>
      `${style.yellow(style.symbols.warn)} Asked ${pending.peer}; a person there accepts or rejects it\n`,
  )
  context.note('Run the same command again to see whether it was accepted')
}
