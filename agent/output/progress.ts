/** The live progress of jobs: one line each on a terminal, redrawn; without one a plain line every few seconds. */
import type { JobReport } from '../reports/job-reports.ts'
import { formatBytes, formatDuration, formatRate } from '../units.ts'
import type { Style } from './style.ts'
import type { Screen } from './terminal.ts'
import { displayWidth, printable, truncate, truncateMiddle } from './text.ts'

const PLAIN_INTERVAL_MS = 5_000
const MIN_BAR_COLUMNS = 8
const MAX_BAR_COLUMNS = 32
const MAX_NAME_COLUMNS = 28

/** Jobs in these states will not change any more. */
export function isFinished({ state }: Pick<JobReport, 'state'>): boolean {
  return state === 'complete' || state === 'failed' || state === 'cancelled'
}

/** Share of the volume that is durable at the target, 0 to 1; an empty volume is done when it is complete. */
export function doneShare({ logicalBytes, doneBytes, state }: JobReport): number {
  if (state === 'complete') return 1
  return logicalBytes > 0 ? Math.min(1, doneBytes / logicalBytes) : 0
}

/**
 * One line of at most `columns` columns. What matters least is left out first; the bar takes what is left over.
 * `frame` counts redraws, for the spinner; without it none turns.
 */
export function formatProgress(report: JobReport, style: Style, columns: number, frame?: number): string {
  const { symbols } = style
  const still = frame === undefined || isFinished(report)
  const spinner = still ? symbols.dot : symbols.frames[frame % symbols.frames.length]
  const name = truncateMiddle(printable(report.destination), MAX_NAME_COLUMNS, symbols.ellipsis)
  const head: Segment = { text: `${spinner} ${name}`, rank: 3, paint: style.bold }
  const segments =
    report.state === 'running' || report.state === 'verifying'
      ? moving(report, style)
      : waiting(report, style)
  const fitted = fit([head, ...segments], columns)
  if (fitted.length === 0) return truncate(segments[0].text, columns, '')
  const barColumns = Math.min(MAX_BAR_COLUMNS, MIN_BAR_COLUMNS + columns - width(fitted))
  return fitted
    .map(({ text, paint = String, isBar }) =>
      isBar ? bar(doneShare(report), barColumns, style) : paint(text),
    )
    .join('  ')
}

interface Segment {
  readonly text: string
  /** Least important first to go; 0 stays longest. */
  readonly rank: number
  readonly paint?: (text: string) => string
  /** Its text only keeps room; the bar is drawn there, as long as the line allows. */
  readonly isBar?: boolean
}

function moving(report: JobReport, style: Style): Segment[] {
  const { symbols } = style
  const segments: Segment[] = [
    { text: `${Math.floor(doneShare(report) * 100)}%`.padStart(4), rank: 0, paint: style.cyan },
    { text: ' '.repeat(MIN_BAR_COLUMNS), rank: 4, isBar: true },
    { text: `${formatBytes(report.doneBytes)}/${formatBytes(report.logicalBytes)}`, rank: 1 },
    { text: formatRate(report.bytesPerSecond), rank: 2 },
    { text: `wire ${formatRate(report.wireBytesPerSecond)}`, rank: 5, paint: style.dim },
  ]
  if (report.state === 'verifying') segments.push({ text: 'verifying', rank: 1 })
  else if (report.etaSeconds !== undefined)
    segments.push({ text: `ETA ${formatDuration(report.etaSeconds * 1000)}`, rank: 2 })
  if (report.path && report.lanes > 0)
    segments.push({ text: `${report.path} ${symbols.times}${report.lanes}`, rank: 6, paint: style.dim })
  if (report.dedupedBytes > 0) {
    segments.push({ text: `dedupe ${formatBytes(report.dedupedBytes)}`, rank: 7, paint: style.green })
  }
  return segments
}

function waiting(report: JobReport, style: Style): Segment[] {
  const peer = printable(report.peerName)
  const why = report.error ? `: ${printable(report.error.message)}` : ''
  const words: Partial<Record<JobReport['state'], string>> = {
    connecting: `connecting to ${peer}`,
    'awaiting-approval':
      report.direction === 'out' ? `waiting for ${peer} to approve` : `waits for your approval`,
    paused: `paused${why}`,
    reconnecting: `reconnecting to ${peer}${why}`,
    failed: `failed${why}`,
  }
  const paint =
    report.state === 'failed' ? style.red : report.state === 'complete' ? style.green : style.yellow
  return [
    { text: words[report.state] ?? report.state, rank: 0, paint },
    { text: `${Math.floor(doneShare(report) * 100)}%`, rank: 4 },
  ]
}

/** Drops the least important until the rest fits; the most important is cut as a last resort. */
function fit(segments: readonly Segment[], columns: number): Segment[] {
  let kept = [...segments]
  while (width(kept) > columns && kept.length > 0) {
    const worst = kept.reduce((last, segment) => (segment.rank >= last.rank ? segment : last))
    if (worst.rank === 0)
      return kept.map((segment) => ({ ...segment, text: truncate(segment.text, columns, '') }))
    kept = kept.filter((segment) => segment !== worst)
  }
  return kept
}

function width(segments: readonly Segment[]): number {
  return segments.reduce((sum, { text }) => sum + displayWidth(text) + 2, -2)
}

/** A bar of `columns` columns, `share` of it filled. */
export function bar(share: number, columns: number, style: Style): string {
  const filled = Math.round(share * columns)
  return style.cyan(style.symbols.bar.repeat(filled)) + style.dim(style.symbols.rest.repeat(columns - filled))
}

/** Draws jobs on `screen` until it is cleared; owns the last lines of the terminal meanwhile. */
export class ProgressView {
  readonly #screen: Screen
  readonly #style: Style
  readonly #live: boolean
  readonly #reports = new Map<string, JobReport>()
  readonly #written = new Map<string, { state: string; at: number }>()
  #drawn = 0
  #frame = 0

  constructor(screen: Screen, style: Style, { live }: { live: boolean }) {
    this.#screen = screen
    this.#style = style
    this.#live = live
  }

  /** Shows the newest report of its job; a finished job's line is gone at the next draw. */
  update(report: JobReport): void {
    if (!this.#live) return this.#writePlain(report)
    if (isFinished(report)) this.#reports.delete(report.job)
    else this.#reports.set(report.job, report)
    this.#frame++
    const columns = this.#columns()
    const lines = [...this.#reports.values()].map((each) =>
      formatProgress(each, this.#style, columns, this.#frame),
    )
    this.#screen.write(this.#erase() + lines.join('\n'))
    this.#drawn = lines.length
  }

  /** Takes the lines off the terminal, so that something else can be written. */
  clear(): void {
    if (this.#drawn > 0) this.#screen.write(this.#erase())
    this.#drawn = 0
  }

  /** One less than the terminal has: a full line wraps on some, and then it could not be redrawn. */
  #columns(): number {
    return Math.max(1, (this.#screen.columns || 80) - 1)
  }

  #erase(): string {
    if (this.#drawn === 0) return ''
    return `${this.#drawn > 1 ? `\x1b[${this.#drawn - 1}A` : ''}\r\x1b[J`
  }

  #writePlain(report: JobReport): void {
    const last = this.#written.get(report.job)
    const now = performance.now()
    if (last?.state === report.state && now - last.at < PLAIN_INTERVAL_MS) return
    if (isFinished(report)) return
    this.#written.set(report.job, { state: report.state, at: now })
    this.#screen.write(`${formatProgress(report, this.#style, 110).trim()}\n`)
  }
}
