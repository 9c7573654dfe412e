/**
 * Changes to a guest, from plan to disk and back. A Migrator says what it would change; what it said is checked here,
 * whoever wrote it. Nothing is written until all of a guest is as the plan saw it.
 */
import { FluidError } from '../../protocol/errors.ts'
import type { FileChange, GuestFiles, WritableGuestFiles } from '../guest-files.ts'
import type { EditMigrator, MigratorContext } from '../migrator.ts'
import { draftOver, type GuestDraft } from './guest-draft.ts'
import { isGuestPath } from './guest-path.ts'
import { sameBytes } from './same-bytes.ts'

/** A Migrator and what it is given. */
export interface EditStep {
  readonly migrator: EditMigrator
  readonly input: unknown
}

/** Files that one Migrator may change. */
const MAX_CHANGES = 1024
/** Characters of what a change says of itself. */
const MAX_NOTE_LENGTH = 4096

/**
 * What `steps` would change in `guest`, one change a file; each step sees what those before it changed. Throws what the
 * Migrators throw, MIGRATOR_FAILED for one that breaks its contract, LIMIT_EXCEEDED for too much.
 */
export async function previewChanges(
  guest: GuestFiles,
  steps: readonly EditStep[],
  context: MigratorContext,
): Promise<FileChange[]> {
  const draft = draftOver(guest)
  for (const { migrator, input } of steps) {
    context.signal.throwIfAborted()
    migrator.check(input)
    const changes = await migrator.changes(draft, input, context)
    await layOver(draft, changes, migrator.name)
  }
  return draft.changes()
}

async function layOver(draft: GuestDraft, changes: unknown, name: string): Promise<void> {
  const broke = (what: string) => new FluidError('MIGRATOR_FAILED', `Migrator ${name} ${what}`)
  if (!Array.isArray(changes)) throw broke('gave no list of changes')
  if (changes.length > MAX_CHANGES) throw broke(`changes ${changes.length} files, more than ${MAX_CHANGES}`)
  const paths = new Set<string>()
  for (const change of changes as FileChange[]) {
    const wrong = mistakeIn(change)
    if (wrong !== undefined) throw broke(`gave a change ${wrong}`)
    if (paths.has(change.path)) throw broke(`changes ${change.path} twice`)
    paths.add(change.path)
    const { path, before, after, mode, uid, gid, secret, note } = change
    // One by one: two paths that lead to one file are told apart here.
    if (!sameBytes(await draft.read(path), before)) throw broke(`says of ${path} what is not there`)
    await draft.set(path, after, { mode, uid, gid, secret, note })
  }
}

/** What is wrong with a change, whose types nobody has checked. */
export function mistakeIn(change: FileChange): string | undefined {
  if (typeof change !== 'object' || change === null) return 'that is none'
  const { path, before, after, mode, uid, gid, secret, note } = change
  if (!isGuestPath(path)) return `to ${JSON.stringify(path)?.slice(0, 200)}, which is no path in a guest`
  const bits = (value: unknown, most: number) =>
    value === undefined || (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= most)
  if (![before, after].every((bytes) => bytes === undefined || bytes instanceof Uint8Array))
    return `to ${path} whose content is no bytes`
  if (!bits(mode, 0o7777)) return `to ${path} with the mode ${String(mode)}`
  if (!bits(uid, 0xffff_fffe) || !bits(gid, 0xffff_fffe)) return `to ${path} with an owner that cannot be`
  if (secret !== undefined && typeof secret !== 'boolean') return `to ${path} that is neither secret nor not`
  if (note !== undefined && (typeof note !== 'string' || note.length > MAX_NOTE_LENGTH))
    return `to ${path} with a note of more than ${MAX_NOTE_LENGTH} characters`
  return undefined
}

/**
 * Writes `changes` and gives what takes them back. A file that is already as it would be counts as done, so that a run
 * that was cut off can be done again, or undone. Throws SOURCE_CHANGED, with nothing written, when a file is neither as it
 * was nor as it would be.
 */
export async function applyChanges(
  guest: WritableGuestFiles,
  changes: readonly FileChange[],
): Promise<FileChange[]> {
  const left: FileChange[] = []
  for (const change of changes) {
    const now = await guest.read(change.path)
    if (sameBytes(now, change.after)) continue
    if (!sameBytes(now, change.before))
      throw new FluidError('SOURCE_CHANGED', `${change.path} is not as it was when its change was planned`, {
        hint: 'Nothing was written; plan the changes anew',
      })
    left.push(change)
  }
  for (const { path, after, mode, uid, gid, before } of left) {
    if (!after) await guest.remove(path)
    else await guest.write(path, after, before ? {} : { mode, uid, gid })
  }
  await guest.sync()
  return undoOf(changes)
}

/** The changes that take `changes` back, last first. */
export function undoOf(changes: readonly FileChange[]): FileChange[] {
  return changes.toReversed().map(({ before, after, ...rest }) => ({
    ...rest,
    ...(after && { before: after }),
    ...(before && { after: before }),
  }))
}
