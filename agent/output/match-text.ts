/** Matches as a person reads them: the ranking, and why. */
import type { CandidateReport, MatchReport } from '../reports/offer-reports.ts'
import { formatBytes, formatDuration } from '../units.ts'
import { placeOf, shortId } from './offer-text.ts'
import type { Style } from './style.ts'
import { formatTable } from './table.ts'
import { count, printable } from './text.ts'

const GOAL_WORDS: Readonly<Record<string, string>> = { move_time: 'move' }
const BYTE_NEEDS = new Set(['memory', 'storage', 'max_volume'])
/** Candidates that fit, and that fail, listed for people; --json has all. */
const FITTING_SHOWN = 20
const FAILING_SHOWN = 20

/** `match`: candidates that fit, best first, then what the others fail. */
export function formatMatch(report: MatchReport, style: Style, columns?: number): string {
  const fitting = report.candidates.filter(({ rank }) => rank !== null)
  const failing = report.candidates.filter(({ rank }) => rank === null)
  const goals = Object.keys(fitting[0]?.terms ?? {})
  const table =
    fitting.length === 0
      ? ''
      : formatTable(
          [
            { title: '#', align: 'right' },
            { title: 'PROVIDER', flexible: true },
            { title: 'PLACE', flexible: true },
            { title: 'SCORE', align: 'right' },
            ...goals.map((goal) => ({
              title: (GOAL_WORDS[goal] ?? goal).toUpperCase(),
              align: 'right' as const,
            })),
            { title: 'A MONTH', align: 'right' },
            { title: 'THE MOVE', align: 'right' },
            { title: 'TAKES', align: 'right' },
            { title: 'OFFER' },
          ],
          fitting.slice(0, FITTING_SHOWN).map((candidate) => rowOf(candidate, goals, style)),
          { style, columns },
        )
  const rest =
    report.fitting > FITTING_SHOWN ? style.dim(`  and ${report.fitting - FITTING_SHOWN} more that fit\n`) : ''
  const notes = [
    ...new Set(
      fitting.flatMap(({ notes = {} }) =>
        Object.entries(notes).map(([goal, note]) => `${GOAL_WORDS[goal] ?? goal}: ${note}`),
      ),
    ),
  ]
  const remarks = notes.map((note) => `${style.dim(`  ${printable(note)}`)}\n`).join('')
  const failed = failing.slice(0, FAILING_SHOWN).map((candidate) => formatFailing(candidate, style))
  const more =
    failing.length > FAILING_SHOWN
      ? [style.dim(`  and ${failing.length - FAILING_SHOWN} more; --json has all\n`)]
      : []
  const heading = failed.length > 0 ? `${table === '' ? '' : '\n'}${style.bold('Not fitting')}\n` : ''
  const head =
    report.fitting === 0
      ? ''
      : `${style.bold(count(report.fitting, 'offer'))} of ${report.considered} ${report.fitting === 1 ? 'fits' : 'fit'}\n`
  return [head, table, rest, remarks, heading, ...failed, ...more].join('')
}

/** `match --watch`: the best, and whether it is news. */
export function formatBetter(report: MatchReport, candidate: CandidateReport, style: Style): string {
  const { symbols } = style
  const what = report.better ? `${style.green(symbols.ok)} Better` : `${style.green(symbols.live)} Best now`
  const { provider, place, score, cost, offer } = candidate
  const month = money(cost.perMonth, cost.currency)
  return `${what}: ${style.bold(printable(provider))}, ${printable(placeOf(place))}, score ${score.toFixed(2)}, ${month} a month, offer ${shortId(offer)}\n`
}

function rowOf(candidate: CandidateReport, goals: readonly string[], style: Style) {
  const { rank, provider, place, score, terms, cost, etaSeconds, offer } = candidate
  return [
    String(rank),
    { text: provider, paint: style.bold },
    placeOf(place),
    { text: score.toFixed(2), paint: style.green },
    ...goals.map((goal) => terms[goal].toFixed(2)),
    money(cost.perMonth, cost.currency),
    money(cost.moveOnce, cost.currency),
    formatDuration(etaSeconds * 1000),
    { text: shortId(offer), paint: style.dim },
  ]
}

function formatFailing({ provider, place, failed, chain }: CandidateReport, style: Style): string {
  const why = failed
    .map(
      ({ need, wanted, offered }) =>
        `${need} ${valueOf(need, wanted)} is wanted, ${valueOf(need, offered)} offered`,
    )
    .join('; ')
  const line = `  ${style.yellow(style.symbols.fail)} ${printable(provider)} (${printable(placeOf(place))}): ${printable(why)}\n`
  return line + (chain ? `      ${style.dim(printable(describeChain(chain)))}\n` : '')
}

/** How Migrators lead there, or why none do. */
function describeChain({ steps, reason }: NonNullable<CandidateReport['chain']>): string {
  if (reason !== undefined) return `no Migrators lead there: ${reason}`
  const hops = steps.map(
    ({ from, to, migrator, version, provider }) =>
      `${from} to ${to} by ${migrator} ${version} at ${provider}`,
  )
  return `Migrators lead there: ${hops.join(', then ')}`
}

function valueOf(need: string, value: CandidateReport['needs'][number]['wanted']): string {
  if (value === null) return 'nothing'
  if (typeof value === 'object') return value.length > 0 ? value.join('/') : 'none'
  if (typeof value === 'number' && BYTE_NEEDS.has(need)) return formatBytes(value)
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return String(value)
}

function money(amount: number | null, currency: string | null): string {
  return amount === null ? '-' : `${amount.toFixed(2)} ${currency ?? ''}`.trim()
}
