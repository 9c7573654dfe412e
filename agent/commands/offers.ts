/** `offers`: what this agent offers, and what brokers hold. */
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { FluidError } from '../../protocol/errors.ts'
import type { AgentApi } from '../api.ts'
import type { BrokerFailureReport, OfferReport } from '../reports/offer-reports.ts'
import { formatOffers, formatOwnOffers, formatPublished, formatWithdrawn } from '../output/offer-text.ts'
import { printable } from '../output/text.ts'
import { absolute, agentAction, describe, listOption, type Context, type Runtime } from './command.ts'

interface BrokerOption {
  readonly broker?: string[]
}

/** `--broker`: which brokers to speak to. */
export const brokerOption = () =>
  listOption(
    '--broker <multiaddr>',
    'a broker, ending in /p2p/<peer ID>; may be repeated (default: those of config.toml, or of the mesh)',
  )

/** Adds `offers` and its verbs. */
export function addOffersCommands(program: Command, runtime: Runtime): void {
  const offers = program.command('offers').addOption(brokerOption())
  describe(
    offers,
    'Publish offers, take them back, and list what brokers hold',
    'An offer says what a provider has and asks for it. The agent signs it, renews it at half its lease as long as it runs, and takes it back with withdraw; both go on after a restart. Without a verb: list.',
    [
      'fluidcloud offers publish offer.toml --broker /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…',
      'fluidcloud offers list',
      'fluidcloud offers withdraw 4f1c',
    ],
  ).action(agentAction(runtime, list))
  describe(
    offers
      .command('list')
      .option('--own', 'only what this agent publishes, without asking a broker')
      .addOption(brokerOption()),
    'List offers that brokers hold',
    'Every offer is examined here: what a broker made up or changed is left out.',
    [
      'fluidcloud offers list',
      'fluidcloud offers list --own',
      'fluidcloud offers list --json | jq -r .provider',
    ],
  ).action(agentAction(runtime, list))
  describe(
    offers.command('publish').argument('<file>', 'the offer, TOML').addOption(brokerOption()),
    'Publish an offer, or change the one from the same file',
    'The agent goes on renewing it. Publishing the same file again puts the new version in place of the old one.',
    ['fluidcloud offers publish offer.toml', 'fluidcloud offers publish offer.toml --broker MULTIADDR'],
  ).action(agentAction(runtime, publish))
  describe(
    offers
      .command('withdraw')
      .argument('<id>', 'the offer, or the beginning of its id')
      .addOption(brokerOption()),
    'Take an offer back',
    'Brokers forget it at once and tell each other. If none can be reached, the agent goes on trying; without that it ends with its lease.',
    ['fluidcloud offers withdraw 4f1c'],
  ).action(agentAction(runtime, withdraw))
}

async function publish(
  context: Context,
  agent: AgentApi,
  file: string,
  _options: BrokerOption,
  command: Command,
): Promise<void> {
  const text = await readText(context, file)
  // Whoever wrote it is told here, before anybody is asked.
  const { parseOfferFile } = await import('../brokers/offer-file.ts')
  parseOfferFile(text)
  const report = await agent.offersPublish({
    text,
    file: absolute(context, file),
    brokers: brokersOf(command),
  })
  const { offer, provider, expiresAt, brokers } = report
  context.report('offer', { offer, peer: (await agent.id()).peerId, provider, expiresAt, brokers }, (style) =>
    formatPublished(report, style),
  )
}

async function withdraw(
  context: Context,
  agent: AgentApi,
  id: string,
  _options: BrokerOption,
  command: Command,
): Promise<number> {
  const report = await agent.offersWithdraw({ offer: id, brokers: brokersOf(command) })
  const { offer, provider, brokers } = report
  const isKnown = brokers.some(({ taken }) => taken)
  context.report('withdrawn', { offer, provider, brokers }, (style) => formatWithdrawn(report, style))
  return isKnown ? 0 : new FluidError('PARTIAL', '').exit
}

async function list(
  context: Context,
  agent: AgentApi,
  options: BrokerOption & { readonly own?: boolean },
  command: Command,
): Promise<void> {
  if (options.own) {
    const own = await agent.offersOwn()
    const { peerId } = await agent.id()
    const lines = own.map(({ offer, provider, expiresAt, renewed, file }) => ({
      offer,
      peer: peerId,
      provider,
      expiresAt,
      renewed,
      file,
    }))
    context.reportAll('offer', lines, (style, columns) => formatOwnOffers(own, style, columns))
    return
  }
  const all: OfferReport[] = []
  let failures: readonly BrokerFailureReport[] = []
  for await (const page of agent.offersList({ brokers: brokersOf(command) })) {
    all.push(...page.offers)
    failures = page.failures
  }
  noteFailures(context, failures)
  const lines = all.map(({ offer, peer, provider, expiresAt, broker }) => ({
    offer,
    peer,
    provider,
    expiresAt,
    broker,
  }))
  context.reportAll('offer', lines, (style, columns) => formatOffers(all, style, columns))
}

/** Brokers named before or behind the verb. */
export function brokersOf(command: Command): string[] {
  return command.optsWithGlobals<BrokerOption>().broker ?? []
}

/** Says on standard error which brokers did not answer: what they hold is missing. */
export function noteFailures(context: Context, failures: readonly BrokerFailureReport[]): void {
  for (const { broker, code, message } of failures) {
    context.note(`Without the broker ${broker}: ${printable(message)} (${code})`)
  }
}

/** The file of a person. Throws USAGE. */
export async function readText(context: Context, file: string): Promise<string> {
  return readFile(absolute(context, file), 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new FluidError('USAGE', `Reading ${file} failed: ${cause.code ?? cause.message}`, {
      cause,
      hint: 'Name a TOML file; README.md shows one',
    })
  })
}
