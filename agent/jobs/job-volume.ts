/** Reads the volume of a job again, on whichever side this is, and tells its root: what `verify` compares. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import type { ImageFormat } from '../../transfer/backends/image-format.ts'
import { isChunking } from '../../transfer/chunker.ts'
import { inSectors } from '../../transfer/staged-sink.ts'
import { dropCachedPages } from '../../transfer/linux.ts'
import { prepareSource, type PrepareOptions } from '../../transfer/prepared-source.ts'
import { readDigest } from '../../transfer/root.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'
import { sourceFormatOf } from './source-format.ts'

/** Throws JOB_STATE for a job that left nothing to verify. */
export function requireComplete({ id, record }: Job): void {
  if (record.state === 'complete') return
  throw new FluidError('JOB_STATE', `Job ${id} is ${record.state}; only a complete job can be verified`)
}

/** Threads that read. */
const READ_LANES = 4
/** Of a volume that is not what was moved. */
export const CHANGED_HINT = 'It was changed since the move: fluidcloud receipt shows the root that moved'

/** The root of the job's volume as it is now; `deep` has it read from the disk rather than from memory. */
export async function readJobVolume(
  parts: JobParts,
  job: Job,
  { deep, signal }: { deep: boolean; signal: AbortSignal },
): Promise<{ root: Uint8Array; checkedBytes: number }> {
  const { record } = job
  requireComplete(job)
  if (!record.chunking || !isChunking(record.chunking))
    throw new FluidError('JOB_STATE', `Job ${job.id} never moved data`)
  const place = placeOf(job)
  if (deep && place.startsWith('/')) dropCachedPages(place)
  const { format, others } = formatOf(job)
  await using volume = await prepareSource(place, { lanes: READ_LANES + 1, signal, format, others }).catch(
    (cause: unknown) => {
      if (record.direction === 'out' || asFluidError(cause).code !== 'SOURCE_MISSING') throw cause
      throw new FluidError('VERIFY_MISMATCH', 'The volume is not there any more', {
        cause,
        hint: CHANGED_HINT,
      })
    },
  )
  if (!fits(volume.sizeBytes, record.sizeBytes, { isFile: await isFile(place), format })) {
    throw new FluidError(
      'VERIFY_MISMATCH',
      `The volume has ${volume.sizeBytes} bytes now, and had ${record.sizeBytes}`,
      { hint: CHANGED_HINT },
    )
  }
  const source = { ...volume.source, sizeBytes: record.sizeBytes }
  const { root } = await readDigest(parts.pool, { url: volume.url, source }, record.chunking, {
    lanes: READ_LANES,
    signal,
  })
  return { root, checkedBytes: record.sizeBytes }
}

/** A file has as many bytes as its volume, an image of one whole sectors of it; what a volume is written into may be larger. */
function fits(
  foundBytes: number,
  sizeBytes: number,
  { isFile, format = 'raw' }: { isFile: boolean; format?: ImageFormat },
): boolean {
  if (!isFile) return foundBytes >= sizeBytes
  return foundBytes === sizeBytes || (format !== 'raw' && foundBytes === inSectors(sizeBytes))
}

async function isFile(place: string): Promise<boolean> {
  if (!place.startsWith('/')) return false
  const found = await stat(place).catch(() => undefined)
  return found?.isFile() ?? false
}

/** As what it is read: never as what its bytes say, which the peer or a guest wrote since. */
function formatOf({ record }: Job): Pick<PrepareOptions, 'format' | 'others'> {
  const { direction, target } = record
  if (direction === 'out' || !target) return { format: sourceFormatOf(record) }
  return { format: target.kind === 'file' ? target.format : 'raw', others: 'none' }
}

/** Path or address of the volume on this side. */
function placeOf({ record }: Job): string {
  const { target } = record
  if (record.direction === 'out' || !target) return record.source
  if (target.kind === 'file') return join(target.folder, target.name)
  return target.kind === 'block' ? target.path : target.url
}
