/**
 * The agent's end of a guard: starts it before a machine starts, tells it how long the machines may run, and lifts it when
 * they are the target's for good or gone. Everything is in one folder, so a restarted agent finds it again.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { FluidError } from '../../protocol/errors.ts'
import { isAlive, signalProcess } from '../clouds/processes.ts'
import { NEVER, readOrder, readWatching, writeOrder, writeWord, type GuardOrder } from './guard-files.ts'

export interface Fence {
  /** Starts a guard unless one watches; machines may start when it resolves. Throws CLOUD_FAILED. */
  raise(order: GuardOrder): Promise<void>
  /** True while a guard watches. */
  isRaised(): Promise<boolean>
  /** True from raise() until lift(), whether the guard lives or not. */
  exists(): Promise<boolean>
  /** Machines may run until then; see lease-clock.ts. In force when it resolves. */
  extend(until: number): Promise<void>
  /** No machine may run; the guard holds them. */
  close(): Promise<void>
  /** Machines may run for ever: ends the guard, which holds none of them any more. The fence exists still. Idempotent. */
  end(): Promise<void>
  /** Machines run for ever, or are gone: ends the guard and forgets it. Idempotent. */
  lift(): Promise<void>
}

const PROGRAM = fileURLToPath(new URL('guard.ts', import.meta.url))
/** A Node process that loads a driver starts within a second, on a machine that is very busy in ten. */
const START_TIMEOUT_MS = 30_000
/** A guard sees that it is lifted within 250 ms. */
const LIFT_TIMEOUT_MS = 5_000
const POLL_MS = 10

/** The fence in `folder`, which is made when it is raised. */
export function createFence(folder: string): Fence {
  let raising: Promise<void> | undefined

  async function isRaised(): Promise<boolean> {
    const guard = await readWatching(folder)
    return guard !== undefined && (await isAlive(guard))
  }

  async function start(order: GuardOrder): Promise<void> {
    if (await isRaised()) return
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // Without a word there is no lease; with one, it holds on.
    await writeOrder(folder, order)
    const output = await open(join(folder, 'guard.log'), 'a', 0o600)
    try {
      const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM, folder], {
        detached: true,
        cwd: '/',
        stdio: ['ignore', output.fd, output.fd],
      })
      await once(child, 'spawn')
      child.unref()
      const deadline = performance.now() + START_TIMEOUT_MS
      while (!(await isRaised())) {
        if (child.exitCode !== null || performance.now() > deadline) {
          child.kill('SIGKILL')
          throw new Error(child.exitCode === null ? 'it says nothing' : `it ended with ${child.exitCode}`)
        }
        await delay(POLL_MS)
      }
    } catch (cause) {
      throw new FluidError('CLOUD_FAILED', `Starting a guard failed: ${(cause as Error).message}`, {
        cause,
        hint: `See ${join(folder, 'guard.log')}`,
      })
    } finally {
      await output.close()
    }
  }

  async function end(): Promise<void> {
    const guard = await readWatching(folder)
    if (!guard || !(await isAlive(guard))) return
    await writeWord(folder, { lifted: true })
    const deadline = performance.now() + LIFT_TIMEOUT_MS
    while (await isAlive(guard)) {
      if (performance.now() > deadline) await signalProcess(guard, 'SIGKILL')
      await delay(POLL_MS)
    }
  }

  return {
    // Who asks while a guard starts waits for that one.
    raise: (order) => (raising ??= start(order).finally(() => (raising = undefined))),
    isRaised,
    exists: async () => (await readOrder(folder)) !== undefined,
    extend: (until) => writeWord(folder, { until }),
    close: () => writeWord(folder, NEVER),
    end,
    async lift() {
      await end()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
