/** Processor time and peak memory of processes, as the kernel counts them in /proc: proc(5). */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** USER_HZ: what /proc counts in, on every architecture Node runs on. */
const TICKS_PER_SECOND = 100
const QUIET_MS = 250
const QUIET_TICKS = 1
const QUIET_WAIT_MS = 10_000

interface Ticks {
  readonly own: number
  /** Of children that ended and were waited for, and of theirs. */
  readonly reaped: number
}

async function ticksOf(pid: number | 'self'): Promise<Ticks> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The name before it may hold blanks and brackets.
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  const [utime, stime, cutime, cstime] = fields.slice(11, 15)
  return { own: utime + stime, reaped: cutime + cstime }
}

/** Seconds of processor time the processes have taken, all threads, without children. */
export async function cpuSeconds(pids: readonly number[]): Promise<number> {
  const all = await Promise.all(pids.map(ticksOf))
  return all.reduce((sum, { own }) => sum + own, 0) / TICKS_PER_SECOND
}

/** Seconds taken by children of the process that have ended, with all that they waited for. */
export async function reapedCpuSeconds(pid: number | 'self'): Promise<number> {
  return (await ticksOf(pid)).reaped / TICKS_PER_SECOND
}

/** Waits until the processes take next to nothing: what they do after their answer belongs to its cost. */
export async function untilQuiet(pids: readonly number[]): Promise<void> {
  const deadline = performance.now() + QUIET_WAIT_MS
  for (let before = await cpuSeconds(pids); performance.now() < deadline;) {
    await sleep(QUIET_MS)
    const now = await cpuSeconds(pids)
    if ((now - before) * TICKS_PER_SECOND <= QUIET_TICKS * pids.length) return
    before = now
  }
}

/** Waits until the process has no child left. */
export async function untilChildless(pid: number): Promise<void> {
  for (;;) {
    const tasks = await readdir(`/proc/${pid}/task`)
    const children = await Promise.all(
      tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8')),
    )
    if (children.every((list) => list.trim() === '')) return
    await sleep(10)
  }
}

/** Peak resident memory of a process since it started, or since resetPeak(). Bytes. */
export async function peakRssBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
}

/** Forgets the peak so far, where the kernel allows it. */
export async function resetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5').catch(() => {})
}
