/**
 * Staging of a file: `.<name>.<job>.part` beside its destination, mode 0600, made under a third name first, so
 * that a staging file that exists is a complete one whenever we were killed; or the version that is replaced itself, see
 * adopted-file.ts. Everything goes through the descriptor of the folder.
 */
import { lstat, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { FluidError } from '../protocol/errors.ts'
import { adoptionObstacle, commitAdopted, finishDecided } from './adopted-file.ts'
import { errnoOf, reason } from './backends/bounds.ts'
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
import { renameNoReplace } from './linux.ts'
import { fileUrl } from './open.ts'
import { openAdopted, openStagedSink } from './staged-sink.ts'
import { folderMode, openOld, openStaging, removeStaging } from './staging.ts'
import { finishRename, openEntry, stagingNames, syncFile } from './staging-files.ts'

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
