/** The end of a relocation that went well: the machines here go, and the target forgets where they came from. */
import { crashPoint } from './crash-point.ts'
import { withClouds, type RelocationParts } from './relocation-parts.ts'
import type { Relocation } from './relocation.ts'

/** Every part can be done again. */
export async function finalize(
  parts: RelocationParts,
  relocation: Relocation,
  signal: AbortSignal,
): Promise<void> {
  const { record } = relocation
  for (const { machine, cloud } of (await withClouds(parts, record.machines)).toReversed()) {
    await cloud.release(relocation.id, { signal })
    await stopIfKnown(cloud.stop(machine.name, { graceMs: 0, signal }))
    await cloud.undefine(machine.name, { disks: !record.keepDisks, signal })
    crashPoint('undefined')
  }
  await using target = await parts.openTarget(record, signal)
  await target.finalize()
  await relocation.become('removed', { error: undefined, detail: undefined })
}

/** A crash may have come after the machine was removed. */
async function stopIfKnown(stopping: Promise<void>): Promise<void> {
  await stopping.catch((error: { code?: string }) => {
    if (error.code !== 'MACHINE_UNKNOWN') throw error
  })
}
