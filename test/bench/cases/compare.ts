/** Contenders over the same task, taking turns, A B A B: what a noisy machine does to one it does to all. */
import { execFile } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { formatBytes } from '../../../agent/units.ts'
import { hasProgram } from '../../helpers/programs.ts'
import type { Contender, Figures } from '../contender.ts'
import type { Line } from '../line.ts'
import type { Options } from '../options.ts'
import { medians, type Report } from '../report.ts'
import { taskFolder } from '../task-folder.ts'
import { warm } from '../workloads.ts'

const BLOCK_BYTES = 512

export interface Comparison {
  readonly id: string
  readonly title: string
  readonly source: string
  readonly held?: string
  /** Ours first: the others are compared with it. */
  readonly contenders: readonly Contender[]
  readonly line: Line
  /** Added to each JSON line. */
  readonly facts?: Readonly<Record<string, unknown>>
}

interface Summary {
  readonly contender: Contender
  readonly runs: readonly Figures[]
  readonly median: Figures
  /** Whether the target was the same as the source; undefined when it cannot be compared. */
  readonly same?: boolean
}

/** Runs every contender that is installed and wanted; prints the table and the lines, and gives the medians by name. */
export async function compare(
  comparison: Comparison,
  options: Options,
  report: Report,
): Promise<Map<string, Figures>> {
  const { id, title, source, facts } = comparison
  const present = comparison.contenders.filter((contender) => isPresent(contender, options, report))
  if (present.length === 0) return new Map()
  await warm(source)
  const summaries = await takeTurns(comparison, present, options, report)
  const dataGiB = ((await stat(source)).blocks * BLOCK_BYTES) / 2 ** 30
  report.table(`Case ${id}: ${title}, medians of ${options.runs}`, HEAD, rowsOf(summaries, dataGiB))
  for (const { contender, median, runs, same } of summaries) {
    const { name, traits } = contender
    const cpuSecondsPerGiB = median.cpuSeconds / dataGiB
    report.json({
      bench: 'peers',
      case: id,
      ...facts,
      contender: name,
      ...traits,
      same,
      ...median,
      cpuSecondsPerGiB,
      runs,
    })
  }
  return new Map(summaries.map(({ contender, median }) => [contender.name, median]))
}

async function takeTurns(
  { id, source, held, line }: Comparison,
  contenders: readonly Contender[],
  options: Options,
  report: Report,
): Promise<Summary[]> {
  const all = contenders.map((contender) => ({
    contender,
    runs: [] as Figures[],
    same: undefined as boolean | undefined,
  }))
  for (let run = 1; run <= options.runs; run++) {
    for (const entry of all) {
      const { contender } = entry
      if (contender.slow && run > options.slowRuns) continue
      await using folder = await taskFolder(options.target)
      try {
        const { target, ...figures } = await contender.move({ source, held, line, folder: folder.path })
        if (run === 1 && target !== undefined) entry.same = await isSame(source, target)
        entry.runs.push(figures)
        report.progress(
          `case ${id}, run ${run} of ${options.runs}: ${contender.name}: ${figures.seconds.toFixed(2)} s, ${figures.cpuSeconds.toFixed(2)} CPU s`,
        )
      } catch (error) {
        // One that fails must not take the figures of the others with it.
        report.progress(
          `case ${id}, run ${run} of ${options.runs}: ${contender.name} failed: ${String(error)}`,
        )
      }
    }
  }
  return all
    .filter(({ runs }) => runs.length > 0)
    .map(({ contender, runs, same }) => ({ contender, runs, same, median: medians(runs) }))
}

function isPresent({ name, needs }: Contender, { contenders }: Options, report: Report): boolean {
  if (contenders.length > 0 && !contenders.some((part) => name.includes(part))) return false
  const missing = needs.filter((program) => !hasProgram(program))
  if (missing.length > 0) report.progress(`Left out ${name}: ${missing.join(', ')} not installed`)
  return missing.length === 0
}

const HEAD = [
  '',
  'seconds',
  'of it job',
  'times ours',
  'CPU s/GiB',
  'wire',
  'peak RSS',
  'verified',
  'encrypted',
  'resumable',
]

function rowsOf(summaries: readonly Summary[], dataGiB: number): string[][] {
  const [ours] = summaries
  const said = (yes: boolean): string => (yes ? 'yes' : 'no')
  return summaries.map(({ contender: { name, traits }, median, same }) => [
    same === false ? `${name} (NOT THE SAME BYTES)` : name,
    median.seconds.toFixed(2),
    median.jobSeconds?.toFixed(2) ?? '',
    (median.seconds / ours.median.seconds).toFixed(2),
    (median.cpuSeconds / dataGiB).toFixed(2),
    formatBytes(median.wireBytes),
    formatBytes(median.peakRssBytes),
    said(traits.verified),
    said(traits.encrypted),
    said(traits.resumable),
  ])
}

async function isSame(source: string, target: string): Promise<boolean | undefined> {
  // An image of another format holds the volume, not the same bytes.
  if (!source.endsWith('.raw')) return undefined
  return await promisify(execFile)('cmp', ['--silent', source, target]).then(
    () => true,
    () => false,
  )
}
