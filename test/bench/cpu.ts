/**
 * Processor time and memory of the processes this one has started, as the kernel counts them in /proc: proc(5).
 *
 * Read at once and not by promises: some of it is looked at while a contender runs, and a file of /proc takes 10 us so,
 * ten times less than over the thread pool.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
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

function ticksOf(pid: number | 'self'): Ticks {
  const stat = read(`/proc/${pid}/stat`)
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
export function treeCpuSeconds(except: readonly number[] = []): number {
  const [self, ...all] = (['self', ...descendants(except)] as const).map((pid) => ticksOf(pid))
  return all.reduce((sum, { own, reaped }) => sum + own + reaped, self.reaped) / TICKS_PER_SECOND
}

/** Processes that this one has started and theirs, but not `except` and what these started. */
export function descendants(except: readonly number[] = []): number[] {
  const found: number[] = []
  const visit = (pid: number): void => {
    for (const child of childrenOf(pid)) {
      if (except.includes(child)) continue
      found.push(child)
      visit(child)
    }
  }
  visit(process.pid)
  return found
}

/** Waits until all descendants together take next to nothing. */
export async function untilQuiet(except: readonly number[] = []): Promise<void> {
  const deadline = performance.now() + QUIET_WAIT_MS
  for (let before = treeCpuSeconds(except); performance.now() < deadline;) {
    await sleep(QUIET_MS)
    const [now, processes] = [treeCpuSeconds(except), descendants(except)]
    if ((now - before) * TICKS_PER_SECOND <= QUIET_TICKS * Math.max(1, processes.length)) return
    before = now
  }
}

/** Peak resident memory of a process since it started, or since resetPeak(); 0 when it has ended. Bytes. */
export function peakRssBytes(pid: number): number {
  return statusBytes(pid, /^VmHWM:\s+(\d+) kB/m)
}

/** Resident memory of a process now. Bytes. */
export function residentBytes(pid: number): number {
  return statusBytes(pid, /^VmRSS:\s+(\d+) kB/m)
}

/** Forgets the peak so far, where the kernel allows it. */
export function resetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5')
  } catch {
    // It ended, or belongs to somebody else.
  }
}

function statusBytes(pid: number, entry: RegExp): number {
  return Number(entry.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024
}

function childrenOf(pid: number): number[] {
  return tasksOf(pid).flatMap((task) =>
    read(`/proc/${pid}/task/${task}/children`)
      .split(' ')
      .flatMap((text) => (text === '' ? [] : [Number(text)])),
  )
}

function tasksOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/** A file of /proc; empty when the process has ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
