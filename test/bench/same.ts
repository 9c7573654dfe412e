/** Whether a target holds what the source does. */
import { execFile } from 'node:child_process'
import { open, type FileHandle } from 'node:fs/promises'
import { promisify } from 'node:util'
import { isMostlyHole, dataExtents } from './holes.ts'

const STEP_BYTES = 4 * 2 ** 20
/** What both programs exit with when the two differ, rather than failing. */
const DIFFERENT = 1

/** An image holds the volume, not the same bytes. Throws when they cannot be compared. */
export async function isSame(source: string, target: string): Promise<boolean> {
  if (await isMostlyHole(source)) return await hasSameData(source, target)
  const [program, ...args] = source.endsWith('.qcow2')
    ? ['qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', source, target]
    : ['cmp', '--silent', source, target]
  return await promisify(execFile)(program, args).then(
    () => true,
    (error: { code?: unknown }) => {
      if (error.code === DIFFERENT) return false
      throw error
    },
  )
}

/** Reads what is no hole in one of them, in both. */
async function hasSameData(source: string, target: string): Promise<boolean> {
  await using a = await open(source)
  await using b = await open(target)
  const [sizeOfA, sizeOfB] = await Promise.all([a, b].map(async (file) => (await file.stat()).size))
  if (sizeOfA !== sizeOfB) return false
  for (const path of [source, target]) {
    for (const { offset, bytes } of await dataExtents(path)) {
      for (let at = offset; at < offset + bytes; at += STEP_BYTES) {
        const length = Math.min(STEP_BYTES, offset + bytes - at)
        if (!(await read(a, at, length)).equals(await read(b, at, length))) return false
      }
    }
  }
  return true
}

async function read(file: FileHandle, offset: number, bytes: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(bytes), 0, bytes, offset)
  return buffer.subarray(0, bytesRead)
}
