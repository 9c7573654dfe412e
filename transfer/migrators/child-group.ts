/**
 * A program of somebody else as a child of ours: its own process group, an empty folder to work in, an environment of PATH
 * and LANG alone, limits on CPU and files, and killed with all it started when its owner lets go. It contains what is
 * faulty. It is no sandbox: who may run here was decided by the operator.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface ChildLimits {
  /** Seconds of CPU, after which the kernel ends it. */
  readonly cpuSeconds: number
  /** Address space; not for programs that reserve far more than they use, as Node does. */
  readonly memoryMiB?: number
}

/** For what it said last, once it has ended. */
const LAST_WORDS_MS = 1_000
/** Any file it writes. */
const MAX_FILE_MIB = 64

export interface ChildGroup extends AsyncDisposable {
  readonly child: ChildProcessWithoutNullStreams
  /** How it ended, in words; never rejects. */
  readonly ended: Promise<string>
  /** True once it ended by itself with status 0. */
  succeeded(): boolean
  /** SIGKILL to the whole group, at once. */
  kill(): void
  /** Once it has ended: all that it said on standard error has arrived, unless something else holds it open. */
  allSaid(): Promise<void>
}

/** Starts `command` with arguments that no shell reads. It may fail at once: see `ended`. */
export async function startChildGroup(command: readonly string[], limits: ChildLimits): Promise<ChildGroup> {
  const cwd = await mkdtemp(join(tmpdir(), 'fluidcloud-'))
  const script = [
    `ulimit -c 0`,
    `ulimit -t ${limits.cpuSeconds}`,
    `ulimit -f ${MAX_FILE_MIB * 2048}`,
    ...(limits.memoryMiB === undefined ? [] : [`ulimit -v ${limits.memoryMiB * 1024}`]),
    'exec "$@"',
  ].join(' && ')
  const child = spawn('/bin/sh', ['-c', script, 'sh', ...command], {
    cwd,
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  // What it does not read is no error of ours.
  child.stdin.on('error', () => {})
  const { promise: ended, resolve: end } = Promise.withResolvers<string>()
  // Not 'close': what it started may hold its pipes.
  child.once('exit', (status, killedBy) =>
    end(killedBy ? `was ended by ${killedBy}` : `ended with status ${status}`),
  )
  child.once('error', (error) => end(`could not be started: ${error.message}`))
  const said = once(child.stderr, 'close')
  const kill = () => {
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch {
      // The group has ended.
    }
  }
  return {
    child,
    ended,
    succeeded: () => child.exitCode === 0,
    kill,
    async allSaid() {
      await Promise.race([said, sleep(LAST_WORDS_MS, undefined, { ref: false })])
    },
    async [Symbol.asyncDispose]() {
      kill()
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy()
      await ended
      await rm(cwd, { recursive: true, force: true })
    },
  }
}
