/** Where a file has data, and what of it is in the page cache. */
import { execFile } from 'node:child_process'
import { open, stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { hasProgram } from '../helpers/programs.ts'
import { adviseDontNeed, seekData, seekHole } from '../../transfer/linux.ts'

const BLOCK_BYTES = 512
const PAGE_BYTES = 4096
const STEP_BYTES = 4 * 2 ** 20
/** From here on nobody reads the holes who can help it. */
const MOSTLY = 100

export interface DataExtent {
  readonly offset: number
  readonly bytes: number
}

/** What a file holds beside its holes. */
export async function dataBytes(path: string): Promise<number> {
  return (await stat(path)).blocks * BLOCK_BYTES
}

/** Whether a file is so much hole that it should not be read from end to end. */
export async function isMostlyHole(path: string): Promise<boolean> {
  return (await stat(path)).size > MOSTLY * (await dataBytes(path))
}

export async function dataExtents(path: string): Promise<readonly DataExtent[]> {
  await using file = await open(path)
  const extents: DataExtent[] = []
  for (let offset = seekData(file.fd, 0); offset !== undefined;) {
    const end = seekHole(file.fd, offset)!
    extents.push({ offset, bytes: end - offset })
    offset = seekData(file.fd, end)
  }
  return extents
}

/** Reads a file so that it is in the page cache; gives what of it was not there, undefined when that cannot be told. */
export async function warm(path: string): Promise<number | undefined> {
  if (await isMostlyHole(path)) return await warmData(path)
  const missing = await missingBytes(path)
  // The holes too: programs that read them do not wait for them either.
  if (missing !== 0) await promisify(execFile)('sh', ['-c', 'cat -- "$1" >/dev/null', 'sh', path])
  return missing
}

/** Has the data of a file in the page cache and its holes not, which would push out what matters. */
export async function warmData(path: string): Promise<undefined> {
  await using file = await open(path)
  const step = Buffer.alloc(STEP_BYTES)
  let before = 0
  for (const { offset, bytes } of await dataExtents(path)) {
    if (offset > before) adviseDontNeed(file.fd, before, offset - before)
    before = offset + bytes
    for (let at = offset; at < before; at += STEP_BYTES)
      await file.read(step, 0, Math.min(STEP_BYTES, before - at), at)
  }
  adviseDontNeed(file.fd, before, 0)
}

/** Of a file, what is not in the page cache. */
async function missingBytes(path: string): Promise<number | undefined> {
  if (!hasProgram('fincore')) return undefined
  const { stdout } = await promisify(execFile)('fincore', [
    '--bytes',
    '--noheadings',
    '--output=RES,SIZE',
    path,
  ])
  const [resident, size] = stdout.trim().split(/\s+/).map(Number)
  return Math.max(0, Math.ceil(size / PAGE_BYTES) * PAGE_BYTES - resident)
}
