/** What a benchmark prints: a table for people, and JSON lines with the machine for comparing runs. */
import { execFileSync } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { createStyle, wantsColor, wantsUnicode } from '../../agent/output/style.ts'
import { formatTable } from '../../agent/output/table.ts'
import { truncate } from '../../agent/output/text.ts'

const TICK_MS = 1000
const CLEAR_LINE = '\r\x1b[K'

export interface Report {
  /** Prints a table: the first column names the row, the others are figures. Rows that start with `mark` are ours. */
  table(
    title: string,
    head: readonly string[],
    rows: readonly (readonly string[])[],
    details?: { readonly mark?: string; readonly legend?: string },
  ): void
  /** One JSON line, with what it was measured on. */
  json(line: Readonly<Record<string, unknown>>): void
  /** How far it is, on standard error. */
  progress(text: string): void
  /** On a terminal, says what runs and for how long, until it is disposed. */
  running(text: string): Disposable
}

/** Writes to standard output; JSON lines go to the end of `file` when there is one, and all have `facts`. */
export function createReport(file?: string, facts: Readonly<Record<string, unknown>> = {}): Report {
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
    ...facts,
  }
  return {
    table(title, [first, ...figures], rows, { mark, legend } = {}) {
      const head = [
        { title: first, flexible: true },
        ...figures.map((name) => ({ title: name, align: 'right' as const })),
      ]
      const cells = rows.map((row) => {
        if (mark === undefined) return row
        const isOurs = row[0].startsWith(mark)
        const cell = (text: string) => ({ text, paint: isOurs ? style.bold : String })
        return [cell(`${isOurs ? style.symbols.live : ' '} ${row[0]}`), ...row.slice(1).map(cell)]
      })
      // A file gets the whole names.
      const table = formatTable(head, cells, { style, columns: process.stdout.columns })
      console.log(`\n${style.bold(title)}\n\n${table}${legend ? `${style.dim(legend)}\n` : ''}`)
    },
    json(fields) {
      const line = JSON.stringify({ ...fields, ...machine }, rounded)
      if (file === undefined) console.log(line)
      else appendFileSync(file, `${line}\n`)
    },
    progress(text) {
      console.error(process.stderr.isTTY ? `${CLEAR_LINE}${text}` : text)
    },
    running(text) {
      if (!process.stderr.isTTY) return { [Symbol.dispose]: () => {} }
      const begun = performance.now()
      const write = (): void => {
        const seconds = Math.round((performance.now() - begun) / 1000)
        const room = (process.stderr.columns ?? 80) - 8
        process.stderr.write(
          `${CLEAR_LINE}${style.dim(`${truncate(text, room, style.symbols.ellipsis)} ${seconds} s`)}`,
        )
      }
      write()
      const ticking = setInterval(write, TICK_MS)
      return {
        [Symbol.dispose]() {
          clearInterval(ticking)
          process.stderr.write(CLEAR_LINE)
        },
      }
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
