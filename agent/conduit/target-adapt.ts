/**
 * Changes to the disks of a machine at its target. What the Migrators would change is kept before anything is written, so
 * that a run that was cut off is done again to the same end.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FileChange, WritableGuestFiles } from '../../transfer/guest-files.ts'
import { openWritableGuest, type WritableDisk } from '../../transfer/guest/open-writable-guest.ts'
import { applyChanges, previewChanges } from '../../transfer/migrators/apply.ts'
import { showChange } from '../../transfer/migrators/show-change.ts'
import type { EditMigrator } from '../../transfer/migrator.ts'
import type { MigratorStep, PlannedMachine } from '../../protocol/relocation-message.ts'

export interface AdaptingOptions {
  /** Where what was planned is kept, for the agent alone. */
  readonly folder: string
  readonly disks: readonly WritableDisk[]
  readonly signal: AbortSignal
  migrator(step: MigratorStep): Promise<EditMigrator>
  onChange(path: string, diff: string): void
  openGuest?(disks: readonly WritableDisk[], options: { signal: AbortSignal }): Promise<WritableGuestFiles>
}

/** Runs the steps of one machine; without steps its disks are not opened. Throws what the Migrators and the guest throw. */
export async function adaptMachine(
  { machine, steps }: PlannedMachine,
  options: AdaptingOptions,
): Promise<void> {
  if (steps.length === 0) return
  const { folder, disks, signal, openGuest = openWritableGuest } = options
  await using guest = await openGuest(disks, { signal })
  const kept = join(folder, `changes-${machine.name}.json`)
  let changes = await readChanges(kept)
  if (!changes) {
    const resolved = []
    for (const step of steps) resolved.push({ migrator: await options.migrator(step), input: step.input })
    const context = { signal, machine: { name: machine.name, macs: machine.nics.map(({ mac }) => mac) } }
    changes = await previewChanges(guest, resolved, context)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeChanges(kept, changes)
  }
  signal.throwIfAborted()
  await applyChanges(guest, changes)
  for (const change of changes) options.onChange(change.path, showChange(change))
}

interface KeptChange extends Omit<FileChange, 'before' | 'after'> {
  readonly before?: string
  readonly after?: string
}

async function writeChanges(path: string, changes: readonly FileChange[]): Promise<void> {
  const kept = changes.map(({ before, after, ...rest }): KeptChange => ({
    ...rest,
    ...(before && { before: Buffer.from(before).toString('base64') }),
    ...(after && { after: Buffer.from(after).toString('base64') }),
  }))
  await writeFile(`${path}.new`, JSON.stringify(kept), { mode: 0o600, flush: true })
  await rename(`${path}.new`, path)
}

async function readChanges(path: string): Promise<FileChange[] | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  return (JSON.parse(text) as KeptChange[]).map(({ before, after, ...rest }) => ({
    ...rest,
    ...(before !== undefined && { before: Buffer.from(before, 'base64') }),
    ...(after !== undefined && { after: Buffer.from(after, 'base64') }),
  }))
}
