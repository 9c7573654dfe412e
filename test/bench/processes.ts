/** Programs at either end of a line. Whatever ends this process takes them along; only those are ever ended. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { End } from './line.ts'

const START_TIMEOUT_MS = 15_000
const STOP_TIMEOUT_MS = 5_000
const POLL_MS = 20
const KEPT_LOG_CHARS = 4_000
/** TCP_LISTEN of the kernel, as /proc/net/tcp writes it. */
const LISTENING = '0A'

export interface Options {
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

/** A running server; dispose it to end it. */
export interface Server extends AsyncDisposable {
  readonly pid: number
}

/** Starts a program that listens on `port`, and waits until it does. */
export async function startServer(
  end: End,
  port: number,
  program: string,
  args: readonly string[],
  options: Options = {},
): Promise<Server> {
  const child = start(end, program, args, options)
  const log = keepEnd(child)
  child.stdout!.resume()
  const server = disposable(child)
  const deadline = performance.now() + START_TIMEOUT_MS
  while (!(await listens(child.pid!, port))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await server[Symbol.asyncDispose]()
      throw new Error(`${program} did not start: ${log()}`)
    }
    await sleep(POLL_MS)
  }
  return server
}

/** Runs a program to its end and returns what it wrote; throws with the end of it when it fails. */
export async function runToEnd(
  end: End,
  program: string,
  args: readonly string[],
  options: Options = {},
): Promise<{ stdout: string; stderr: string }> {
  const child = start(end, program, args, options)
  const written = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name]!.setEncoding('utf8').on('data', (text: string) => (written[name] += text))
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null]
  if (status !== 0) {
    const said = (written.stderr || written.stdout).slice(-KEPT_LOG_CHARS)
    throw new Error(`${program} ended with ${status ?? signal}: ${said}`)
  }
  return written
}

/** Starts a program with pipes at its output; it is killed when this process ends. */
export function start(
  end: End,
  program: string,
  args: readonly string[],
  options: Options = {},
): ChildProcess {
  const [command, commandArgs] = end.command(program, args)
  const child = spawn(command, commandArgs, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: options.env ? { ...process.env, ...options.env } : process.env,
    // A group of its own: Ctrl-C is for the benchmark, which then ends what it started.
    detached: true,
  })
  const takeAlong = (): void => killGroup(child)
  process.once('exit', takeAlong)
  child.once('exit', () => process.off('exit', takeAlong))
  return child
}

/** Ends a process in order: SIGTERM, and SIGKILL for one that does not listen. */
export function disposable(child: ChildProcess): Server {
  const ended = once(child, 'exit')
  ended.catch(() => {})
  return {
    pid: child.pid!,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
      child.kill('SIGTERM')
      await ended
      clearTimeout(late)
    },
  }
}

function killGroup({ pid }: ChildProcess): void {
  try {
    process.kill(-pid!, 'SIGKILL')
  } catch {
    // It ended meanwhile.
  }
}

/** Reads standard error; gives the last of it. */
export function keepEnd(child: ChildProcess): () => string {
  let log = ''
  child.stderr!.on('data', (text: Buffer) => (log = (log + text.toString()).slice(-KEPT_LOG_CHARS)))
  return () => log
}

/** Asks the kernel, in the network namespace of the process: a connection would be one too many for some servers. */
async function listens(pid: number, port: number): Promise<boolean> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/${pid}/net/${name}`, 'utf8').catch(() => '')),
  )
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  return tables.some((table) =>
    table.split('\n').some((entry) => {
      const [, local, , state] = entry.trim().split(/\s+/)
      return state === LISTENING && local.endsWith(`:${wanted}`)
    }),
  )
}
