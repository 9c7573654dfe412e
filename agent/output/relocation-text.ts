/** Relocations as a person reads them: one line while they run, the table, and the outcome. */
import type { RelocationReport } from '../reports/relocation-reports.ts'
import { formatBytes, formatDuration, formatRate } from '../units.ts'
import type { Style } from './style.ts'
import { formatFields, formatTable } from './table.ts'
import { count, printable } from './text.ts'

/** `✔ Relocation … is live`. */
export function formatBrief(report: RelocationReport, style: Style): string {
  const state = relocationPaint(report, style)(wordsOf(report))
  return `${style.green(style.symbols.ok)} Relocation ${style.bold(report.job)} is ${state}\n`
}

/** What it is doing, in a few words. */
export function wordsOf({ state, wanted }: RelocationReport): string {
  if (wanted === 'pause' && state !== 'paused') return `${state}, to be paused`
  if (wanted === 'finalize' && state === 'live') return 'live, to be finalized'
  if (wanted === 'roll-back' && !['rolling-back', 'rolled-back', 'failed'].includes(state))
    return 'rolling-back'
  return state
}

/** One line, without its newline. */
export function formatRelocationLine(report: RelocationReport, style: Style): string {
  const { state, round, doneBytes, dirtyBytes, dirtyBytesPerSecond, predictedDowntimeSeconds } = report
  const copying = ['pre-copying', 'converging', 'cutting-over'].includes(state)
  const parts = [
    style.bold(printable(report.service)),
    relocationPaint(report, style)(wordsOf(report)),
    copying && state !== 'cutting-over' ? `round ${round + 1}` : undefined,
    copying && doneBytes !== undefined ? `${formatBytes(doneBytes)} there` : undefined,
    copying && dirtyBytes !== undefined
      ? `${formatBytes(dirtyBytes)} written${dirtyBytesPerSecond ? ` (${formatRate(dirtyBytesPerSecond)})` : ''}`
      : undefined,
    copying && predictedDowntimeSeconds !== undefined
      ? `downtime ${formatDuration(predictedDowntimeSeconds * 1000)}`
      : undefined,
    report.detail === undefined ? undefined : printable(report.detail),
    report.error && state !== 'rolled-back' ? style.yellow(printable(report.error.message)) : undefined,
  ]
  return parts.filter((part) => part !== undefined).join('  ')
}

/** One row a relocation; nothing when there is none. */
export function formatRelocations(all: readonly RelocationReport[], style: Style, columns?: number): string {
  if (all.length === 0) return ''
  return formatTable(
    [
      { title: 'RELOCATION' },
      { title: 'STATE' },
      { title: 'ROUND', align: 'right' },
      { title: 'DATA', align: 'right' },
      { title: 'DOWNTIME', align: 'right' },
      { title: 'WHAT', flexible: true },
    ],
    all.map((report) => [
      { text: report.job, paint: style.bold },
      { text: wordsOf(report), paint: relocationPaint(report, style) },
      `${report.round}`,
      formatBytes(report.totalBytes),
      report.downtimeSeconds === undefined ? '' : formatDuration(report.downtimeSeconds * 1000),
      `${report.service} (${report.machines.join(', ')}) ${style.symbols.arrow} ${report.peerName}`,
    ]),
    { style, columns },
  )
}

/** The colour of its state. */
export function relocationPaint({ state, error }: RelocationReport, style: Style): (text: string) => string {
  if (state === 'live' || state === 'finalized') return style.green
  if (state === 'failed' || (state === 'rolled-back' && error)) return style.red
  return state === 'paused' || state === 'rolling-back' || state === 'rolled-back' ? style.yellow : style.cyan
}

/** How it ended. */
export function formatOutcome(report: RelocationReport, style: Style): string {
  const { symbols } = style
  const name = style.bold(printable(report.service))
  const peer = printable(report.peerName)
  const titles: Partial<Record<RelocationReport['state'], string>> = {
    live: `${style.green(symbols.ok)} ${name} is live at ${peer}`,
    finalized: `${style.green(symbols.ok)} ${name} is live at ${peer}, and gone here`,
    'rolled-back': `${style.yellow(symbols.back)} ${name} ${report.sourceRuns ? 'runs here as before' : 'is as before'}; nothing is left at ${peer}`,
    failed: `${style.red(symbols.fail)} ${name} was not relocated; nothing was touched`,
    paused: `${style.yellow(symbols.warn)} ${name} rests; fluidcloud resume ${report.job} goes on`,
  }
  const ms = (seconds?: number) => (seconds === undefined ? undefined : formatDuration(seconds * 1000))
  const fields = formatFields(
    [
      [
        'moved',
        `${formatBytes(report.totalBytes)} of data, ${formatBytes(report.wireBytes)} on the wire, ${count(report.round, 'round')}`,
      ],
      ['took', ms(report.seconds)],
      ['downtime', ms(report.downtimeSeconds)],
      ['pause to data', ms(report.pauseToDataSeconds)],
      ['start to healthy', ms(report.startToHealthySeconds)],
      ...report.roots.map(({ machine, disk, root }) => [`${machine}/${disk}`, root] as const),
      ['changed', changesOf(report)],
      ['here', hereOf(report)],
    ],
    style,
  )
  return `${titles[report.state] ?? `${name} is ${report.state}`}\n${fields}`
}

function changesOf({ changes }: RelocationReport): string | undefined {
  return changes.length === 0
    ? undefined
    : changes.map(({ machine, path }) => printable(`${machine}:${path}`)).join(', ')
}

function hereOf({ state, job, finalizeAt }: RelocationReport): string | undefined {
  if (state !== 'live') return undefined
  return finalizeAt === undefined
    ? `stopped, until fluidcloud finalize ${job} (or rollback)`
    : `stopped, until ${finalizeAt} or fluidcloud finalize ${job} (or rollback)`
}
