/**
 * What a snapshot of a machine costs: the guest of the lab in plain QEMU, writing 2 MiB/s, is snapshotted again and again, as
 * a relocation does it, and paused for the last. Usage: node test/bench/clouds.bench.ts [snapshots, default 10]
 */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { openQemuCloud } from '../../agent/clouds/qemu.ts'
import { buildGuest, guestMachine } from '../lab/guest.ts'
import { createReport, medians } from './report.ts'

const LOAD_KIB_PER_SECOND = 2048
const BETWEEN_MS = 500

const count = Number(process.argv[2] ?? 10)
const base = await mkdtemp(join(tmpdir(), 'fcb-'))
const cloud = await openQemuCloud({ machines: join(base, 'm'), accel: 'tcg', bridges: [] })
try {
  await main()
} finally {
  await cloud.stop('shop', { graceMs: 0 }).catch(() => {})
  await rm(base, { recursive: true, force: true })
}

async function main(): Promise<void> {
  const port = await freePort()
  await mkdir(join(base, 'disks'))
  await cloud.define(guestMachine('shop', await buildGuest(join(base, 'disks')), { httpPort: port }))
  const started = performance.now()
  await cloud.start('shop')
  while (!(await answers(port, 'ready'))) await delay(20)
  const readyMs = performance.now() - started
  await answers(port, `load?kib=${LOAD_KIB_PER_SECOND}`)

  const owner = randomBytes(16).toString('hex')
  const rounds: { snapshotMs: number; endMs: number; dirtyKiB: number }[] = []
  let pauseMs = 0
  for (let round = 0; round < count; round++) {
    await delay(BETWEEN_MS)
    if (round === count - 1) pauseMs = await timed(async () => cloud.pause('shop'))
    const from = performance.now()
    const snapshot = await cloud.snapshot('shop', owner)
    const snapshotMs = performance.now() - from
    const ranges = snapshot.disks.flatMap((disk) => disk.dirty ?? [])
    const dirtyKiB = ranges.reduce((sum, { start, end }) => sum + end - start, 0) / 1024
    rounds.push({ snapshotMs, endMs: await timed(async () => snapshot[Symbol.asyncDispose]()), dirtyKiB })
  }
  const middle = medians(rounds)
  const report = createReport()
  report.table(
    'Snapshots of a guest that writes 2 MiB/s, milliseconds',
    ['', 'ready after start', 'pause', 'snapshot', 'its end', 'dirty KiB'],
    [
      [
        'qemu',
        ...[readyMs, pauseMs, middle.snapshotMs, middle.endMs, middle.dirtyKiB].map((value) =>
          value.toFixed(0),
        ),
      ],
    ],
  )
  report.json({ bench: 'clouds', readyMs, pauseMs, ...middle, count })
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now()
  await work()
  return performance.now() - from
}

async function answers(port: number, what: string): Promise<boolean> {
  const signal = AbortSignal.timeout(1_000)
  const answer = await fetch(`http://127.0.0.1:${port}/cgi-bin/${what}`, { signal }).catch(() => undefined)
  return answer?.ok === true
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
