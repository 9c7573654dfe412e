/** Puts chunks into the index: those of a job that completed, and those of seed folders. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ENTRY_BYTES } from '../../protocol/manifest.ts'
import { SEED_SCOPE, dataBytesOf, type Scope } from '../../transfer/chunk-index.ts'
import { CHUNKING_FASTCDC_64K } from '../../transfer/chunker.ts'
import { Journal } from '../../transfer/journal.ts'
import type { JournalRecord } from '../../transfer/journal-record.ts'
import { prepareSource } from '../../transfer/prepared-source.ts'
import { readRecords } from '../../transfer/root.ts'
import type { SeedReport } from '../reports/peer-reports.ts'
import type { Job } from './job.ts'
import type { JobParts } from '../job-parts.ts'

/** Depth of folders inside a seed folder, and files in all of them, that are read. */
const MAX_SEED_DEPTH = 8
const MAX_SEED_FILES = 10_000
const SCAN_LANES = 4

/**
 * Makes the chunks of a complete job findable in the scope of its grant, then forgets its journal. Only raw files and
 * devices hold chunks at the offsets the journal gives; of a qcow2 nothing is indexed.
 */
export async function indexCompleted({ index, level }: JobParts, job: Job): Promise<void> {
  const { record } = job
  if (record.state !== 'complete' || record.direction !== 'in' || record.indexed) return
  const journal = await Journal.open(level, Buffer.from(job.id, 'hex'))
  const path = indexablePath(job)
  if (path !== undefined && record.scope !== undefined) {
    const file = await index.numberOf(path)
    for await (const { entries } of journal.records()) await index.add(record.scope, file, entries)
    // Those of other cuts help no job but one with the same: the file is read when its next version comes.
    if (record.chunking === CHUNKING_FASTCDC_64K)
      await index.setStamp(record.scope, path, await stampOf(path))
  }
  await job.update({ indexed: true })
  await journal.clear()
}

/**
 * Makes the chunks of the version that a job replaces findable in the scope of its grant, unless they are already: also
 * when it was put there by hand. `at`: where it lies now, if not under its name.
 */
export async function indexPrevious(
  parts: JobParts,
  scope: Scope,
  path: string,
  { signal, at = path, onRead }: { signal: AbortSignal; at?: string; onRead?: (bytes: number) => void },
): Promise<void> {
  const stamp = await stampOf(at)
  if ((await parts.index.stampOf(scope, path)) === stamp) return
  parts.log.info({ path }, 'Reading the version that is there, to send only what differs')
  await indexFile(parts, scope, { path, at }, signal, ({ end }) => onRead?.(end))
  await parts.index.setStamp(scope, path, stamp)
}

/** Adds the bytes of the file itself, whatever it holds: an image's clusters are chunks like any other. */
async function indexFile(
  parts: JobParts,
  scope: Scope,
  { path, at = path }: { path: string; at?: string },
  signal: AbortSignal,
  onWindow?: (window: JournalRecord) => void,
): Promise<void> {
  await using volume = await prepareSource(at, { lanes: SCAN_LANES + 1, signal, format: 'raw' })
  const file = await parts.index.numberOf(path)
  const reading = { lanes: SCAN_LANES, signal }
  for await (const window of readRecords(parts.pool, volume, CHUNKING_FASTCDC_64K, reading)) {
    await parts.index.add(scope, file, window.entries)
    onWindow?.(window)
  }
}

/** Differs whenever the file may hold something else. */
async function stampOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true })
  return [dev, ino, size, mtimeNs].join(':')
}

function indexablePath({ record }: Job): string | undefined {
  const { target } = record
  if (target?.kind === 'file') return target.format === 'raw' ? join(target.folder, target.name) : undefined
  return target?.kind === 'block' ? target.path : undefined
}

/** Reads every file below `folder` and indexes its chunks for all peers; tells after each file how far it is. */
export async function* indexSeed(
  parts: JobParts,
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<SeedReport> {
  const done = { folder, files: 0, chunks: 0, bytes: 0 }
  for await (const path of filesBelow(folder, MAX_SEED_DEPTH)) {
    signal.throwIfAborted()
    if (done.files >= MAX_SEED_FILES) break
    await indexFile(parts, SEED_SCOPE, { path }, signal, ({ entries }) => {
      done.chunks += entries.length / ENTRY_BYTES
      done.bytes += dataBytesOf(entries)
    })
    done.files++
    yield { ...done, state: 'scanning' }
  }
  await parts.index.settle({ signal })
  yield { ...done, state: 'ready' }
}

async function* filesBelow(folder: string, depth: number): AsyncGenerator<string> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isFile() && !entry.name.startsWith('.')) yield path
    else if (entry.isDirectory() && depth > 0) yield* filesBelow(path, depth - 1)
  }
}
