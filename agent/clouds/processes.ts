/**
 * Processes of this host as /proc tells of them. A process is known again by its id together with when it started and in
 * which boot of the host: ids alone are used anew.
 */
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'

/** One process, for as long as it lives and no longer. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks from the host's start to its own. */
  readonly started: number
  readonly boot: string
}

export interface ProcessFacts extends ProcessIdentity {
  readonly group: number
  readonly session: number
  /** As in /proc/PID/stat: R, S, D, T... A zombie counts as gone and is not listed. */
  readonly state: string
}

const POLL_MS = 10

/** Undefined when there is no such process now. */
export async function processFacts(pid: number): Promise<ProcessFacts | undefined> {
  const [stat, boot] = await Promise.all([
    readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined),
    bootId(),
  ])
  // The name, in parentheses, may hold anything.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (!fields || fields[0] === 'Z' || fields[0] === 'X') return undefined
  const [state, , group, session] = fields
  return { pid, started: Number(fields[19]), boot, group: Number(group), session: Number(session), state }
}

/** True while exactly this process lives. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const now = await processFacts(identity.pid)
  return now !== undefined && now.started === identity.started && now.boot === identity.boot
}

/** Sends a signal to exactly this process; false when it is gone. */
export async function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): Promise<boolean> {
  if (!(await isAlive(identity))) return false
  try {
    return process.kill(identity.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

/** Waits until it is gone; false when `deadline` (performance.now() clock) came first. */
export async function hasEnded(
  identity: ProcessIdentity,
  deadline: number,
  signal?: AbortSignal,
): Promise<boolean> {
  while (await isAlive(identity)) {
    if (performance.now() >= deadline) return false
    await delay(POLL_MS, undefined, { signal })
  }
  return true
}

/** All processes, in no order. */
export async function allProcesses(): Promise<ProcessFacts[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const facts = await Promise.all(pids.map(processFacts))
  return facts.filter((found) => found !== undefined)
}

/** True when it was started, by whomever, with this entry in its environment; false when that cannot be read. */
export async function hasEnvironment(pid: number, entry: string): Promise<boolean> {
  const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')
  return environment.split('\0').includes(entry)
}

let boot: Promise<string> | undefined

/** Another one after each start of the host. */
export function bootId(): Promise<string> {
  boot ??= readFile('/proc/sys/kernel/random/boot_id', 'latin1').then(
    (text) => text.trim(),
    () => 'unknown',
  )
  return boot
}
