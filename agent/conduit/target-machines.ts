/** The machines of one arrival in the target's cloud: made on the disks that were moved here, and removed without a trace. */
import { rm, rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { FluidError } from '../../protocol/errors.ts'
import { resolveDestinationName } from '../../transfer/destination-name.ts'
import { isPlaced } from '../../transfer/file-placement.ts'
import type { Cloud } from '../clouds/cloud.ts'
import type { JobRecord } from '../jobs/job-record.ts'
import type { Machine, MachineDisk } from '../../protocol/machine.ts'
import type { ArrivalRecord } from './target-record.ts'
import type { PlannedMachine } from '../../protocol/relocation-message.ts'

export type Placed = Pick<ArrivalRecord, 'peer' | 'folder' | 'places'>

/** Absolute paths of the disks of a machine, in the order of its places. Throws NAME_INVALID. */
export async function diskPaths({ folder, places }: Placed, machine: string) {
  const own = places.filter((place) => place.machine === machine)
  return Promise.all(
    own.map(async ({ disk, destination, format }) => ({
      id: disk,
      format,
      path: await resolveDestinationName(folder, destination),
    })),
  )
}

/** The machine as it is to be made here. */
export async function machineHere(record: Placed, { machine }: PlannedMachine): Promise<Machine> {
  const paths = await diskPaths(record, machine.name)
  const disks = machine.disks.map((disk): MachineDisk => {
    const { path, format } = paths.find(({ id }) => id === disk.id)!
    return { ...disk, path, format }
  })
  return { ...machine, disks }
}

/** Makes a machine, or finds it made already. Throws CLOUD_FAILED when the name is another's. */
export async function makeMachine(cloud: Cloud, machine: Machine, signal: AbortSignal): Promise<void> {
  if (await isOurs(cloud, machine)) return
  await cloud.define(machine, { signal })
}

/** Whether the cloud's machine of that name is this one: on these very disks. False when there is none. */
export async function isOurs(cloud: Cloud, { name, disks }: Machine): Promise<boolean> {
  const found = await cloud.machine(name).catch((error: unknown) => {
    if ((error as FluidError).code === 'MACHINE_UNKNOWN') return undefined
    throw error
  })
  if (!found) return false
  const paths = new Set(found.disks.map(({ path }) => path))
  return disks.length > 0 && disks.every(({ path }) => paths.has(path))
}

/** Stops and forgets a machine, and removes its disks; another of its name is left alone. */
export async function removeMachine(cloud: Cloud, machine: Machine): Promise<void> {
  if (!(await isOurs(cloud, machine))) return
  await cloud.stop(machine.name, { graceMs: 0 })
  await cloud.undefine(machine.name, { disks: true })
}

/** Removes what moves of this peer have put under the reserved names, and the folders made for it; what others put there stays. */
export async function removeDisks(record: Placed, jobs: Iterable<JobRecord>): Promise<void> {
  const moves = [...jobs].filter(({ direction, peer }) => direction === 'in' && peer === record.peer)
  for (const { destination } of record.places) {
    const path = await resolveDestinationName(record.folder, destination)
    if (await isMoved(record, destination, moves)) await rm(path, { force: true })
    // As far as nothing else is in them.
    await rmdir(dirname(path)).catch(() => {})
    await rmdir(dirname(dirname(path))).catch(() => {})
  }
}

/** Whether one of the moves has put there what lies there now; it may have ended since, or its agent have been killed. */
async function isMoved(
  { folder }: Placed,
  destination: string,
  moves: readonly JobRecord[],
): Promise<boolean> {
  for (const { job, target, placed: identity, sizeBytes } of moves) {
    if (target?.kind !== 'file' || target.folder !== folder || target.name !== destination) continue
    if (identity !== undefined && (await isPlaced(target, job, { identity, sizeBytes }))) return true
  }
  return false
}

/** A machine that may run does; one that was held goes on where it was, one without power starts anew. */
export async function letRun(cloud: Cloud, name: string): Promise<void> {
  const state = await cloud.state(name)
  if (state === 'paused') await cloud.resume(name)
  else if (state === 'stopped') await cloud.start(name)
}

/** Holds a machine as a guard does, and tells whether it is held. */
export async function holdMachine(cloud: Cloud, name: string): Promise<boolean> {
  const state = await cloud.state(name).catch(() => 'running' as const)
  if (state !== 'running') return true
  try {
    if (cloud.supports.pause) await cloud.pause(name)
    else await cloud.stop(name, { graceMs: 0 })
    return true
  } catch {
    return false
  }
}
