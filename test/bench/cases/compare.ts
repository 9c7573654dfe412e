/** Contenders over the same task, taking turns, A B A B: what a noisy machine does to one it does to all. */
import { basename } from 'node:path'
import { formatBytes } from '../../../agent/units.ts'
import { hasProgram } from '../../helpers/programs.ts'
import type { Contender, Figures } from '../contender.ts'
import type { Line } from '../line.ts'
import type { Options } from '../options.ts'
import { medians, type Report } from '../report.ts'
import { isSame } from '../same.ts'
import { inTaskFolder } from '../task-folder.ts'
import type { Bench } from './case.ts'
import { dataBytes, warm, warmData } from '../holes.ts'

/** A little is always missing. */
const WORTH_TELLING_BYTES = 64 * 2 ** 20
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
  /** Of data that was moved, both ends together. */
  readonly cpuSecondsPerGiB: number
  /** Whether the target was the same as the source; undefined when it cannot be compared. */
  readonly same?: boolean
}

/** Runs every contender that is installed and wanted; prints the table and the lines, and gives what it found. */
export async function compare(comparison: Comparison, bench: Bench): Promise<readonly Summary[]> {
  const { options, report } = bench
  const { id, title, facts, contenders } = comparison
  const present = contenders.filter((contender) => isPresent(contender, options, report))
  if (present.length === 0) return []
  const summaries = await takeTurns({ ...comparison, contenders: present }, bench)
  if (summaries.length === 0) return []
  report.table(`Case ${id}: ${title}, medians of ${options.runs}`, HEAD, rowsOf(summaries), {
    mark: OURS,
    legend: LEGEND,
  })
  for (const { contender, median, runs, ...rest } of summaries) {
    const { name, traits } = contender
    const head = { bench: 'peers', case: id, ...facts, contender: name, ...traits }
    report.json({ ...head, ...rest, ...median, runs })
  }
  return summaries
}

async function takeTurns(
  { id, held, line, contenders, source: common, besides = [] }: Comparison,
  bench: Bench,
): Promise<Summary[]> {
  const { options, report } = bench
  const all = contenders.map((contender) => ({
    contender,
    runs: [] as Figures[],
    same: undefined as boolean | undefined,
  }))
  for (let run = 1; run <= options.runs; run++) {
    // Another one is first each time: whoever comes after a pause pays for what the host took back meanwhile.
    const first = (run - 1) % all.length
    for (const entry of [...all.slice(first), ...all.slice(0, first)]) {
      const { contender } = entry
      const source = contender.source ?? common
      if (contender.slow && run > options.slowRuns) continue
      const turn = `case ${id}, run ${run} of ${options.runs}: ${contender.name}`
      try {
        await inTaskFolder(bench, async (folder) => {
          for (const path of [source, ...besides]) await keepWarm(path, report)
          if (held) await warmData(held)
          using _running = report.running(turn)
          const { target, ...figures } = await contender.move({ source, held, line, folder })
          if (run === 1 && target !== undefined) entry.same = await compared(source, target, report)
          entry.runs.push(figures)
        })
        const { seconds, cpuSeconds } = entry.runs.at(-1)!
        report.progress(`${turn}: ${seconds.toFixed(2)} s, ${cpuSeconds.toFixed(2)} CPU s`)
      } catch (error) {
        // One that fails must not take the figures of the others with it.
        report.progress(`${turn} failed: ${String(error)}`)
      }
    }
  }
  const measured = all.filter(({ runs }) => runs.length > 0)
  return await Promise.all(
    measured.map(async ({ contender, runs, same }) => {
      const median = medians(runs)
      const all = await Promise.all([contender.source ?? common, ...besides].map(dataBytes))
      const movedBytes = all.reduce((sum, bytes) => sum + bytes, 0)
      return {
        contender,
        runs,
        same,
        median,
        movedBytes,
        bytesPerSecond: movedBytes / median.seconds,
        cpuSecondsPerGiB: median.cpuSeconds / (movedBytes / 2 ** 30),
      }
    }),
  )
}

/** Undefined when nobody can tell. */
async function compared(source: string, target: string, report: Report): Promise<boolean | undefined> {
  return await isSame(source, target).catch((error: unknown) => {
    report.progress(`${basename(target)} was not compared with its source: ${String(error)}`)
    return undefined
  })
}

function isPresent(contender: Contender, { contenders }: Options, report: Report): boolean {
  const { name, needs } = contender
  if (contenders.length > 0 && !contenders.some((part) => name.includes(part))) return false
  const missing = [...needs.filter((program) => !hasProgram(program)), contender.missing?.() ?? []].flat()
  if (missing.length > 0) report.progress(`Left out ${name}: ${missing.join(', ')} not installed`)
  return missing.length === 0
}

/** The source may have left the page cache since its last turn. */
async function keepWarm(path: string, report: Report): Promise<void> {
  const missing = await warm(path)
  if (missing !== undefined && missing > WORTH_TELLING_BYTES)
    report.progress(`Read ${basename(path)} again: ${formatBytes(missing)} of it were not in the page cache`)
}

const OURS = 'fluidcloud'
const HEAD = ['', 'seconds', 'x ours', 'MiB/s', 'CPU s/GiB', 'wire', 'peak RSS', 'V E R']
const LEGEND = [
  'x ours: its time to ours. Peak RSS: of ours both agents, of others the largest process.',
  'V verified, E encrypted, R resumable.',
].join('\n')

function rowsOf(summaries: readonly Summary[]): string[][] {
  const [first] = summaries
  const ours = first.contender.name.startsWith(OURS) ? first : undefined
  return summaries.map(({ contender: { name, traits }, median, bytesPerSecond, cpuSecondsPerGiB, same }) => [
    same === false ? `${name} (NOT THE SAME BYTES)` : name,
    median.seconds.toFixed(2),
    ours === undefined ? '' : `${(ours.bytesPerSecond / bytesPerSecond).toFixed(2)}x`,
    (bytesPerSecond / 2 ** 20).toFixed(0),
    cpuSecondsPerGiB.toFixed(2),
    formatBytes(median.wireBytes),
    peaksOf(median),
    TRAITS.map((trait) => (traits[trait] ? 'y' : '-')).join(' '),
  ])
}

function peaksOf({ peakRssBytes, senderRssBytes, receiverRssBytes }: Figures): string {
  if (senderRssBytes === undefined || receiverRssBytes === undefined) return formatBytes(peakRssBytes)
  return `${Math.round(senderRssBytes / 2 ** 20)}+${formatBytes(receiverRssBytes)}`
}
