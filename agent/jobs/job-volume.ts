/** Reads the volume of a job again, on whichever side this is, and tells its root: what `verify` compares. */
import { join } from 'node:path'
import { FluidError } from '../../protocol/errors.ts'
import { isChunking } from '../../transfer/chunker.ts'
import { dropCachedPages } from '../../transfer/linux.ts'
import { prepareSource } from '../../transfer/prepared-source.ts'
import { readDigest } from '../../transfer/root.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'

/** Threads that read. */
const READ_LANES = 4

/** The root of the job's volume as it is now; `deep` has it read from the disk rather than from memory. */
export async function readJobVolume(
  parts: JobParts,
  job: Job,
  { deep, signal }: { deep: boolean; signal: AbortSignal },
): Promise<{ root: Uint8Array; checkedBytes: number }> {
  const { record } = job
  if (record.state !== 'complete') {
    throw new FluidError('JOB_STATE', `Job ${job.id} is ${record.state}; only a complete job can be verified`)
  }
  if (!record.chunking || !isChunking(record.chunking))
    throw new FluidError('JOB_STATE', `Job ${job.id} never moved data`)
  const place = placeOf(job)
  if (deep && place.startsWith('/')) dropCachedPages(place)
  await using volume = await prepareSource(place, { lanes: READ_LANES + 1, signal })
  if (volume.sizeBytes < record.sizeBytes) {
    throw new FluidError(
      'VERIFY_MISMATCH',
      `${place} has ${volume.sizeBytes} bytes, the volume had ${record.sizeBytes}`,
    )
  }
  const source = { ...volume.source, sizeBytes: record.sizeBytes }
  const { root } = await readDigest(parts.pool, { url: volume.url, source }, record.chunking, {
    lanes: READ_LANES,
    signal,
  })
  return { root, checkedBytes: record.sizeBytes }
}

/** Path or address of the volume on this side. */
function placeOf({ record }: Job): string {
  const { target } = record
  if (record.direction === 'out' || !target) return record.source
  if (target.kind === 'file') return join(target.folder, target.name)
  return target.kind === 'block' ? target.path : target.url
}
