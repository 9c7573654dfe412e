/** Whether what is handed over is what moves have put here: roots are compared with this side's own records of them. */
import { FluidError } from '../../protocol/errors.ts'
import type { Final } from '../../protocol/relocation-message.ts'
import { isPlaced } from '../../transfer/file-placement.ts'
import type { JobRecord } from '../jobs/job-record.ts'
import type { ArrivalRecord } from './target-record.ts'

/** Throws VERIFY_MISMATCH unless every disk was put in its place, whole, by this peer, with this root, and lies there. */
export async function requireRoots(
  { peer, places }: Pick<ArrivalRecord, 'peer' | 'places'>,
  disks: Final['disks'],
  jobs: Iterable<JobRecord>,
): Promise<void> {
  const records = [...jobs]
  if (disks.length !== places.length)
    throw mismatch(`${disks.length} disks are handed over, and ${places.length} were planned`)
  for (const { machine, disk, destination } of places) {
    const handed = disks.find((one) => one.machine === machine && one.disk === disk)
    if (!handed) throw mismatch(`Disk ${disk} of ${machine} is not handed over`)
    const moves = records.filter(
      (job) => job.direction === 'in' && job.peer === peer && job.destination === destination,
    )
    const last = moves.toSorted((a, b) => b.createdAt - a.createdAt)[0]
    if (!last) throw mismatch(`No move has put disk ${disk} of ${machine} here`)
    if (moves.some(({ state }) => state !== 'complete' && state !== 'failed' && state !== 'cancelled'))
      throw mismatch(`A move still writes disk ${disk} of ${machine}`)
    if (last.state !== 'complete' || last.root !== handed.root)
      throw mismatch(`Disk ${disk} of ${machine} does not have the root that is handed over`)
    const { target, placed: identity, sizeBytes } = last
    const isThere =
      target?.kind === 'file' &&
      identity !== undefined &&
      (await isPlaced(target, last.job, { identity, sizeBytes }))
    if (!isThere) throw mismatch(`Disk ${disk} of ${machine} is not what its move has put here`)
  }
}

function mismatch(message: string): FluidError {
  return new FluidError('VERIFY_MISMATCH', message, { refused: true })
}
