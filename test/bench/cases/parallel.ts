/** Case 9: several jobs at once against one job with as many bytes, how fairly they share, and whether limits hold. */
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AgentClient } from '../../../agent/control/client.ts'
import { formatBytes, formatRate } from '../../../agent/units.ts'
import { PEER, startAgents } from '../contenders/agents.ts'
import type { Figures } from '../contender.ts'
import { openLoopback, type Line } from '../line.ts'
import { measure } from '../meter.ts'
import { medians } from '../report.ts'
import { inTaskFolder } from '../task-folder.ts'
import { warm } from '../holes.ts'
import { incompressibleFile } from '../workloads.ts'
import type { Bench, Case } from './case.ts'

const JOBS = 8
const TOTAL_BYTES = 4 * 2 ** 30
const LIMITED_BYTES = 512 * 2 ** 20
const LIMITS = [16, 64, 128].map((mebibytes) => mebibytes * 2 ** 20)
const POLL_MS = 50

/** How jobs that started together shared what there was; 1 is best. */
interface Shares {
  /** When the first job is complete: the least done of any, of what it has to do. */
  readonly leastDone: number
  /** Seconds until the first job was complete. */
  readonly firstSeconds: number
  /** Seconds until the last job had moved anything. */
  readonly allStartedSeconds: number
}

export const parallelJobs: Case = {
  id: '9',
  title: `${JOBS} jobs at once against one with as many bytes`,
  async run(bench) {
    const { options, report } = bench
    await using line = await openLoopback()
    const total = options.sizeBytes ?? TOTAL_BYTES
    const whole = await incompressibleFile(options.work, total)
    const parts = await Promise.all(
      Array.from({ length: JOBS }, (_, i) => incompressibleFile(options.work, total / JOBS, i + 1)),
    )
    const kinds = [
      { name: 'one job', sources: [whole] },
      { name: `${JOBS} jobs`, sources: parts },
    ]
    const runs = kinds.map(() => [] as (Figures & Shares)[])
    for (let run = 1; run <= options.runs; run++) {
      for (const [kind, { name, sources }] of kinds.entries()) {
        const turn = `case 9, run ${run} of ${options.runs}: ${name}`
        using _running = report.running(turn)
        for (const source of sources) await warm(source)
        const figures = await inTaskFolder(bench, (folder) => moveTogether(sources, folder, line))
        runs[kind].push(figures)
        report.progress(`${turn}: ${figures.seconds.toFixed(2)} s`)
      }
    }
    const all = runs.map(medians)
    const rows = kinds.map(({ name }, kind) => {
      const { seconds, cpuSeconds, peakRssBytes, leastDone, firstSeconds, allStartedSeconds } = all[kind]
      return [
        name,
        seconds.toFixed(2),
        (all[0].seconds / seconds).toFixed(2),
        (cpuSeconds / (total / 2 ** 30)).toFixed(2),
        formatBytes(peakRssBytes),
        firstSeconds.toFixed(2),
        leastDone.toFixed(2),
        allStartedSeconds.toFixed(2),
      ]
    })
    const head = [
      '',
      'seconds',
      'rate to one',
      'CPU s/GiB',
      'peak RSS',
      'first done',
      'least of others',
      'all moving after',
    ]
    report.table(`Case 9: ${this.title}, medians of ${options.runs}`, head, rows)
    for (const [kind, { name }] of kinds.entries())
      report.json({
        bench: 'parallel',
        case: '9',
        kind: name,
        totalBytes: total,
        ...all[kind],
        runs: runs[kind],
      })
    await limited(bench, line)
  },
}

async function moveTogether(
  sources: readonly string[],
  folder: string,
  line: Line,
): Promise<Figures & Shares> {
  await using agents = await startAgents(line, folder)
  const { api } = agents.sender
  const { figures, result } = await measure(line, async () => {
    const begun = performance.now()
    for (const source of sources)
      await api.move({ source, peer: PEER, destination: basename(source), compression: 'auto' })
    return await watchShares(api, begun)
  })
  return { ...figures, ...result }
}

async function watchShares(api: AgentClient, begun: number): Promise<Shares> {
  let [leastDone, firstSeconds, allStartedSeconds] = [0, 0, 0]
  for (; ; await sleep(POLL_MS)) {
    const jobs = await api.jobs()
    const failed = jobs.find(({ state }) => state === 'failed')
    if (failed) throw new Error(`A job failed: ${failed.error?.message}`)
    const complete = jobs.filter(({ state }) => state === 'complete').length
    const seconds = (performance.now() - begun) / 1000
    if (allStartedSeconds === 0 && jobs.every(({ sentBytes }) => sentBytes > 0)) allStartedSeconds = seconds
    if (complete > 0 && firstSeconds === 0) {
      firstSeconds = seconds
      leastDone = Math.min(
        ...jobs.map(({ doneBytes, logicalBytes }) => doneBytes / Math.max(logicalBytes, 1)),
      )
    }
    if (complete === jobs.length) return { leastDone, firstSeconds, allStartedSeconds }
  }
}

/** What crosses the line in a second under --bwlimit, start and end left out. */
async function limited(bench: Bench, line: Line): Promise<void> {
  const { options, report } = bench
  const rows: string[][] = []
  for (const limit of LIMITS) {
    const source = await incompressibleFile(
      options.work,
      Math.min(options.sizeBytes ?? LIMITED_BYTES, LIMITED_BYTES),
    )
    const bytesPerSecond = await inTaskFolder(bench, (folder) => rateUnder(limit, source, folder, line))
    rows.push([
      formatRate(limit),
      formatRate(bytesPerSecond),
      `${((bytesPerSecond / limit - 1) * 100).toFixed(1)} %`,
    ])
    report.json({ bench: 'limit', case: '9', limitBytesPerSecond: limit, bytesPerSecond })
  }
  report.table('Case 9: --bwlimit, as the line sees it', ['limit', 'rate', 'off by'], rows)
}

async function rateUnder(limit: number, source: string, folder: string, line: Line): Promise<number> {
  await using agents = await startAgents(line, folder)
  const { api } = agents.sender
  const { job } = await api.move({ source, peer: PEER, destination: 'limited.raw', bandwidth: limit })
  const points: { seconds: number; bytes: number; done: number }[] = []
  for (let done = 0; done < 1; await sleep(POLL_MS)) {
    const report = (await api.jobs()).find((each) => each.job === job)!
    // Until the source was looked at, it has no size.
    done = report.state === 'complete' ? 1 : report.doneBytes / Math.max(report.logicalBytes, 1)
    points.push({ seconds: performance.now() / 1000, bytes: await line.carriedBytes(), done })
  }
  const from = points.find(({ done }) => done > 0.2) ?? points[0]
  const to = points.findLast(({ done }) => done < 0.8) ?? points.at(-1)!
  return (to.bytes - from.bytes) / (to.seconds - from.seconds)
}
