/**
 * An old version that becomes the new one in place: it is renamed to the staging name and written over, while an undo
 * log beside it keeps what it was. Nothing unverified stands under the final name: as long as the job runs, nothing does.
 *
 *     adopt      undo log on the disk; rename NAME to .NAME.JOB.part; grow
 *     commit     data on the disk; decided: commit; shrink; rename back; undo log removed
 *     roll back  decided: roll back; old bytes put back, old size; rename back; undo log removed
 *
 * A crash between any two of these is taken up where it was: what was decided is finished, what was not goes on or is
 * rolled back. As long as there is an undo log, nobody removes the file that it belongs to.
 */
import { lstat, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { FluidError } from '../protocol/errors.ts'
import { errnoOf, reason, targetWriteError } from './backends/bounds.ts'
import { writeZeros } from './backends/positional-io.ts'
import { pathIn, type DestinationFolder } from './destination-name.ts'
import { isOpenElsewhere, punchHole, renameNoReplace } from './linux.ts'
import {
  distrusted,
  findEntry,
  finishRename,
  openEntry,
  removeEntry,
  syncFile,
  type StagingNames,
} from './staging-files.ts'
import { createUndoLog, openUndoLog, type UndoLog } from './undo-log.ts'

const MODE_BITS = 0o7777
const STAGED_MODE = 0o600

/** Why a file cannot be adopted, for people; undefined: it can. */
export async function adoptionObstacle(file: FileHandle): Promise<string | undefined> {
  const found = await file.stat()
  if (!found.isFile()) return 'it is not a regular file'
  if (found.nlink !== 1) return 'it has other names (hard links)'
  const user = process.geteuid?.()
  if (user !== 0 && user !== found.uid) return 'it belongs to another user'
  return isOpenElsewhere(file.fd) ? 'another program has it open' : undefined
}

/** Adopts the file under the final name; answers why it cannot be, and leaves everything as it was. */
export async function adopt(
  folder: DestinationFolder,
  names: StagingNames,
  sizeBytes: number,
): Promise<string | undefined> {
  await removeEntry(folder, names.fresh)
  const file = await openEntry(folder, folder.leaf).catch((error: unknown) => reason(error))
  if (typeof file === 'string') return file
  await using old = file
  const obstacle = await adoptionObstacle(old)
  if (obstacle !== undefined) return obstacle
  const { size, mode, ino, dev } = await old.stat({ bigint: true })
  const version = { sizeBytes: Number(size), mode: Number(mode) & MODE_BITS, inode: ino }
  await createUndoLog(pathIn(folder, names.fresh), version)
  await renameNoReplace(pathIn(folder, names.fresh), pathIn(folder, names.undo))
  await syncFile(folder.handle)
  try {
    await renameNoReplace(pathIn(folder, folder.leaf), pathIn(folder, names.part))
    await syncFile(folder.handle)
    // From here on nobody can open it by its name; who did before?
    const moved = await lstat(pathIn(folder, names.part), { bigint: true })
    const swapped = moved.ino !== ino || moved.dev !== dev
    const late = swapped ? 'it was replaced meanwhile' : await adoptionObstacle(old)
    if (late === undefined) await prepareStaged(old, sizeBytes)
    else await (swapped ? giveBack(folder, names) : rollBack(folder, names))
    return late
  } catch (error) {
    await rollBack(folder, names).catch(() => {}) // What is not done now is done when the job is discarded.
    throw error
  }
}

/** True when an adoption by this job is under way, which it goes on with. What was decided about it is finished first. */
export async function resumeAdoption(
  folder: DestinationFolder,
  names: StagingNames,
  sizeBytes: number,
): Promise<boolean> {
  if (await finishDecided(folder, names)) return false
  const log = await findLog(folder, names)
  if (!log) return false
  const { old } = log
  await log[Symbol.asyncDispose]()
  const file = await findEntry(folder, names.part)
  if (!file) {
    await removeEntry(folder, names.undo)
    return false
  }
  await using staged = file
  await checkStaged(folder, names, staged, log)
  const { size } = await staged.stat()
  if (size !== old.sizeBytes && size !== Math.max(old.sizeBytes, sizeBytes))
    throw distrusted(folder, names.part, `it has ${size} bytes, and had ${old.sizeBytes}`)
  await prepareStaged(staged, sizeBytes)
  return true
}

/** Puts the file, in which everything is right, under the final name. Throws NAME_EXISTS when that was taken meanwhile. */
export async function commitAdopted(
  folder: DestinationFolder,
  names: StagingNames,
  sizeBytes: number,
): Promise<void> {
  await using log = await openUndoLog(pathIn(folder, names.undo))
  if (log.decision === undefined) {
    const taken = await lstat(pathIn(folder, folder.leaf)).catch(() => undefined)
    if (taken) throw nameTaken(folder, undefined)
    await log.decide('commit', sizeBytes)
  }
  await finish(folder, names, log)
}

/** Puts the old version back under its name; or the new one, if that was decided. Nothing to do when nothing was adopted. */
export async function discardAdopted(folder: DestinationFolder, names: StagingNames): Promise<void> {
  if (!(await finishDecided(folder, names))) await rollBack(folder, names)
}

/** Finishes what was decided of an adoption, if anything was: 'commit', 'roll-back'. */
export async function finishDecided(
  folder: DestinationFolder,
  names: StagingNames,
): Promise<UndoLog['decision']> {
  await using log = await findLog(folder, names)
  if (log?.decision !== undefined) await finish(folder, names, log)
  return log?.decision
}

async function rollBack(folder: DestinationFolder, names: StagingNames): Promise<void> {
  await using log = await findLog(folder, names)
  if (!log) return
  if (log.decision === undefined) await log.decide('roll-back')
  await finish(folder, names, log)
}

async function finish(folder: DestinationFolder, names: StagingNames, log: UndoLog): Promise<void> {
  const file = await findEntry(folder, names.part)
  if (file) {
    await using staged = file
    await checkStaged(folder, names, staged, log)
    const { size, mode } = await staged.stat()
    if (log.decision === 'roll-back') {
      await log.restore(staged, (offset, length) => zero(staged.fd, offset, length))
      if (size !== log.old.sizeBytes) await staged.truncate(log.old.sizeBytes)
    } else if (size > log.newBytes) await staged.truncate(log.newBytes)
    if ((mode & MODE_BITS) !== log.old.mode) await staged.chmod(log.old.mode)
    await syncFile(staged)
    await putBack(folder, names)
    await syncFile(folder.handle)
  }
  await removeEntry(folder, names.undo)
  await syncFile(folder.handle)
}

/** What was renamed is not what was meant: it gets its name back as it is. */
async function giveBack(folder: DestinationFolder, names: StagingNames): Promise<void> {
  await putBack(folder, names)
  await removeEntry(folder, names.undo)
  await syncFile(folder.handle)
}

async function putBack(folder: DestinationFolder, names: StagingNames): Promise<void> {
  try {
    await renameNoReplace(pathIn(folder, names.part), pathIn(folder, folder.leaf))
  } catch (cause) {
    if (errnoOf(cause) === 'EEXIST') throw nameTaken(folder, cause)
    throw new FluidError('TARGET_WRITE', `Cannot rename ${join(folder.path, names.part)}: ${reason(cause)}`, {
      cause,
    })
  }
}

async function prepareStaged(staged: FileHandle, sizeBytes: number): Promise<void> {
  const { size, mode } = await staged.stat()
  if ((mode & MODE_BITS) !== STAGED_MODE) await staged.chmod(STAGED_MODE)
  if (size < sizeBytes) await staged.truncate(sizeBytes)
  await syncFile(staged)
}

/** Throws unless the file is the one that the log belongs to. */
async function checkStaged(
  folder: DestinationFolder,
  names: StagingNames,
  staged: FileHandle,
  { old }: Pick<UndoLog, 'old'>,
): Promise<void> {
  await finishRename(folder, folder.leaf, await staged.stat({ bigint: true }))
  const found = await staged.stat({ bigint: true })
  if (!found.isFile()) throw distrusted(folder, names.part, 'it is not a regular file')
  if (found.nlink !== 1n) throw distrusted(folder, names.part, 'it has other names')
  if (found.ino !== old.inode)
    throw distrusted(folder, names.part, 'the undo log beside it is of another file')
}

async function findLog(folder: DestinationFolder, names: StagingNames): Promise<UndoLog | undefined> {
  return await openUndoLog(pathIn(folder, names.undo)).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  })
}

function zero(fd: number, offset: number, length: number): void {
  try {
    if (!punchHole(fd, offset, length)) writeZeros(fd, offset, length)
  } catch (error) {
    throw targetWriteError(error, offset)
  }
}

function nameTaken(folder: DestinationFolder, cause: unknown): FluidError {
  const path = join(folder.path, folder.leaf)
  return new FluidError('NAME_EXISTS', `The destination ${path} was made by someone else meanwhile`, {
    cause,
  })
}
