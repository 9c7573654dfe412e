/** In which format the source of a job is read. It is told by its bytes at most once: whoever writes to it could change them. */
import { realpath, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isNbdUrl } from '../../transfer/backends/nbd-url.ts'
import type { ImageFormat } from '../../transfer/backends/image-format.ts'
import type { PreparedSource } from '../../transfer/prepared-source.ts'
import type { JobRecord } from './job-record.ts'

/** What a job on the sending side reads its source as; undefined: what its bytes say. A snapshot shows what a machine sees. */
export function sourceFormatOf({ rounds, sourceFormat }: JobRecord): ImageFormat | undefined {
  return rounds ? 'raw' : sourceFormat
}

/** What a job keeps of a source that it has opened: nothing but files is an image. */
export function formatOf({ format }: Pick<PreparedSource, 'format'>): ImageFormat {
  return format === 'nbd' || format === 'block' ? 'raw' : format
}

/** The format in which a move from a peer has put the file at `source`, if one of `records` has: the peer wrote its bytes. */
export async function arrivedFormat(
  source: string,
  records: Iterable<JobRecord>,
): Promise<ImageFormat | undefined> {
  if (isNbdUrl(source)) return undefined
  const path = await realpath(source).catch(() => undefined)
  const found = path && (await stat(path, { bigint: true }).catch(() => undefined))
  if (!found) return undefined
  let last: JobRecord | undefined
  for (const record of records) {
    const { target, placed, finishedAt = 0 } = record
    if (target?.kind !== 'file' || record.state !== 'complete' || finishedAt < (last?.finishedAt ?? 0))
      continue
    if (placed !== `${found.dev}:${found.ino}` || basename(target.name) !== basename(path)) continue
    if ((await realpath(join(target.folder, target.name)).catch(() => undefined)) === path) last = record
  }
  return last?.target?.kind === 'file' ? last.target.format : undefined
}
