/** Contenders over the same task, taking turns, A B A B: what a noisy machine does to one it does to all. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { formatBytes } from '../../../agent/units.ts'
import { hasProgram } from '../../helpers/programs.ts'
import type { Contender, Figures } from '../contender.ts'
import type { Line } from '../line.ts'
import type { Options } from '../options.ts'
import { medians, type Report } from '../report.ts'
import { taskFolder } from '../task-folder.ts'
import { dataBytes, warm } from '../workloads.ts'

const TRAITS = ['verified', 'encrypted', 'resumable'] as const

export interface Comparison {
  readonly id: string
  readonly title: string
  readonly source: string
  readonly held?: string
  /** Sources that contenders move besides. */
  readonly besides?: readonly string[]
  /** Ours first: the others are compared with it. One that would take too long has a smaller source of its own. */
  readonly contenders: readonly (Contender & { readonly source?: string })[]
  readonly line: Line
  /** Added to each JSON line. */
  readonly facts?: Readonly<Record<string, unknown>>
}

export interface Summary {
  readonly contender: Contender
  readonly runs: readonly Figures[]
  readonly median: Figures
  /** Data that was moved, holes not counted. */
  readonly movedBytes: number
  readonly bytesPerSecond: number
  /** Whether the target was the same as the source; undefined when it cannot be compared. */
  readonly same?: boolean
}

/** Runs every contender that is installed and wanted; prints the table and the lines, and gives what it found. */
export async function compare(
  comparison: Comparison,
  options: Options,
  report: Report,
): Promise<readonly Summary[]> {
  const { id, title, source, besides = [], facts, contenders } = comparison
  const present = contenders.filter((contender) => isPresent(contender, options, report))
  if (present.length === 0) return []
  for (const path of [source, ...besides]) await warm(path)
  const summaries = await takeTurns({ ...comparison, contenders: present }, options, report)
  if (summaries.length === 0) return []
  report.table(`Case ${id}: ${title}, medians of ${options.runs}`, HEAD, rowsOf(summaries))
  for (const { contender, median, runs, ...rest } of summaries) {
    const { name, traits } = contender
    const cpuSecondsPerGiB = perGiB(median.cpuSeconds, rest.movedBytes)
    const head = { bench: 'peers', case: id, ...facts, contender: name, ...traits }
    report.json({ ...head, ...rest, ...median, cpuSecondsPerGiB, runs })
  }
  return summaries
}

async function takeTurns(
  { id, held, line, contenders, source: common, besides = [] }: Comparison,
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
      const source = contender.source ?? common
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
  const measured = all.filter(({ runs }) => runs.length > 0)
  return await Promise.all(
    measured.map(async ({ contender, runs, same }) => {
      const median = medians(runs)
      const all = await Promise.all([contender.source ?? common, ...besides].map(dataBytes))
      const movedBytes = all.reduce((sum, bytes) => sum + bytes, 0)
      return { contender, runs, same, median, movedBytes, bytesPerSecond: movedBytes / median.seconds }
    }),
  )
}

function isPresent(contender: Contender, { contenders }: Options, report: Report): boolean {
  const { name, needs } = contender
  if (contenders.length > 0 && !contenders.some((part) => name.includes(part))) return false
  const missing = [...needs.filter((program) => !hasProgram(program)), contender.missing?.() ?? []].flat()
  if (missing.length > 0) report.progress(`Left out ${name}: ${missing.join(', ')} not installed`)
  return missing.length === 0
}

const HEAD = ['', 'seconds', 'of it job', 'MiB/s', 'times ours', 'CPU s/GiB', 'wire', 'peak RSS', ...TRAITS]

function rowsOf(summaries: readonly Summary[]): string[][] {
  const [ours] = summaries
  return summaries.map(({ contender: { name, traits }, median, movedBytes, bytesPerSecond, same }) => [
    same === false ? `${name} (NOT THE SAME BYTES)` : name,
    median.seconds.toFixed(2),
    median.jobSeconds?.toFixed(2) ?? '',
    (bytesPerSecond / 2 ** 20).toFixed(0),
    (ours.bytesPerSecond / bytesPerSecond).toFixed(2),
    perGiB(median.cpuSeconds, movedBytes).toFixed(2),
    formatBytes(median.wireBytes),
    formatBytes(median.peakRssBytes),
    ...TRAITS.map((trait) => (traits[trait] ? 'yes' : 'no')),
  ])
}

function perGiB(seconds: number, bytes: number): number {
  return seconds / (bytes / 2 ** 30)
}

/** An image holds the volume, not the same bytes. */
async function isSame(source: string, target: string): Promise<boolean> {
  const [program, ...args] = source.endsWith('.qcow2')
    ? ['qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', source, target]
    : ['cmp', '--silent', source, target]
  return await promisify(execFile)(program, args).then(
    () => true,
    () => false,
  )
}
