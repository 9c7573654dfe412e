/** The end of a relocation that went well: the machines here go, and the target forgets where they came from. */
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import type { Cloud } from '../clouds/cloud.ts'
import { crashPoint } from './crash-point.ts'
import type { SourceMachine } from './relocation-record.ts'
import { isPassing, withClouds, type RelocationParts } from './relocation-parts.ts'
import type { Relocation } from './relocation.ts'
import { unlessAborted } from './unless-aborted.ts'

/** Every part can be done again; what was removed is not removed again: its name may be another machine's by then. */
export async function finalize(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  const { record } = relocation
  for (const { machine, cloud } of (await withClouds(parts, record.machines)).toReversed()) {
    if (record.removed?.includes(machine.name)) continue
    await requireMoved(cloud, machine, signal)
    await cloud.release(relocation.id, { signal })
    await cloud.stop(machine.name, { graceMs: 0, signal }).catch(unknownIsFine)
    await cloud.undefine(machine.name, { disks: !record.keepDisks, signal })
    crashPoint('undefined')
    await relocation.update({ removed: [...(record.removed ?? []), machine.name] })
  }
  await tellTarget(parts, relocation, signal)
  await relocation.become('removed', { error: undefined, detail: undefined })
}

/** What moved away stands still here: what runs under its name was started since, or is another. Throws CLOUD_FAILED. */
async function requireMoved(
  cloud: Cloud,
  { name, identity }: SourceMachine,
  signal: AbortSignal,
): Promise<void> {
  const state = await cloud.state(name, { signal }).catch(unknownIsFine)
  if (state === 'running')
    throw new FluidError('CLOUD_FAILED', `${name} runs here, and is not removed`, {
      hint: `It was started since it moved. Look what it is; stopped (fluidcloud machines stop ${name}), it is removed with its disks`,
    })
  if (state === undefined || identity === undefined) return
  // What a crash has removed already has no mark any more.
  const marks = (await cloud.identity(name, { signal }).catch(unknownIsFine)) ?? []
  if (!marks.every((mark) => identity.includes(mark)))
    throw new FluidError('CLOUD_FAILED', `${name} here is not the machine that moved, and is not removed`, {
      hint: 'It was made under this name since, or has other disks. Give it another name, or remove it by hand: then this goes on by itself',
    })
}

/** Nothing here depends on it any more: one that refuses, or is no peer any more, is left alone. */
async function tellTarget(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  try {
    await using target = await parts.openTarget(relocation.record, signal)
    await unlessAborted(target.finalize(), signal)
  } catch (error) {
    signal.throwIfAborted()
    const { code, message } = asFluidError(error)
    if (isPassing(error) || code === 'LIMIT_EXCEEDED') throw error
    parts.log.warn({ relocation: relocation.id, code }, `The target was not told of the end: ${message}`)
  }
}

/** A crash may have come after the machine was removed. */
function unknownIsFine(error: unknown): undefined {
  if ((error as FluidError).code !== 'MACHINE_UNKNOWN') throw error
}
