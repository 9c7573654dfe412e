/** What a benchmark prints: a table for people, and JSON lines with the machine for comparing runs. */
import { execFileSync } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { createStyle, wantsColor, wantsUnicode } from '../../agent/output/style.ts'
import { formatTable } from '../../agent/output/table.ts'

export interface Report {
  /** Prints a table: the first column names the row, the others are figures. */
  table(title: string, head: readonly string[], rows: readonly (readonly string[])[]): void
  /** One JSON line, with what it was measured on. */
  json(line: Readonly<Record<string, unknown>>): void
  /** How far it is, on standard error. */
  progress(text: string): void
}

/** Writes to standard output; JSON lines also go to the end of `file`. */
export function createReport(file?: string): Report {
  const style = createStyle({
    color: wantsColor(process.env, { isTTY: process.stdout.isTTY }),
    unicode: wantsUnicode(process.env),
  })
  const machine = {
    commit: commit(),
    node: process.version,
    cores: availableParallelism(),
    processor: cpus()[0]?.model,
    date: new Date().toISOString(),
  }
  return {
    table(title, [first, ...figures], rows) {
      const head = [{ title: first }, ...figures.map((name) => ({ title: name, align: 'right' as const }))]
      console.log(`\n${style.bold(title)}\n\n${formatTable(head, rows, { style })}`)
    },
    json(fields) {
      const line = JSON.stringify({ ...fields, ...machine }, rounded)
      console.log(line)
      if (file !== undefined) appendFileSync(file, `${line}\n`)
    },
    progress(text) {
      console.error(text)
    },
  }
}

/** Four digits after the point are more than any figure here has a meaning for. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toFixed(4)) : value
}

/** Each figure's median on its own, of those runs that have it. */
export function medians<Figures extends object>(runs: readonly Figures[]): Figures {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run)))] as (keyof Figures)[]
  const of = (name: keyof Figures): number | undefined => {
    const numbers = runs.map((run) => run[name]).filter((value) => typeof value === 'number')
    return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]
  }
  return Object.fromEntries(names.map((name) => [name, of(name)])) as Figures
}

function commit(): string | undefined {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { stdio: ['ignore', 'pipe', 'ignore'] }).toString()
    const head = git('rev-parse', '--short', 'HEAD').trim()
    const changes = git('status', '--porcelain')
    return changes === '' ? head : `${head}-dirty`
  } catch {
    return undefined
  }
}
