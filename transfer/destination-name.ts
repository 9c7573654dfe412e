/**
 * Destination names: what a peer may write, as a name inside a granted folder. Checked at the protocol and
 * again here, where the file is made: folders are entered one by one through descriptors, never through a
 * symbolic link, so that one swapped in between leads nowhere.
 */
import { constants, mkdirSync } from 'node:fs'
import { lstat, open, realpath, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { validateDestinationName } from '../protocol/destination.ts'
import { FluidError } from '../protocol/errors.ts'
import { errnoOf, reason } from './backends/bounds.ts'

/** The folder that a destination is made in, held open. */
export interface DestinationFolder extends AsyncDisposable {
  readonly handle: FileHandle
  /** Absolute path, for people; work goes through pathIn(). */
  readonly path: string
  /** Last part of the destination's name. */
  readonly leaf: string
}

/** The absolute path a name stands for, checked against what exists, creating nothing. Throws NAME_INVALID. */
export async function resolveDestinationName(folder: string, name: string): Promise<string> {
  const opened = await findDestinationFolder(folder, name)
  if (opened) {
    await using parent = opened
    const found = await lstat(pathIn(parent, parent.leaf)).catch(() => undefined)
    if (found?.isSymbolicLink()) throw throughLink(join(parent.path, parent.leaf))
    return join(parent.path, parent.leaf)
  }
  return join(await realpath(folder), ...validateDestinationName(name))
}

/** Opens the folder of a destination, making missing sub-folders, of `mode`. The caller disposes it. */
export async function openDestinationFolder(
  folder: string,
  name: string,
  mode = 0o700,
): Promise<DestinationFolder> {
  const opened = await enter(folder, validateDestinationName(name), mode)
  if (!opened) throw new FluidError('TARGET_WRITE', `Cannot make the folders of ${name}`)
  return opened
}

/** Opens the folder of a destination where it exists, making nothing; undefined where it does not. */
export function findDestinationFolder(folder: string, name: string): Promise<DestinationFolder | undefined> {
  return enter(folder, validateDestinationName(name))
}

/** An entry of the folder by way of its descriptor; `pid` other than self for a child process that opens it. */
export function pathIn(folder: DestinationFolder, entry: string, pid: number | 'self' = 'self'): string {
  return `/proc/${pid}/fd/${folder.handle.fd}/${entry}`
}

const FOLDER_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY

async function enter(
  folder: string,
  segments: string[],
  createMode?: number,
): Promise<DestinationFolder | undefined> {
  const leaf = segments.at(-1) as string
  let path = folder
  let handle: FileHandle
  try {
    // The granted folder is the operator's word and may be a link.
    path = await realpath(folder)
    handle = await open(path, FOLDER_FLAGS)
  } catch (cause) {
    throw new FluidError('TARGET_WRITE', `Cannot open the granted folder ${folder}: ${reason(cause)}`, {
      cause,
      hint: 'Create the folder, or correct the policy with fluidcloud policy',
    })
  }
  for (const segment of segments.slice(0, -1)) {
    const outer = handle
    path = join(path, segment)
    try {
      const inner = await openSegment(outer, segment, path, createMode)
      if (!inner) return undefined
      handle = inner
    } finally {
      await outer.close()
    }
  }
  return { handle, path, leaf, [Symbol.asyncDispose]: () => handle.close() }
}

async function openSegment(
  outer: FileHandle,
  segment: string,
  path: string,
  createMode?: number,
): Promise<FileHandle | undefined> {
  const at = `/proc/self/fd/${outer.fd}/${segment}`
  try {
    return await open(at, FOLDER_FLAGS | constants.O_NOFOLLOW)
  } catch (cause) {
    const errno = errnoOf(cause)
    if (errno === 'ENOENT' && createMode === undefined) return undefined
    if (errno === 'ENOENT') return makeSegment(outer, segment, path, createMode!)
    if (errno === 'ELOOP' || errno === 'ENOTDIR')
      throw (await isLink(at)) ? throughLink(path) : notFolder(path, cause)
    throw new FluidError('TARGET_WRITE', `Cannot open the folder ${path}: ${reason(cause)}`, { cause })
  }
}

async function makeSegment(
  outer: FileHandle,
  segment: string,
  path: string,
  mode: number,
): Promise<FileHandle> {
  try {
    makeFolder(`/proc/self/fd/${outer.fd}/${segment}`, mode)
    await outer.sync()
  } catch (cause) {
    // Another job may have made it at the same moment.
    if (errnoOf(cause) !== 'EEXIST')
      throw new FluidError('TARGET_WRITE', `Cannot make the folder ${path}: ${reason(cause)}`, { cause })
  }
  const made = await openSegment(outer, segment, path)
  if (!made) throw new FluidError('TARGET_WRITE', `The folder ${path} vanished while it was made`)
  return made
}

/**
 * With exactly this mode, whatever the umask. By mkdir() and not by chmod(): that would take away the setgid bit which
 * the folder above hands down, and a hardened unit lets nobody set it again.
 */
function makeFolder(path: string, mode: number): void {
  const umask = process.umask(~mode & 0o777)
  try {
    mkdirSync(path, mode)
  } finally {
    process.umask(umask)
  }
}

async function isLink(at: string): Promise<boolean> {
  return (await lstat(at).catch(() => undefined))?.isSymbolicLink() ?? false
}

function throughLink(path: string): FluidError {
  return new FluidError('NAME_INVALID', `The destination passes through the symbolic link ${path}`)
}

function notFolder(path: string, cause: unknown): FluidError {
  return new FluidError('NAME_INVALID', `The destination needs a folder where ${path} is a file`, { cause })
}
