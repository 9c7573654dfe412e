/** Processor time and memory of the processes this one has started, as the kernel counts them in /proc: proc(5). */
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
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(gone)
  // The name before it may hold blanks and brackets.
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15)
  return { own: utime + stime, reaped: cutime + cstime }
}

/**
 * Seconds that everything started by this process has taken, whether it runs or has ended, without this process itself
 * and without `except`. Exact once nothing of it ends any more: see untilQuiet().
 */
export async function treeCpuSeconds(except: readonly number[] = []): Promise<number> {
  const [self, ...all] = await Promise.all(
    (['self', ...(await descendants(except))] as const).map((pid) => ticksOf(pid)),
  )
  return all.reduce((sum, { own, reaped }) => sum + own + reaped, self.reaped) / TICKS_PER_SECOND
}

/** Processes that this one has started and theirs, but not `except` and what these started. */
export async function descendants(except: readonly number[] = []): Promise<number[]> {
  const found: number[] = []
  const visit = async (pid: number): Promise<void> => {
    for (const child of await childrenOf(pid)) {
      if (except.includes(child)) continue
      found.push(child)
      await visit(child)
    }
  }
  await visit(process.pid)
  return found
}

/** Waits until all descendants together take next to nothing. */
export async function untilQuiet(except: readonly number[] = []): Promise<void> {
  const deadline = performance.now() + QUIET_WAIT_MS
  for (let before = await treeCpuSeconds(except); performance.now() < deadline;) {
    await sleep(QUIET_MS)
    const [now, processes] = [await treeCpuSeconds(except), await descendants(except)]
    if ((now - before) * TICKS_PER_SECOND <= QUIET_TICKS * Math.max(1, processes.length)) return
    before = now
  }
}

/** Peak resident memory of a process since it started, or since resetPeak(); 0 when it has ended. Bytes. */
export async function peakRssBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(gone)
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
}

/** Resident memory of a process now. Bytes. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(gone)
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
}

/** Forgets the peak so far, where the kernel allows it. */
export async function resetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5').catch(() => {})
}

async function childrenOf(pid: number): Promise<number[]> {
  const tasks = await readdir(`/proc/${pid}/task`).catch(() => [])
  const lists = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(gone)),
  )
  return lists
    .flatMap((list) => list.trim().split(' '))
    .flatMap((text) => (text === '' ? [] : [Number(text)]))
}

/** What can be read of a process that has ended. */
function gone(): string {
  return ''
}
