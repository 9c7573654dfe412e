/** Names and files of staging, through the descriptor of their folder. */
import { constants, type BigIntStats } from 'node:fs'
import { lstat, open, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { FluidError } from '../protocol/errors.ts'
import { MAX_NAME_BYTES } from '../protocol/limits.ts'
import { errnoOf, reason, targetSyncError } from './backends/bounds.ts'
import { pathIn, type DestinationFolder } from './destination-name.ts'

export interface StagingNames {
  readonly part: string
  /** What is being made, and is renamed when it is whole. */
  readonly fresh: string
  /** The undo log of an adopted file. */
  readonly undo: string
}

/** The job makes the names unique, so a long destination name can be cut. */
export function stagingNames(leaf: string, job: string): StagingNames {
  const room = MAX_NAME_BYTES - Buffer.byteLength(`..${job}.part`)
  let base = leaf
  while (Buffer.byteLength(base) > room) base = Array.from(base).slice(0, -1).join('')
  return { part: `.${base}.${job}.part`, fresh: `.${base}.${job}.new`, undo: `.${base}.${job}.undo` }
}

/** Opens what is in the folder for reading and writing; never through a link. */
export function openEntry(folder: DestinationFolder, entry: string): Promise<FileHandle> {
  return open(pathIn(folder, entry), constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK)
}

/** The same; undefined when there is none. */
export async function findEntry(folder: DestinationFolder, entry: string): Promise<FileHandle | undefined> {
  return await openEntry(folder, entry).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  })
}

/** Removes an entry, if it is there. */
export async function removeEntry(folder: DestinationFolder, entry: string): Promise<void> {
  await unlink(pathIn(folder, entry)).catch((cause: unknown) => {
    if (errnoOf(cause) === 'ENOENT') return
    throw new FluidError('TARGET_WRITE', `Cannot remove ${join(folder.path, entry)}: ${reason(cause)}`, {
      cause,
    })
  })
}

/**
 * Takes the name `other` from a staged file that has it too. Where a rename is a link and an unlink, see renameNoReplace(), a
 * kill between them leaves both; what then is missing of the other name is done again.
 */
export async function finishRename(
  folder: DestinationFolder,
  other: string,
  { dev, ino, nlink }: BigIntStats,
): Promise<void> {
  if (nlink !== 2n) return
  const found = await lstat(pathIn(folder, other), { bigint: true }).catch(() => undefined)
  if (found?.ino !== ino || found.dev !== dev) return
  await removeEntry(folder, other)
  await syncFile(folder.handle)
}

/** Has a file or folder reach the disk. */
export async function syncFile(handle: FileHandle): Promise<void> {
  await handle.sync().catch((error: unknown) => {
    throw targetSyncError(error)
  })
}

/** The error for a staging file that cannot be gone on with. */
export function distrusted(folder: DestinationFolder, entry: string, why: string): FluidError {
  return new FluidError('TARGET_WRITE', `Cannot resume from ${join(folder.path, entry)}: ${why}`, {
    hint: 'Cancel the job and start it again',
  })
}
