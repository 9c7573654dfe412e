/** Whether what is handed over is what moves have put here: roots are compared with this side's own records of them. */
import { FluidError } from '../../protocol/errors.ts'
import type { Final } from '../../protocol/relocation-message.ts'
import { isPlaced } from '../../transfer/file-placement.ts'
import type { JobRecord } from '../jobs/job-record.ts'
import type { ArrivalRecord } from './target-record.ts'

/**
 * Throws VERIFY_MISMATCH unless every disk was put in its place, whole, by this peer, in the format that was planned, with
 * this root, and lies there; and unless nobody writes there.
 */
export async function requireRoots(
  { peer, folder, places }: Pick<ArrivalRecord, 'peer' | 'folder' | 'places'>,
  disks: Final['disks'],
  jobs: Iterable<JobRecord>,
): Promise<void> {
  const records = [...jobs]
  if (disks.length !== places.length)
    throw mismatch(`${disks.length} disks are handed over, and ${places.length} were planned`)
  for (const { machine, disk, destination, format } of places) {
    const handed = disks.find((one) => one.machine === machine && one.disk === disk)
    if (!handed) throw mismatch(`Disk ${disk} of ${machine} is not handed over`)
    // Others may be granted the same folder.
    const moves = records.filter(
      ({ direction, target: to }) =>
        direction === 'in' && to?.kind === 'file' && to.folder === folder && to.name === destination,
    )
    const last = moves.toSorted((a, b) => b.createdAt - a.createdAt)[0]
    if (last?.peer !== peer) throw mismatch(`No move has put disk ${disk} of ${machine} here`)
    if (moves.some(({ state }) => state !== 'complete' && state !== 'failed' && state !== 'cancelled'))
      throw mismatch(`A move still writes disk ${disk} of ${machine}`)
    if (last.state !== 'complete' || last.root !== handed.root)
      throw mismatch(`Disk ${disk} of ${machine} does not have the root that is handed over`)
    const { target, placed: identity, sizeBytes } = last
    if (target?.kind !== 'file') throw mismatch(`Disk ${disk} of ${machine} is no file here`)
    // A raw volume can be any qcow2 image, with other files in its header.
    if (target.format !== format)
      throw mismatch(`Disk ${disk} of ${machine} was moved as ${target.format}, and ${format} was planned`)
    if (identity === undefined || !(await isPlaced(target, last.job, { identity, sizeBytes })))
      throw mismatch(`Disk ${disk} of ${machine} is not what its move has put here`)
  }
}

function mismatch(message: string): FluidError {
  return new FluidError('VERIFY_MISMATCH', message, { refused: true })
}
