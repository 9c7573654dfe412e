/** `policy`: what a paired peer may do here. */
import type { Command } from 'commander'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_VCPUS } from '../../protocol/limits.ts'
import type { RelocateChange } from '../../protocol/relocate-grant.ts'
import type { AgentApi } from '../api.ts'
import type { PeerReport, SeedReport } from '../reports/peer-reports.ts'
import { describeGrant, formatPolicy, formatSeeds } from '../output/peer-text.ts'
import { printable } from '../output/text.ts'
import { addArrivalCommands } from './arrivals.ts'
import {
  absolute,
  agentAction,
  choice,
  describe,
  integerOption,
  listOption,
  sizeOption,
  type Context,
  type Runtime,
} from './command.ts'

interface SetOptions {
  readonly into?: string
  readonly max?: number
  readonly approve?: 'auto' | 'ask'
  readonly target?: string[]
  readonly relocate?: RelocateChange['relocate']
  readonly maxVcpus?: number
  readonly maxMemory?: number
  readonly maxMachines?: number
  readonly networks?: string
  readonly migrators?: string
  readonly forwards?: 'loopback' | 'any'
  readonly deny?: boolean
}

/** Adds `policy` and what is below it. */
export function addPolicyCommands(program: Command, runtime: Runtime): void {
  const policy = describe(
    program.command('policy'),
    'Say what a paired peer may do here',
    'Default deny: a peer may write only into its folder or the devices opened to it, and nothing else.',
    ['fluidcloud policy show', 'fluidcloud policy set geneva --into /srv/images --max 2TiB'],
  )
  describe(
    policy.command('show').argument('[peer]', 'its name or peer ID (default: every peer)'),
    'Show what peers may do here, and the seed folders',
    'Seeds are folders whose contents every peer with a grant may refer to instead of sending them.',
    ['fluidcloud policy show', 'fluidcloud policy show geneva --json'],
  ).action(
    agentAction(runtime, async (context, agent, peer?: string) => {
      const { peers, seeds } = await agent.policyShow({ peer })
      context.reportAll('peer', peers, (style, columns) => formatPolicy(peers, seeds, style, columns))
      for (const seed of seeds) context.emit('seed', seed)
    }),
  )
  const set = policy
    .command('set')
    .argument('<peer>', 'its name or peer ID')
    .option('--into <dir>', 'the folder it may write into')
    .addOption(sizeOption('--max <size>', 'largest volume it may send; 0: what the disk holds'))
    .addOption(choice('--approve <how>', 'start its jobs by themselves, or ask for each', ['auto', 'ask']))
    .addOption(
      listOption(
        '--target <name=device>',
        'open a block device or nbd URL under a name; NAME= closes it; may be repeated',
      ),
    )
    .addOption(
      choice(
        '--relocate <cloud>',
        'take in services it relocates, in that cloud of this host; none: no more',
        ['qemu', 'libvirt', 'local', 'none'],
      ),
    )
    .addOption(
      integerOption('--max-vcpus <n>', 'processors of its machines together; 0: no limit', 0, MAX_VCPUS),
    )
    .addOption(sizeOption('--max-memory <size>', 'memory of its machines together; 0: no limit'))
    .addOption(integerOption('--max-machines <n>', 'machines at a time; 0: no limit', 0, 1_000_000))
    .option('--networks <a,b>', 'networks its machines may be put on')
    .option('--migrators <a,b>', 'Migrators it may ask for; "all": those allowed in config.toml')
    .addOption(
      choice('--forwards <where>', 'ports of this host that may lead to its machines', ['loopback', 'any']),
    )
    .option('--deny', 'take everything away')
  describe(
    set,
    'Change what a peer may do here',
    'Changes only what is given. A change holds at once, for running jobs too.',
    [
      'fluidcloud policy set geneva --into /srv/images --approve ask',
      'fluidcloud policy set geneva --target db=/dev/vg0/db',
      'fluidcloud policy set geneva --relocate libvirt --max-vcpus 8 --max-memory 16GiB --networks default',
      'fluidcloud policy set geneva --deny',
    ],
  ).action(agentAction(runtime, setPolicy))
  addSeedCommands(policy, runtime)
  addArrivalCommands(policy, runtime)
}

