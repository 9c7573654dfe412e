/**
 * The processes of one machine: one program and whatever it starts. They outlive the agent and are found again by a
 * mark in their environment, which children inherit, and by the group and session of the first of them while it lives.
 * A program that clears its environment and leaves its session gets away: such a one is no service for this cloud.
 */
import { execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { FluidError } from '../../protocol/errors.ts'
import {
  allProcesses,
  hasEnvironment,
  isAlive,
  type ProcessFacts,
  processFacts,
  type ProcessIdentity,
} from './processes.ts'

const run = promisify(execFile)

const MARK = 'FLUIDCLOUD_MARK'
const RECORD = 'service.json'
const LOG = 'log'
const POLL_MS = 10
/** Time for processes to vanish or halt after a signal that they cannot refuse. */
const SIGNAL_TIMEOUT_MS = 10_000
/** Time for a program to put itself into the background. */
const DAEMON_TIMEOUT_MS = 30_000

/** What is durable about a service that was started. */
interface ServiceRecord {
  readonly mark: string
  /** The first process; absent until it is known, or when the agent died just then. */
  readonly leader?: ProcessIdentity
}

export interface Command {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/** Starts the service of the machine whose run folder this is; it must not run. Throws CLOUD_FAILED. */
export async function startService(folder: string, { argv, env }: Command): Promise<void> {
  const mark = randomUUID()
  // Before the process is there: whatever happens next, it can be found.
  await writeRecord(folder, { mark })
  const log = await open(join(folder, LOG), 'w', 0o600)
  try {
    const child = spawn(argv[0], argv.slice(1), {
      cwd: '/',
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: { PATH: process.env.PATH, ...env, [MARK]: mark },
    })
    await once(child, 'spawn')
    child.unref()
    const leader = child.pid === undefined ? undefined : await processFacts(child.pid)
    if (leader) await writeRecord(folder, { mark, leader: identityOf(leader) })
  } catch (cause) {
    await killService(folder)
    await forgetService(folder)
    throw new FluidError('CLOUD_FAILED', `Starting ${argv[0]} failed: ${(cause as Error).message}`, { cause })
  } finally {
    await log.close()
  }
}

/**
 * Starts a program that puts itself into the background, waits until it has, and returns the process that stays. It must
 * not run. Throws CLOUD_FAILED with what it said.
 */
export async function startDaemon(folder: string, { argv, env }: Command): Promise<ProcessFacts> {
  const record = { mark: randomUUID() }
  await writeRecord(folder, record)
  const [program, ...rest] = argv
  try {
    const options = {
      cwd: '/',
      env: { PATH: process.env.PATH, ...env, [MARK]: record.mark },
      timeout: DAEMON_TIMEOUT_MS,
    }
    await run(program, rest, options)
    const [daemon] = await processesOf(record)
    if (!daemon) throw new Error('it ended at once')
    if ((await readRecord(folder))?.mark !== record.mark) throw new Error('it was stopped meanwhile')
    await writeRecord(folder, { ...record, leader: identityOf(daemon) })
    return daemon
  } catch (cause) {
    await signalUntil(
      async () => processesOf(record),
      'SIGKILL',
      () => false,
    )
    await forgetService(folder)
    const { stderr, signal, message } = cause as Error & { stderr?: string; signal?: string | null }
    const said = stderr?.trim() || (signal ? `it was ended by ${signal}` : message.slice(-1000))
    throw new FluidError(
      'CLOUD_FAILED',
      `Starting ${program} failed: ${said.replaceAll('\n', ' ').slice(0, 1000)}`,
      { cause },
    )
  }
}

/** The process that startDaemon() returned, or whoever has its mark; undefined: it is stopped. */
export async function daemonProcess(folder: string): Promise<ProcessIdentity | undefined> {
  const leader = (await readRecord(folder))?.leader
  if (leader && (await isAlive(leader))) return leader
  return (await serviceProcesses(folder))[0]
}

/** Forgets a service that has ended; what it wrote to its output stays until the next start. */
export async function forgetService(folder: string): Promise<void> {
  await rm(join(folder, RECORD), { force: true })
}

/** Every process of it that lives now; none: it is stopped. */
export async function serviceProcesses(folder: string): Promise<ProcessFacts[]> {
  const record = await readRecord(folder)
  return record ? processesOf(record) : []
}

async function processesOf({ mark, leader }: ServiceRecord): Promise<ProcessFacts[]> {
  // Group and session are those of the first process only while it lives: then their number cannot have been used anew.
  const lives = leader !== undefined && (await isAlive(leader))
  const found: ProcessFacts[] = []
  for (const facts of await allProcesses()) {
    const own = lives && (facts.group === leader.pid || facts.session === leader.pid)
    if (own || (await hasEnvironment(facts.pid, `${MARK}=${mark}`))) found.push(facts)
  }
  return found
}

/** Halts all of them, those too that are started meanwhile. Throws CLOUD_FAILED when one does not halt. */
export async function haltService(folder: string): Promise<void> {
  await signalUntil(
    async () => serviceProcesses(folder),
    'SIGSTOP',
    (facts) => facts.state === 'T',
  )
}

export async function continueService(folder: string): Promise<void> {
  await signalUntil(
    async () => serviceProcesses(folder),
    'SIGCONT',
    (facts) => facts.state !== 'T',
  )
}

/** Ends all of them at once. Throws CLOUD_FAILED when one cannot be ended. */
export async function killService(folder: string): Promise<void> {
  await signalUntil(
    async () => serviceProcesses(folder),
    'SIGKILL',
    () => false,
  )
}

export async function signalService(folder: string, signal: NodeJS.Signals): Promise<void> {
  for (const facts of await serviceProcesses(folder)) send(facts.pid, signal)
}

/** Waits until none is left; false when `ms` have passed first. */
export async function serviceEnded(folder: string, ms: number, signal?: AbortSignal): Promise<boolean> {
  const end = performance.now() + ms
  while ((await serviceProcesses(folder)).length > 0) {
    if (performance.now() >= end) return false
    await delay(POLL_MS, undefined, { signal })
  }
  return true
}

async function signalUntil(
  processes: () => Promise<ProcessFacts[]>,
  signal: NodeJS.Signals,
  isDone: (facts: ProcessFacts) => boolean,
): Promise<void> {
  const end = performance.now() + SIGNAL_TIMEOUT_MS
  while (true) {
    const left = (await processes()).filter((facts) => !isDone(facts))
    if (left.length === 0) return
    if (performance.now() >= end)
      throw new FluidError('CLOUD_FAILED', `Process ${left[0].pid} did not take ${signal}`)
    for (const facts of left) send(facts.pid, signal)
    await delay(1)
  }
}

function identityOf({ pid, started, boot }: ProcessIdentity): ProcessIdentity {
  return { pid, started, boot }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function writeRecord(folder: string, record: ServiceRecord): Promise<void> {
  const staged = join(folder, `${RECORD}.new`)
  await writeFile(staged, JSON.stringify(record), { mode: 0o600, flush: true })
  await rename(staged, join(folder, RECORD))
}

async function readRecord(folder: string): Promise<ServiceRecord | undefined> {
  const text = await readFile(join(folder, RECORD), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  const { mark, leader } = JSON.parse(text) as Partial<ServiceRecord>
  if (typeof mark !== 'string' || mark.length < 32)
    throw new FluidError('CLOUD_FAILED', `${join(folder, RECORD)} is damaged`)
  return { mark, leader }
}
