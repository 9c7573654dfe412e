/** Back to how it was, from any state: the machines run here as soon as they surely do not run there, and nothing is left. */
import { setTimeout as delay } from 'node:timers/promises'
import { asFluidError } from '../../protocol/errors.ts'
import { cancelDiskJobs } from './carry.ts'
import { crashPoint } from './crash-point.ts'
import { isPassing, withClouds, type RelocationParts } from './relocation-parts.ts'
import type { Relocation } from './relocation.ts'
import { unlessAborted } from './unless-aborted.ts'

const RETRY_MS = 250

/** Every part can be done again; what fails is tried anew by who runs this. */
export async function rollBack(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  const { record } = relocation
  if (!record.restored) {
    await surelyNotThere(parts, relocation, signal)
    crashPoint('before-restore')
    await restore(parts, relocation, signal)
    crashPoint('restored')
  }
  for (const { cloud } of await withClouds(parts, record.machines))
    await cloud.release(relocation.id, { signal })
  await cancelDiskJobs(parts, relocation)
  if (!record.released) {
    await relocation.update({ detail: 'waiting for the target to clean up' })
    await abortThere(parts, relocation, signal).catch((error: unknown) => {
      signal.throwIfAborted()
      // No peer any more: what it granted is gone, and with it whatever had begun there.
      if (asFluidError(error).code !== 'NOT_PAIRED') throw error
      parts.log.warn({ relocation: relocation.id }, 'The target is not paired any more, and was not told')
    })
  }
  await relocation.become('restored', { detail: undefined })
}

/** Resolves when the target cannot run the machines: never could, says so, holds no lease any more, or is gone for good. */
async function surelyNotThere(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  const { record } = relocation
  if (record.givenAway === 'no' || record.released) return
  await relocation.update({ detail: 'waiting until nothing runs at the target' })
  if (record.givenAway === 'for-good')
    return await abortThere(parts, relocation, signal).catch((error: unknown) => {
      signal.throwIfAborted()
      // One that answers is not gone, whatever its owner believes.
      if (!record.targetGone || !isUnheard(error)) throw error
    })
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  try {
    await Promise.race([
      leaseEnded(relocation, either),
      // Sooner, when it answers.
      untilReached(() => abortThere(parts, relocation, either), either),
    ])
  } finally {
    over.abort(new Error('Settled'))
  }
}

function isUnheard(error: unknown): boolean {
  return isPassing(error) || asFluidError(error).code === 'NOT_PAIRED'
}

async function leaseEnded(relocation: Relocation, signal: AbortSignal): Promise<void> {
  for (;;) {
    const leftMs = relocation.leaseEndsAt - performance.now()
    if (leftMs < 0) return
    await delay(leftMs + 1, undefined, { signal })
  }
}

/** Never rejects, but when aborted: what is no passing failure is waited out as well. */
async function untilReached(attempt: () => Promise<void>, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      signal.throwIfAborted()
      await delay(isPassing(error) ? RETRY_MS : RETRY_MS * 4, undefined, { signal })
    }
  }
}

async function abortThere(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  const { record } = relocation
  await using target = await parts.openTarget(record, signal)
  await unlessAborted(target.abort(record.error?.message ?? 'The owner went back'), signal)
  await relocation.update({ released: true })
}

async function restore(parts: RelocationParts, relocation: Relocation, signal: AbortSignal): Promise<void> {
  // What was never halted is as its owner has it.
  const { pausedAt, givenAway } = relocation.record
  if (pausedAt !== undefined || givenAway !== 'no') {
    await relocation.update({ detail: 'starting the machines here' })
    await runHere(parts, relocation, signal)
  }
  await relocation.update({ restored: true, restoredAt: Date.now() })
}

/**
 * Every machine as it was before, in the order in which they start. Undone work is none: disks here were only read. The
 * right to run them has to be this side's.
 */
export async function runHere(
  parts: RelocationParts,
  { record }: Relocation,
  signal: AbortSignal,
): Promise<void> {
  for (const { machine, cloud } of await withClouds(parts, record.machines)) {
    if (machine.stateBefore !== 'running') continue
    const state = await cloud.state(machine.name, { signal })
    if (state === 'paused') await cloud.resume(machine.name, { signal })
    else if (state === 'stopped') await cloud.start(machine.name, { signal })
  }
}
