/** `match`: where a service fits, and why. */
import type { Command } from 'commander'
import { FluidError } from '../../protocol/errors.ts'
import type { AgentApi } from '../api.ts'
import type { CandidateReport, MatchReport } from '../reports/offer-reports.ts'
import { formatBetter, formatMatch } from '../output/match-text.ts'
import { agentAction, describe, type Context, type Runtime } from './command.ts'
import { catchInterrupt } from './follow.ts'
import { brokerOption, brokersOf, noteFailures, readText } from './offers.ts'

interface MatchOptions {
  readonly watch?: boolean
}

/** Adds `match`. */
export function addMatchCommand(program: Command, runtime: Runtime): void {
  describe(
    program
      .command('match')
      .argument('<request>', 'what the service needs and wants, TOML')
      .addOption(brokerOption())
      .option('--watch', 'go on looking, and report whenever a better offer appears'),
    'Find offers that fit a service',
    'Lists every candidate with its score term by term, what it would cost, and how long the move would take; those that fail a need come last, with what failed. Brokers only choose: signatures, needs and scores are checked here, with round trips and outcomes that this agent measured itself. Nothing is moved. Exits 7 when nothing fits.',
    [
      'fluidcloud match request.toml',
      'fluidcloud match request.toml --broker MULTIADDR --broker MULTIADDR',
      'fluidcloud match request.toml --watch',
      "fluidcloud match request.toml --json | jq -r 'select(.rank==1).peer'",
    ],
  ).action(agentAction(runtime, runMatch))
}

async function runMatch(
  context: Context,
  agent: AgentApi,
  file: string,
  options: MatchOptions,
  command: Command,
): Promise<void> {
  const text = await readText(context, file)
  const { parseRequestFile } = await import('../brokers/request-file.ts')
  parseRequestFile(text)
  const brokers = brokersOf(command)
  if (options.watch) return watch(context, agent, { text, brokers })
  const candidates: CandidateReport[] = []
  let last: MatchReport | undefined
  for await (const part of agent.match({ text, brokers })) {
    candidates.push(...part.candidates)
    last = part
  }
  const report = { ...last!, candidates }
  noteFailures(context, report.failures)
  context.reportAll('match', candidates.map(matchFields), (style, columns) =>
    formatMatch(report, style, columns),
  )
  if (report.fitting === 0) throw nothingFits(report)
}

/** Until Ctrl-C. */
async function watch(
  context: Context,
  agent: AgentApi,
  request: { text: string; brokers: readonly string[] },
): Promise<void> {
  using interrupt = catchInterrupt(context)
  const { signal } = interrupt
  try {
    for await (const report of agent.matchWatch(request, { signal })) {
      noteFailures(context, report.failures)
      for (const candidate of report.candidates)
        context.report(
          'match',
          { ...matchFields(candidate), ...(report.better && { better: true }) },
          (style) => formatBetter(report, candidate, style),
        )
      if (report.candidates.length === 0) context.note('Nothing fits yet; looking on')
    }
  } catch (error) {
    // To stop watching is how it ends.
    if (!signal.aborted) throw error
  }
}

function matchFields(candidate: CandidateReport) {
  const { rank, peer, provider, offer, score, terms, weights, notes, cost, etaSeconds, failed, needs } =
    candidate
  const { chain, place, addresses, expiresAt, broker } = candidate
  return {
    rank,
    peer,
    provider,
    offer,
    score,
    terms,
    weights,
    notes,
    cost,
    etaSeconds,
    failed,
    needs,
    chain,
    place,
    addresses,
    expiresAt,
    broker,
  }
}

function nothingFits({ considered, brokers }: MatchReport): FluidError {
  const asked = brokers.length === 1 ? 'one broker' : `${brokers.length} brokers`
  return considered === 0
    ? new FluidError('NO_MATCH', `There is no offer at ${asked}`, {
        hint: 'Ask another broker with --broker, or wait for one with --watch',
      })
    : new FluidError('NO_MATCH', `No offer fits, of ${considered} at ${asked}`)
}