async function setPolicy(
  context: Context,
  agent: AgentApi,
  peer: string,
  options: SetOptions,
): Promise<void> {
  const { into, max, approve, target, deny } = options
  const relocate = relocateOf(options)
  const given = [into, max, approve, target, ...Object.values(relocate)].some((value) => value !== undefined)
  if (deny && given)
    throw new FluidError('USAGE', '--deny takes everything away and goes with no other option')
  if (!deny && !given)
    throw new FluidError('USAGE', 'policy set needs to be told what to change', {
      hint: 'See fluidcloud policy set --help',
    })
  const changed: PeerReport = await agent.policySet({
    peer,
    folder: absolute(context, into),
    maxBytes: max,
    approve,
    targets: target && parseTargets(context, target),
    ...relocate,
    deny,
  })
  context.report(
    'peer',
    changed,
    (style) =>
      `${style.green(style.symbols.ok)} ${style.bold(printable(changed.name))} may now: ${printable(describeGrant(changed.grant))}\n`,
  )
}

/** What is to change of what may be relocated here. */
function relocateOf(options: SetOptions): RelocateChange {
  const { relocate, maxVcpus, maxMemory, maxMachines, networks, migrators, forwards } = options
  return {
    relocate,
    maxVcpus,
    maxMemoryBytes: maxMemory,
    maxMachines,
    networks: networks === undefined ? undefined : names(networks),
    migrators: migrators === undefined ? undefined : names(migrators),
    forwards,
  }
}

function names(list: string): string[] {
  return list.split(',').flatMap((name) => name.trim() || [])
}

function parseTargets(context: Context, targets: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    targets.map((text) => {
      const equals = text.indexOf('=')
      if (equals < 1)
        throw new FluidError('USAGE', `--target: '${text}' is not NAME=DEVICE`, {
          hint: 'Such as --target db=/dev/vg0/db',
        })
      const device = text.slice(equals + 1)
      return [
        text.slice(0, equals),
        device === '' || device.includes('://') ? device : absolute(context, device),
      ]
    }),
  )
}

function addSeedCommands(policy: Command, runtime: Runtime): void {
  const seed = describe(
    policy.command('seed'),
    'Manage folders whose contents need not be sent again',
    'What is in a seed folder is public to every peer with a grant here: it can learn that you hold it. Use it for image catalogues.',
    ['fluidcloud policy seed add /srv/catalogue', 'fluidcloud policy seed list'],
  )
  describe(
    seed.command('add').argument('<dir>', 'the folder'),
    'Index a folder as a seed',
    'Reads every file in it once. Ctrl-C leaves; the agent goes on indexing.',
    ['fluidcloud policy seed add /srv/catalogue'],
  ).action(agentAction(runtime, addSeed))
  describe(seed.command('rm').argument('<dir>', 'the folder'), 'Forget a seed folder', 'The files stay.', [
    'fluidcloud policy seed rm /srv/catalogue',
  ]).action(
    agentAction(runtime, async (context, agent, dir: string) => {
      const folder = absolute(context, dir)
      await agent.seedRemove({ folder })
      context.report(
        'removed',
        { folder },
        (style) => `${style.green(style.symbols.ok)} Forgot ${printable(folder)}\n`,
      )
    }),
  )
  describe(seed.command('list'), 'List seed folders', 'With what is indexed of each.', [
    'fluidcloud policy seed list',
  ]).action(
    agentAction(runtime, async (context, agent) => {
      const seeds = await agent.seedList()
      context.reportAll('seed', seeds, (style, columns) => formatSeeds(seeds, style, columns))
    }),
  )
}

async function addSeed(context: Context, agent: AgentApi, dir: string): Promise<void> {
  const { terminal } = context
  const live = Boolean(terminal.stderr.isTTY) && !context.json && !context.quiet
  let last: SeedReport | undefined
  for await (const seed of agent.seedAdd({ folder: absolute(context, dir) })) {
    last = seed
    context.emit('seed', seed)
    if (live) terminal.stderr.write(`\r\x1b[KIndexing: ${seed.files} files, ${seed.chunks} chunks`)
  }
  if (live) terminal.stderr.write('\r\x1b[K')
  if (last && !context.json)
    context.report('seed', last, (style, columns) => formatSeeds([last], style, columns))
}
