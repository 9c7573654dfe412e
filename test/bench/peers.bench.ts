/**
 * Moves of whole disks, against the programs people use for it now: time, processor time of both ends, bytes on the
 * wire. Contenders take turns in one run, and medians are compared. Source in the page cache, target on tmpfs.
 *
 * Usage: npm run bench -- [--case 1,2,3] [--runs 3] [--work DIR] [--target DIR] [--size 4GiB]
 *   [--cipher NAME] [--disk V1 --upgraded V2]
 *   1  a file that does not compress
 *   2  a real disk with its holes
 *   3  the same disk after an upgrade, over the version the target holds
 * Peers that are not installed are left out. Disks are made in the work folder when none is given (make-disk.sh).
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createStyle, wantsColor, wantsUnicode } from '../../agent/output/style.ts'
import { formatTable } from '../../agent/output/table.ts'
import { formatBytes, parseSize } from '../../agent/units.ts'
import { hasProgram } from '../helpers/programs.ts'
import { fluidcloud, rsync, scp, taskFolder, type Contender, type Figures } from './contenders.ts'
import { incompressibleFile, realDisks, warm } from './workloads.ts'

interface Case {
  readonly title: string
  readonly source: string
  readonly held?: string
  /** Ours first: the others are compared with it. */
  readonly contenders: readonly Contender[]
}

const { values } = parseArgs({
  options: {
    case: { type: 'string', default: '1,2,3' },
    runs: { type: 'string', default: '3' },
    work: { type: 'string', default: join(tmpdir(), 'fluidcloud-bench') },
    target: { type: 'string', default: '/dev/shm' },
    size: { type: 'string', default: '4GiB' },
    // What ssh chooses by itself, unless given.
    cipher: { type: 'string' },
    disk: { type: 'string' },
    upgraded: { type: 'string' },
  },
})
const { cipher } = values
const FAST_CIPHER = 'aes128-gcm@openssh.com'
const runs = Number(values.runs)
if (!Number.isInteger(runs) || runs < 1)
  throw new TypeError(`--runs ${values.runs} is not a whole number from 1`)
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
// So that what is to be ended and removed at exit is.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
for (const number of values.case.split(',')) await runCase(number, await prepare(number))

async function prepare(number: string): Promise<Case> {
  if (number === '1') {
    return {
      title: `${values.size} that does not compress`,
      source: await incompressibleFile(values.work, parseSize(values.size)),
      contenders: [
        fluidcloud('auto'),
        rsync(['--whole-file'], cipher),
        scp(cipher),
        // The fastest that OpenSSH has, and the one that our lanes use.
        scp(FAST_CIPHER),
        rsync(['--whole-file'], FAST_CIPHER),
      ],
    }
  }
  if (number !== '2' && number !== '3') throw new TypeError(`There is no case ${number}, only 1, 2 and 3`)
  const { disk, upgraded } = await realDisks(values.work, { disk: values.disk, upgraded: values.upgraded })
  if (number === '2') {
    return {
      title: 'a real disk with its holes',
      source: disk,
      contenders: [
        fluidcloud('auto'),
        fluidcloud('on'),
        rsync(['--sparse', '-z', '--zc=zstd', '--zl=1'], cipher),
      ],
    }
  }
  return {
    title: 'the same disk after an upgrade, over the version before',
    source: upgraded,
    held: disk,
    contenders: [
      fluidcloud('auto'),
      fluidcloud('on'),
      rsync(['--inplace', '--no-whole-file', '-z', '--zc=zstd'], cipher),
    ],
  }
}

async function runCase(number: string, { title, source, held, contenders }: Case): Promise<void> {
  const present = contenders.filter(({ name, needs }) => {
    const missing = needs.filter((program) => !hasProgram(program))
    if (missing.length > 0) console.error(`Left out ${name}: ${missing.join(', ')} not installed`)
    return missing.length === 0
  })
  await warm(source)
  const figures = new Map<Contender, Figures[]>(present.map((contender) => [contender, []]))
  for (let run = 1; run <= runs; run++) {
    for (const contender of present) {
      await using folder = await taskFolder(values.target)
      const measured = await contender.move({ source, held, folder: folder.path })
      figures.get(contender)!.push(measured)
      console.error(
        `case ${number}, run ${run} of ${runs}: ${contender.name}: ${measured.seconds.toFixed(2)} s`,
      )
    }
  }
  const summaries = [...figures].map(([{ name }, all]) => ({ name, ...medians(all), runs: all }))
  console.log(`\n${style.bold(`Case ${number}`)}: ${title}, medians of ${runs}\n`)
  console.log(tableOf(summaries))
  for (const { name, ...medianFigures } of summaries) {
    console.log(
      JSON.stringify({ bench: 'peers', case: Number(number), contender: name, ...medianFigures, ...machine }),
    )
  }
}

type Summary = Figures & { readonly name: string }

function tableOf(summaries: readonly Summary[]): string {
  const [ours] = summaries
  return formatTable(
    [
      { title: '' },
      ...['seconds', 'of it job', 'times ours', 'CPU s', 'wire', 'peak RSS', 'at the target'].map((name) => ({
        title: name,
        align: 'right' as const,
      })),
    ],
    summaries.map(({ name, seconds, jobSeconds, cpuSeconds, wireBytes, peakRssBytes, targetBytes }) => [
      name,
      seconds.toFixed(2),
      jobSeconds?.toFixed(2) ?? '',
      (seconds / ours.seconds).toFixed(2),
      cpuSeconds.toFixed(2),
      wireBytes === undefined ? '' : formatBytes(wireBytes),
      peakRssBytes === undefined ? '' : formatBytes(peakRssBytes),
      formatBytes(targetBytes),
    ]),
    { style },
  )
}

/** Each figure's median on its own. */
function medians(all: readonly Figures[]): Figures {
  const of = (pick: (figures: Figures) => number | undefined): number | undefined => {
    const numbers = all.map(pick).filter((value) => value !== undefined)
    return numbers.length > 0 ? numbers.toSorted((a, b) => a - b)[numbers.length >> 1] : undefined
  }
  return {
    seconds: of(({ seconds }) => seconds)!,
    jobSeconds: of(({ jobSeconds }) => jobSeconds),
    cpuSeconds: of(({ cpuSeconds }) => cpuSeconds)!,
    wireBytes: of(({ wireBytes }) => wireBytes),
    peakRssBytes: of(({ peakRssBytes }) => peakRssBytes),
    targetBytes: of(({ targetBytes }) => targetBytes)!,
  }
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
