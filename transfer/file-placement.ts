/**
 * Staging of a file: `.<name>.<job>.part` beside its destination, mode 0600, made under a third name first, so
 * that a staging file that exists is a complete one whenever we were killed; or the version that is replaced itself, see
 * adopted-file.ts. Everything goes through the descriptor of the folder.
 */
import { constants } from 'node:fs'
import { lstat, open, rename, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { FluidError } from '../protocol/errors.ts'
import { QEMU_STOP_TIMEOUT_MS } from '../protocol/limits.ts'
import {
  adopt,
  adoptionObstacle,
  commitAdopted,
  discardAdopted,
  finishDecided,
  resumeAdoption,
} from './adopted-file.ts'
import { adoptedUrl, openAdoptedSink } from './adopted-sink.ts'
import { errnoOf, reason } from './backends/bounds.ts'
import { openNbdSink } from './backends/nbd.ts'
import { createQcow2, openQcow2 } from './backends/qemu-image.ts'
import type { QemuNbd } from './backends/qemu-nbd.ts'
import { openRawSink } from './backends/raw.ts'
import {
  DEFAULT_FILE_MODE,
  type FileDestination,
  type Placement,
  type PlacementOptions,
} from './destination.ts'
import {
  findDestinationFolder,
  openDestinationFolder,
  pathIn,
  resolveDestinationName,
  type DestinationFolder,
} from './destination-name.ts'
import { cloneFile, renameNoReplace } from './linux.ts'
import { fileUrl } from './open.ts'
import type { Sink } from './sink.ts'
import {
  distrusted,
  finishRename,
  openEntry,
  removeEntry,
  stagingNames,
  syncFile,
  type StagingNames,
} from './staging-files.ts'
import { openUndoLog } from './undo-log.ts'

const SECTOR_BYTES = 512
/** Between attempts to open a qcow2 that the qemu-nbd of a killed agent still flushes. */
const BUSY_RETRY_MS = 50

/** openPlacement() for a file. */
export async function openFilePlacement(
  destination: FileDestination,
  options: PlacementOptions,
): Promise<Placement> {
  await using stack = new AsyncDisposableStack()
  const { fileMode = DEFAULT_FILE_MODE } = options
  const folder = stack.use(
    await openDestinationFolder(destination.folder, destination.name, folderMode(fileMode)),
  )
  const path = join(folder.path, folder.leaf)
  const names = stagingNames(folder.leaf, options.job)
  const { resumed, found, adopted, obstacle } = await openStaging(folder, names, destination, options)
  const staging = stack.use(await openEntry(folder, names.part))
  const { dev, ino } = await staging.stat({ bigint: true })
  const { url, sink, server } = adopted
    ? await openAdopted(folder, names)
    : await openStagedSink(folder, names.part, destination, options)
  const services = stack.use(new AsyncDisposableStack())
  if (server) services.use(server)
  services.use(sink)
  const owned = stack.move()
  let durable = false
  // True when nothing is staged any more: placed, or discarded.
  let settled = false

  return {
    sinkUrl: url,
    readUrl: adopted ? fileUrl(pathIn(folder, names.part)) : url,
    sink,
    resumed,
    previous: found ? path : undefined,
    previousAt: adopted ? pathIn(folder, names.part) : path,
    obstacle,
    identity: `${dev}:${ino}`,
    async commit(signal) {
      signal?.throwIfAborted()
      if (!durable) {
        await sink.sync()
        sink.forgetCached?.()
        // qemu writes its tables until it ends.
        await services.disposeAsync()
        if (!adopted) await staging.chmod(fileMode)
        await syncFile(staging)
        durable = true
      }
      if (adopted) {
        await commitAdopted(folder, names, options.sizeBytes)
        settled = true
        return { path }
      }
      const replaced = destination.replace ? await openOld(folder) : undefined
      try {
        await putInPlace(folder, names.part, destination.replace, path)
        settled = true
        await syncFile(folder.handle)
      } finally {
        // Not awaited: giving back the space of a large file takes the kernel a while, and nobody needs it now.
        replaced?.close().catch(() => {})
      }
      return { path }
    },
    async discard() {
      await services.disposeAsync()
      if (!settled && owned.disposed) await discardStaging(destination, options.job)
      else if (!settled) await removeStaging(folder, names)
      settled = true
      await owned.disposeAsync()
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

interface Staging {
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
async function openStaging(
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

async function openAdopted(
  folder: DestinationFolder,
  names: StagingNames,
): Promise<{ url: string; sink: Sink; server?: QemuNbd }> {
  const undo = pathIn(folder, names.undo)
  await using log = await openUndoLog(undo)
  const file = {
    part: pathIn(folder, names.part),
    undo,
    soundBytes: await log.soundBytes(),
    former: join(folder.path, folder.leaf),
  }
  return { url: adoptedUrl(file), sink: await openAdoptedSink(file) }
}

/**
 * Bytes that the version under the final name takes up, which `job` can update in place or is updating; or why it cannot
 * be, for people.
 */
export async function inPlaceBytes(destination: FileDestination, job?: string): Promise<number | string> {
  if (destination.format !== 'raw') return 'only raw files are updated in place'
  const none = 'there is no version to update'
  const found = await findDestinationFolder(destination.folder, destination.name)
  if (!found) return none
  await using folder = found
  if (job !== undefined) {
    const { undo } = stagingNames(folder.leaf, job)
    if (await lstat(pathIn(folder, undo)).catch(() => undefined)) return 0
  }
  const opened = await openEntry(folder, folder.leaf).catch((error: unknown) =>
    errnoOf(error) === 'ENOENT' ? none : reason(error),
  )
  if (typeof opened === 'string') return opened
  await using version = opened
  return (await adoptionObstacle(version)) ?? (await version.stat()).blocks * 512
}

/**
 * True when the file under the destination's final name, which then it has for good, is the one that `job` staged as
 * `identity` and meant to put there: it was killed between commit and its own record of it. A commit that was decided and not
 * done is done. File systems give the numbers of files that are gone to new ones: the size has to be right too, bytes.
 */
export async function isPlaced(
  destination: FileDestination,
  job: string,
  { identity, sizeBytes }: { readonly identity: string; readonly sizeBytes: number },
): Promise<boolean> {
  const opened = await findDestinationFolder(destination.folder, destination.name)
  if (!opened) return false
  await using folder = opened
  const names = stagingNames(folder.leaf, job)
  if ((await finishDecided(folder, names)) === 'roll-back') return false
  const path = await resolveDestinationName(destination.folder, destination.name)
  const found = await lstat(path, { bigint: true }).catch(() => undefined)
  if (!found || `${found.dev}:${found.ino}` !== identity) return false
  if (destination.format === 'raw' && found.size !== BigInt(sizeBytes)) return false
  await finishRename(folder, names.part, found)
  // Killed before that, a power cut could still take the name away.
  await syncFile(folder.handle)
  return true
}

/** Removes what a job staged for a destination that is not open; for jobs cancelled while they were at rest. */
export async function discardStaging(destination: FileDestination, job: string): Promise<void> {
  const found = await findDestinationFolder(destination.folder, destination.name)
  if (!found) return
  await using folder = found
  await removeStaging(folder, stagingNames(folder.leaf, job))
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
function folderMode(fileMode: number): number {
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
async function openOld(folder: DestinationFolder): Promise<FileHandle | undefined> {
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

async function openStagedSink(
  folder: DestinationFolder,
  part: string,
  destination: FileDestination,
  options: PlacementOptions,
): Promise<{ url: string; sink: Sink; server?: QemuNbd }> {
  if (destination.format === 'raw') {
    const path = pathIn(folder, part)
    return { url: fileUrl(path), sink: await openRawSink(path) }
  }
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await serveWhenFree(pathIn(folder, part, process.pid), options))
  const sink = stack.use(await openNbdSink(server.url, options))
  const expectedBytes = inSectors(options.sizeBytes)
  if (sink.sizeBytes !== expectedBytes) {
    const message = `Cannot resume from ${join(folder.path, part)}: it holds ${sink.sizeBytes} bytes and the volume ${options.sizeBytes}`
    throw new FluidError('TARGET_WRITE', message, { hint: 'Cancel the job and start it again' })
  }
  stack.move()
  return { url: server.url, sink, server }
}

/** A killed agent's qemu-nbd holds the image until it has flushed. */
async function serveWhenFree(image: string, { lanes, signal }: PlacementOptions): Promise<QemuNbd> {
  const late = AbortSignal.timeout(QEMU_STOP_TIMEOUT_MS)
  while (true) {
    try {
      return await openQcow2(image, { lanes, signal })
    } catch (error) {
      if (!(error instanceof FluidError) || error.code !== 'NAME_BUSY' || late.aborted) throw error
      await delay(BUSY_RETRY_MS, undefined, { signal })
    }
  }
}

async function putInPlace(
  folder: DestinationFolder,
  part: string,
  replace: boolean,
  path: string,
): Promise<void> {
  const from = pathIn(folder, part)
  const to = pathIn(folder, folder.leaf)
  try {
    if (replace) await rename(from, to)
    else await renameNoReplace(from, to)
  } catch (cause) {
    if (['EEXIST', 'EISDIR', 'ENOTEMPTY'].includes(errnoOf(cause) ?? '')) {
      throw new FluidError('NAME_EXISTS', `The destination ${path} was made by someone else meanwhile`, {
        cause,
        hint: 'Move it out of the way; what came is kept',
      })
    }
    throw new FluidError('TARGET_WRITE', `Cannot put the volume under its name ${path}: ${reason(cause)}`, {
      cause,
    })
  }
}

async function removeStaging(folder: DestinationFolder, names: StagingNames): Promise<void> {
  // An adopted file is the old version, and goes back under its name; then there is none under this one.
  await discardAdopted(folder, names)
  await removeEntry(folder, names.part)
  await removeEntry(folder, names.fresh)
  await syncFile(folder.handle)
}

/** What an image of a volume holds: whole sectors, bytes. */
export function inSectors(sizeBytes: number): number {
  return Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES
}
