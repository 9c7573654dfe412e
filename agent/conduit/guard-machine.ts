/**
 * Watching over one machine: while no lease lets it run it does not, whatever started it and however often. Each step that
 * fails gives way to a harder one in time: pause, power off, kill. Spec: relocation.md, Fencing.
 */
import { setTimeout as delay } from 'node:timers/promises'
import {
  LEASE_KILL_BEFORE_MS,
  LEASE_PAUSE_BEFORE_MS,
  LEASE_POWER_OFF_BEFORE_MS,
} from '../../protocol/limits.ts'
import type { Cloud } from '../clouds/cloud.ts'
import type { GuardWord } from './guard-files.ts'
import { dueOf } from './lease.ts'

export interface MachineGuard {
  readonly cloud: Cloud
  readonly name: string
  /** What holds now; asked before each step. */
  word(): Promise<GuardWord>
  now(): number
  /** True when nobody is left who could let the machine run again: the agent's home is gone. */
  abandoned(): Promise<boolean>
  /** Ends every process that writes to the machine's disks. */
  kill(): Promise<void>
  log(what: string): void
  /** Aborted: hold the machine at once, then end. */
  readonly signal: AbortSignal
}

/** Between two looks while a lease runs, and at a machine that may not run. */
const WATCH_MS = 100
const HOLD_MS = 250
/** A cloud that answers no slower is asked; else its word is not waited for. */
const STATE_TIMEOUT_MS = 300
const RETRY_MS = 10

/** Resolves when the guard is lifted, or was abandoned or its signal aborted and the machine does not run. */
export async function guardMachine(guard: MachineGuard): Promise<void> {
  const { name, signal } = guard
  /** Since when it was seen to run without a lease, and what was tried since. */
  let caught: { readonly at: number; tries: number } | undefined
  for (;;) {
    const word = await guard.word().catch(() => ({ until: Number.NEGATIVE_INFINITY }))
    if ('lifted' in word) return
    const due = signal.aborted ? 'pause' : dueOf(word.until, guard.now())
    if (due === 'nothing') {
      caught = undefined
      await pauseFor(WATCH_MS, signal)
    } else if (await isStill(guard)) {
      if (signal.aborted || (await guard.abandoned())) return
      caught = undefined
      await pauseFor(HOLD_MS, signal)
    } else if (await isLetRun(guard)) {
      // It runs by a lease that was given after the word was read.
      caught = undefined
    } else {
      if (!caught) guard.log(`${name}: no lease lets it run`)
      caught ??= { at: guard.now(), tries: 0 }
      await hold(guard, stepOf(due, guard.now() - caught.at, caught.tries++))
    }
  }
}

/** Whoever lets a machine run has a lease before, so one that was seen to run is judged by a word that was read later. */
async function isLetRun({ word, now, signal }: MachineGuard): Promise<boolean> {
  if (signal.aborted) return false
  const latest = await word().catch(() => ({ until: Number.NEGATIVE_INFINITY }))
  return 'lifted' in latest || dueOf(latest.until, now()) === 'nothing'
}

type Step = Exclude<ReturnType<typeof dueOf>, 'nothing'>

const STEPS: readonly Step[] = ['pause', 'power-off', 'kill']

/**
 * One step after the other, each at least once before a harder one and not before it is due: by the lease's end, or by how
 * long the machine has been running without one. At the end power and processes are taken in turns.
 */
function stepOf(due: Step, waitedMs: number, tries: number): Step {
  const waited = dueOf(LEASE_PAUSE_BEFORE_MS, waitedMs)
  const hardest = Math.max(STEPS.indexOf(due), waited === 'nothing' ? 0 : STEPS.indexOf(waited))
  return STEPS[Math.min(hardest, tries <= 2 ? tries : 1 + (tries % 2))]
}

async function hold({ cloud, name, kill, log }: MachineGuard, step: Step): Promise<void> {
  try {
    if (step === 'kill') {
      await kill()
    } else if (step === 'pause' && cloud.supports.pause) {
      await within(LEASE_PAUSE_BEFORE_MS - LEASE_POWER_OFF_BEFORE_MS, cloud.pause(name))
      log(`${name} is paused`)
    } else {
      await within(LEASE_POWER_OFF_BEFORE_MS - LEASE_KILL_BEFORE_MS, cloud.stop(name, { graceMs: 0 }))
      log(`${name} has no power`)
    }
  } catch (error) {
    log(`${name}: ${step} failed: ${(error as Error).message}`)
    await delay(RETRY_MS)
  }
}

/** Paused, stopped, or gone. */
async function isStill({ cloud, name }: MachineGuard): Promise<boolean> {
  try {
    return (await within(STATE_TIMEOUT_MS, cloud.state(name))) !== 'running'
  } catch (error) {
    return (error as { code?: string }).code === 'MACHINE_UNKNOWN'
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`No answer within ${ms} ms`)), ms)
  work.catch(() => {})
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

async function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {})
  // An aborted signal leaves no wait at all; what is held is looked at in turns all the same.
  if (signal.aborted) await delay(10)
}
