/** Case 10: a receiver that knows 16 million chunks: what its index takes, how it starts, what the next move costs. */
import { randomFillSync } from 'node:crypto'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { formatBytes } from '../../../agent/units.ts'
import { homeAt } from '../../../agent/home.ts'
import type { Grant } from '../../../agent/pairing/policy.ts'
import { openStateStore } from '../../../agent/state-store.ts'
import { CHUNK_AVG_BYTES, DIGEST_BYTES } from '../../../protocol/limits.ts'
import { ENTRY_BYTES, writeEntry } from '../../../protocol/manifest.ts'
import { openChunkIndex, type StateLevel } from '../../../transfer/chunk-index.ts'
import { run } from '../../helpers/programs.ts'
import { runMove, startAgent, startAgents, PEER } from '../contenders/agents.ts'
import type { Figures } from '../contender.ts'
import { freePort } from '../../helpers/free-port.ts'
import { residentBytes } from '../cpu.ts'
import { openLoopback } from '../line.ts'
import { measure } from '../meter.ts'
import { medians, type Report } from '../report.ts'
import { inTaskFolder, taskFolder } from '../task-folder.ts'
import { warm } from '../holes.ts'
import { incompressibleFile } from '../workloads.ts'
import type { Bench, Case } from './case.ts'

const CHUNKS = 16_000_000
const BATCH = 4_096
const SIZE_BYTES = 2 ** 30
const STEPS_TOLD = 8

interface Start {
  readonly startSeconds: number
  readonly residentBytes: number
}

export const largeIndex: Case = {
  id: '10',
  title: 'the next move to a receiver that knows many chunks',
  async run(bench) {
    const { options, report } = bench
    const counts = [0, options.chunks ?? CHUNKS]
    const sizeBytes = options.sizeBytes ?? SIZE_BYTES
    // Another for each run: what was moved once is known.
    const sources = await Promise.all(
      Array.from({ length: options.runs }, (_, run) => incompressibleFile(options.work, sizeBytes, run)),
    )
    for (const source of sources) await warm(source)
    const rows: string[][] = []
    for (const chunks of counts) {
      const { stateBytes, fillSeconds, runs } = await inTaskFolder(bench, (target) =>
        movesKnowing(chunks, sources, target, bench),
      )
      const median = medians(runs)
      rows.push([
        `${chunks / 1e6} million`,
        formatBytes(stateBytes),
        median.startSeconds.toFixed(2),
        formatBytes(median.residentBytes),
        median.seconds.toFixed(2),
        median.cpuSeconds.toFixed(2),
        formatBytes(median.peakRssBytes),
      ])
      report.json({ bench: 'index', case: '10', chunks, sizeBytes, stateBytes, fillSeconds, ...median, runs })
    }
    const head = ['chunks known', 'state on disk', 'start s', 'RSS at rest', 'move s', 'CPU s', 'peak RSS']
    report.table(`Case 10: ${this.title}, medians of ${options.runs}`, head, rows)
  },
}

/** Homes are on the disk of the work folder: an index of this size is nothing for memory. */
async function movesKnowing(
  chunks: number,
  sources: readonly string[],
  target: string,
  { options, report }: Bench,
): Promise<{ stateBytes: number; fillSeconds: number; runs: readonly (Figures & Start)[] }> {
  await using folder = await taskFolder(options.work)
  await using line = await openLoopback()
  const [senderHome, receiverHome] = ['sender', PEER].map((name) => join(folder.path, name))
  const ports = {
    sender: { mesh: await freePort(), data: await freePort() },
    receiver: { mesh: await freePort(), data: await freePort() },
  }
  {
    // Pairs them; both are started again on what they know then.
    await using _agents = await startAgents(line, folder.path, { ports, target })
  }
  const begun = performance.now()
  await fill(homeAt(receiverHome).state, chunks, target, report)
  const fillSeconds = (performance.now() - begun) / 1000
  const stateBytes = await sizeOf(homeAt(receiverHome).state)
  const runs: (Figures & Start)[] = []
  for (const [run, source] of sources.entries()) {
    const started = performance.now()
    await using receiver = await startAgent(line.receiver, receiverHome, ports.receiver)
    const startSeconds = (performance.now() - started) / 1000
    const atRest = residentBytes(receiver.pid)
    await using sender = await startAgent(line.sender, senderHome, ports.sender)
    const { figures } = await measure(line, () => runMove(line.sender, sender, source, `disk-${run}.raw`))
    runs.push({ ...figures, startSeconds, residentBytes: atRest })
    report.progress(
      `case 10, run ${run + 1} of ${sources.length}: ${chunks} chunks known: ${figures.seconds.toFixed(2)} s, ${figures.cpuSeconds.toFixed(2)} CPU s`,
    )
  }
  return { stateBytes, fillSeconds, runs }
}

/** Has the index of the one grant know this many chunks that nobody will ask for, by the index's own code. */
async function fill(state: string, chunks: number, folder: string, report: Report): Promise<void> {
  if (chunks === 0) return
  const scope = await scopeOfGrant(state)
  const level: StateLevel = new ClassicLevel(state, { keyEncoding: 'view', valueEncoding: 'view' })
  await level.open()
  try {
    const index = openChunkIndex(level)
    const file = await index.numberOf(join(folder, 'known.raw'))
    const digest = Buffer.alloc(DIGEST_BYTES)
    for (let at = 0, told = 1; at < chunks; at += BATCH) {
      const count = Math.min(BATCH, chunks - at)
      const entries = new Uint8Array(count * ENTRY_BYTES)
      for (let i = 0; i < count; i++) {
        const offset = (at + i) * CHUNK_AVG_BYTES
        writeEntry(entries, i, offset, CHUNK_AVG_BYTES, randomFillSync(digest))
      }
      await index.add(scope, file, entries)
      if (at + count < (told * chunks) / STEPS_TOLD) continue
      report.progress(`case 10: ${at + count} chunks are known`)
      told++
    }
    await index.settle()
  } finally {
    await level.close()
  }
}

async function scopeOfGrant(state: string): Promise<string> {
  await using store = await openStateStore(state)
  const [grant] = await store.table<Grant>('grants').all()
  return grant.id
}

async function sizeOf(folder: string): Promise<number> {
  const { stdout } = await run('du', ['--summarize', '--block-size=1', folder])
  return Number(stdout.split('\t')[0])
}
