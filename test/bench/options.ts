/** What the command line of the benchmark says. */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { parseSize } from '../../agent/units.ts'
import type { LineShape } from './wan/wan-line.ts'

export interface Options {
  readonly cases: readonly string[]
  /** Parts of names; all contenders when empty. */
  readonly contenders: readonly string[]
  readonly runs: number
  /** Of contenders that take minutes. */
  readonly slowRuns: number
  /** Keeps the workloads. */
  readonly work: string
  /** Where targets are written and removed. */
  readonly target: string
  /** Free memory is held where that makes figures steadier: resident-memory.ts. */
  readonly hold: boolean
  /** Of the incompressible files; each case has its own when undefined. */
  readonly sizeBytes?: number
  /** That the index of case 10 knows. */
  readonly chunks?: number
  readonly cipher?: string
  readonly disk?: string
  readonly upgraded?: string
  /** What is given of the line in the cases that have one. */
  readonly line: Partial<LineShape>
  /** File that the JSON lines are added to, in place of standard output. */
  readonly json?: string
}

/** Throws TypeError for what it does not know. */
export function parseOptions(args: readonly string[], known: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      case: { type: 'string', default: '1,2,3' },
      contender: { type: 'string', default: '' },
      runs: { type: 'string', default: '3' },
      'slow-runs': { type: 'string', default: '1' },
      work: { type: 'string', default: join(tmpdir(), 'fluidcloud-bench') },
      target: { type: 'string', default: '/dev/shm' },
      'no-hold': { type: 'boolean', default: false },
      size: { type: 'string' },
      chunks: { type: 'string' },
      // What ssh chooses by itself, unless given.
      cipher: { type: 'string' },
      disk: { type: 'string' },
      upgraded: { type: 'string' },
      rate: { type: 'string' },
      rtt: { type: 'string' },
      loss: { type: 'string' },
      queue: { type: 'string' },
      congestion: { type: 'string' },
      json: { type: 'string' },
    },
  })
  const cases = values.case === 'all' ? known : values.case.split(',')
  const unknown = cases.find((name) => !known.includes(name))
  if (unknown !== undefined) throw new TypeError(`There is no case ${unknown}, only ${known.join(', ')}`)
  return {
    ...values,
    cases,
    hold: !values['no-hold'],
    contenders: values.contender.split(',').filter((part) => part !== ''),
    runs: count('--runs', values.runs),
    slowRuns: count('--slow-runs', values['slow-runs']),
    chunks: values.chunks === undefined ? undefined : count('--chunks', values.chunks),
    line: defined({
      rateMbit: number('--rate', values.rate),
      roundTripMs: number('--rtt', values.rtt),
      lossPercent: number('--loss', values.loss),
      queueBytes: values.queue === undefined ? undefined : parseSize(values.queue),
      congestion: values.congestion,
    }),
    sizeBytes: values.size === undefined ? undefined : parseSize(values.size),
  }
}

function count(option: string, text: string): number {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1)
    throw new TypeError(`${option} ${text} is not a whole number from 1`)
  return number
}

function number(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (!(value >= 0)) throw new TypeError(`${option} ${text} is not a number from 0`)
  return value
}

/** Without what is undefined, so that it can be laid over defaults. */
function defined<Fields extends object>(fields: Fields): Partial<Fields> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Partial<Fields>
}
