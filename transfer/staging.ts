/** The file that a volume is written to until it is whole: made, or found as an earlier attempt left it. */
import { constants } from 'node:fs'
import { lstat, open, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { FluidError } from '../protocol/errors.ts'
import { adopt, discardAdopted, resumeAdoption } from './adopted-file.ts'
import { errnoOf, reason } from './backends/bounds.ts'
import { createQcow2 } from './backends/qemu-image.ts'
import type { FileDestination, PlacementOptions } from './destination.ts'
import { pathIn, type DestinationFolder } from './destination-name.ts'
import { cloneFile, renameNoReplace } from './linux.ts'
import {
  distrusted,
  finishRename,
  openEntry,
  removeEntry,
  syncFile,
  type StagingNames,
} from './staging-files.ts'

/** What is staged, and what lies where it is to go. */
export interface Staging {
  /** It was there already. */
  readonly resumed: boolean
  /** A version lies, or lay until now, under the final name. */
  readonly found: boolean
  /** The staging file is that version. */
  readonly adopted: boolean
  /** Why it is not, though asked for. */
  readonly obstacle?: string
}

/** Makes the staging file, or finds what is there of it. */
export async function openStaging(
  folder: DestinationFolder,
  names: StagingNames,
  destination: FileDestination,
  options: PlacementOptions,
): Promise<Staging> {
  if (await resumeAdoption(folder, names, options.sizeBytes))
    return { resumed: true, found: false, adopted: true }
  const found = await checkFinalName(folder, destination.replace)
  if (await reopenStaging(folder, names, destination, options))
    return { resumed: true, found, adopted: false }
  await options.beginAnew?.()
  let obstacle: string | undefined
  if (found && destination.inPlace && destination.format === 'raw') {
    obstacle = await adopt(folder, names, options.sizeBytes).catch((cause: unknown) => {
      throw creationError(join(folder.path, folder.leaf), options.sizeBytes, cause)
    })
    if (obstacle === undefined) return { resumed: false, found, adopted: true }
  }
  await createStaging(folder, names, destination, found, options)
  return { resumed: false, found, adopted: false, obstacle }
}

/** True when a regular file has the final name. Throws NAME_EXISTS or NAME_INVALID when nothing may be put there. */
async function checkFinalName(folder: DestinationFolder, replace: boolean): Promise<boolean> {
  const path = join(folder.path, folder.leaf)
  const found = await lstat(pathIn(folder, folder.leaf)).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw new FluidError('TARGET_WRITE', `Cannot look at ${path}: ${reason(error)}`, { cause: error })
  })
  if (!found) return false
  if (found.isSymbolicLink())
    throw new FluidError('NAME_INVALID', `The destination ${path} is a symbolic link`)
  if (!found.isFile()) {
    const hint = 'Choose another name'
    throw new FluidError('NAME_EXISTS', `The destination ${path} exists and is not a file`, { hint })
  }
  if (!replace) throw new FluidError('NAME_EXISTS', `The destination ${path} exists`)
  return true
}

async function reopenStaging(
  folder: DestinationFolder,
  names: StagingNames,
  destination: FileDestination,
  { sizeBytes }: PlacementOptions,
): Promise<true | undefined> {
  const distrust = (why: string) => distrusted(folder, names.part, why)
  let staging: FileHandle
  try {
    staging = await openEntry(folder, names.part)
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined
    if (errnoOf(cause) === 'ELOOP') throw distrust('it is a symbolic link')
    throw distrust(reason(cause))
  }
  await using file = staging
  await finishRename(folder, names.fresh, await file.stat({ bigint: true }))
  const found = await file.stat()
  if (!found.isFile()) throw distrust('it is not a regular file')
  if (found.nlink !== 1) throw distrust('it has other names')
  if (destination.format === 'raw' && found.size !== sizeBytes) {
    throw distrust(`it has ${found.size} bytes and the volume ${sizeBytes}`)
  }
  return true
}

/** Who may read a file may enter the folders made for it. */
export function folderMode(fileMode: number): number {
  return 0o700 | (fileMode & 0o044) | ((fileMode & 0o044) >> 2)
}

async function createStaging(
  folder: DestinationFolder,
  names: StagingNames,
  destination: FileDestination,
  previous: boolean,
  { sizeBytes, signal }: PlacementOptions,
): Promise<void> {
  await removeEntry(folder, names.fresh)
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  try {
    await using file = await open(pathIn(folder, names.fresh), flags, 0o600)
    if (destination.format === 'raw') {
      if (previous) await cloneInto(file, folder)
      await file.truncate(sizeBytes)
    } else await createQcow2(pathIn(folder, names.fresh, process.pid), sizeBytes, { signal })
    await file.sync()
    await renameNoReplace(pathIn(folder, names.fresh), pathIn(folder, names.part))
    await folder.handle.sync()
  } catch (cause) {
    await removeEntry(folder, names.fresh)
    throw creationError(join(folder.path, folder.leaf), sizeBytes, cause)
  }
}

/**
 * Begins with the version that is to be replaced, where the file system shares blocks between files: what is the same in
 * both is then found at its place, and neither copied nor stored twice. What is not the same is written over or zeroed as
 * every window is announced. The old version itself stays as it is.
 */
async function cloneInto(file: FileHandle, folder: DestinationFolder): Promise<void> {
  await using old = await openOld(folder)
  if (old && (await old.stat()).isFile()) cloneFile(old.fd, file.fd)
}

/** What has the final name now, for reading; undefined when nothing that we may read has. */
export async function openOld(folder: DestinationFolder): Promise<FileHandle | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  return await open(pathIn(folder, folder.leaf), flags).catch(() => undefined)
}

function creationError(path: string, sizeBytes: number, cause: unknown): unknown {
  const errno = errnoOf(cause)
  if (cause instanceof FluidError || errno === undefined || errno === 'ABORT_ERR') return cause
  if (errno === 'EFBIG' || errno === 'EINVAL') {
    return new FluidError(
      'TOO_LARGE',
      `The file system of ${path} cannot hold a file of ${sizeBytes} bytes`,
      {
        cause,
        hint: 'Choose a file system with larger files (xfs), or --format qcow2',
      },
    )
  }
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new FluidError('NO_SPACE', `No space to make ${path} (${sizeBytes} bytes): ${reason(cause)}`, {
      cause,
    })
  }
  return new FluidError('TARGET_WRITE', `Cannot make ${path}: ${reason(cause)}`, { cause })
}

/** Removes all that is staged; an old version that was taken for it gets its name back. */
export async function removeStaging(folder: DestinationFolder, names: StagingNames): Promise<void> {
  // An adopted file is the old version, and goes back under its name; then there is none under this one.
  await discardAdopted(folder, names)
  await removeEntry(folder, names.part)
  await removeEntry(folder, names.fresh)
  await syncFile(folder.handle)
}
