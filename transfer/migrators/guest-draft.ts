/**
 * A guest as it will be: its files with changes laid over them, which nothing has written yet. What a draft tells is what
 * was asked for first against what it would be at last, one change a file, however often it was edited between.
 */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_GUEST_CHANGE_BYTES, MAX_GUEST_FILE_BYTES, MAX_GUEST_LINKS } from '../../protocol/limits.ts'
import type { FileChange, GuestEntry, GuestFiles } from '../guest-files.ts'
import { pathParts } from './guest-path.ts'
import { sameBytes } from './same-bytes.ts'

/** What goes with new content. */
export type DraftOptions = Pick<FileChange, 'mode' | 'uid' | 'gid' | 'secret' | 'note'>

export interface GuestDraft extends GuestFiles {
  /**
   * Lays new content over a file; undefined removes it. Throws LIMIT_EXCEEDED when one file or all together become
   * too large, GUEST_UNSUPPORTED where no file can be, or when a link would be removed.
   */
  set(path: string, after: Uint8Array | undefined, options?: DraftOptions): Promise<void>
  /** In the order of first edits; what is again as it was is left out. Paths lead through no link. */
  changes(): FileChange[]
}

/** A draft over `guest`, which stays its owner's to close. */
export function draftOver(guest: GuestFiles): GuestDraft {
  const laid = new Map<string, FileChange>()
  const known = new Map<string, Promise<GuestEntry | undefined>>()

  const entryBelow = async (path: string): Promise<GuestEntry | undefined> => {
    const asked = known.get(path) ?? guest.entry(path)
    known.set(path, asked)
    return asked
  }

  /** `path` without links: as far as there are any, those of the guest. With `last` false, its last part may be one. */
  const realPath = async (path: string, last = true): Promise<string> => {
    const parts = pathParts(path)
    let real: string[] = []
    let links = 0
    while (parts.length > 0) {
      const part = parts.shift()!
      if (part === '..') real.pop()
      if (part === '..' || part === '.') continue
      const at = `/${[...real, part].join('/')}`
      const entry = laid.has(at) ? undefined : await entryBelow(at)
      if (entry?.kind !== 'link' || entry.linksTo === undefined || (!last && parts.length === 0)) {
        real.push(part)
        continue
      }
      if (++links > MAX_GUEST_LINKS)
        throw new FluidError('GUEST_UNSUPPORTED', `${path} leads through too many links`)
      if (entry.linksTo.startsWith('/')) real = []
      parts.unshift(...entry.linksTo.split('/').filter((name) => name !== ''))
    }
    return `/${real.join('/')}`
  }

  const isFolderOfDraft = (path: string): boolean =>
    [...laid.values()].some((change) => change.after !== undefined && change.path.startsWith(`${path}/`))

  return {
    async entry(path) {
      const real = await realPath(path, false)
      const change = laid.get(real)
      if (change) return change.after && entryOf(change, await entryBelow(real))
      const entry = await entryBelow(real)
      if (!entry && isFolderOfDraft(real))
        return { kind: 'directory', sizeBytes: 0, mode: 0o755, uid: 0, gid: 0 }
      return entry
    },

    async read(path, options = {}) {
      const change = laid.get(await realPath(path))
      if (!change) return guest.read(path, options)
      const { maxBytes = MAX_GUEST_FILE_BYTES } = options
      if (change.after && change.after.length > maxBytes)
        throw new FluidError(
          'LIMIT_EXCEEDED',
          `${path} has ${change.after.length} bytes, more than ${maxBytes}`,
        )
      return change.after && Uint8Array.from(change.after)
    },

    async list(path) {
      const real = await realPath(path)
      const names = new Set(await guest.list(path))
      const prefix = real === '/' ? '/' : `${real}/`
      for (const change of laid.values()) {
        if (!change.path.startsWith(prefix)) continue
        const [name, ...below] = change.path.slice(prefix.length).split('/')
        if (change.after) names.add(name)
        else if (below.length === 0) names.delete(name)
      }
      return [...names].toSorted()
    },

    async set(path, after, options = {}) {
      if (after === undefined && (await entryBelow(await realPath(path, false)))?.kind === 'link')
        throw new FluidError('GUEST_UNSUPPORTED', `${path} is a link, which is not removed`)
      const real = await realPath(path)
      const earlier = laid.get(real)
      const entry = await entryBelow(real)
      if ((entry && entry.kind !== 'file') || isFolderOfDraft(real))
        throw new FluidError('GUEST_UNSUPPORTED', `${path} is no file`)
      const before = earlier ? earlier.before : await guest.read(real)
      // Of a file that goes, owner and mode are kept for who puts it back.
      const kept = entry && { mode: entry.mode, uid: entry.uid, gid: entry.gid }
      const { mode, uid, gid } = { ...earlier, ...defined(options), ...kept }
      const notes = [earlier?.note, options.note].filter((note) => note !== undefined)
      const change: FileChange = {
        path: real,
        ...(before && { before }),
        ...(after && { after: Uint8Array.from(after) }),
        ...defined({ mode, uid, gid }),
        ...((earlier?.secret || options.secret) && { secret: true }),
        ...(notes.length > 0 && { note: [...new Set(notes)].join('\n') }),
      }
      checkSizes(
        change,
        [...laid.values()].filter((other) => other.path !== real),
      )
      laid.set(real, change)
    },

    changes: () => [...laid.values()].filter(({ before, after }) => !sameBytes(before, after)),
    async [Symbol.asyncDispose]() {},
  }
}

function checkSizes(change: FileChange, others: readonly FileChange[]): void {
  const { path, after } = change
  if (after && after.length > MAX_GUEST_FILE_BYTES)
    throw new FluidError(
      'LIMIT_EXCEEDED',
      `${path} would have ${after.length} bytes, more than ${MAX_GUEST_FILE_BYTES}`,
    )
  const all = [change, ...others].reduce(
    (sum, each) => sum + (each.before?.length ?? 0) + (each.after?.length ?? 0),
    0,
  )
  if (all > MAX_GUEST_CHANGE_BYTES)
    throw new FluidError(
      'LIMIT_EXCEEDED',
      `All changes of a guest are ${all} bytes, more than ${MAX_GUEST_CHANGE_BYTES}`,
    )
}

function entryOf(change: FileChange, existing: GuestEntry | undefined): GuestEntry {
  const { mode = 0o644, uid = 0, gid = 0 } = existing ?? change
  return { kind: 'file', sizeBytes: change.after!.length, mode, uid, gid }
}

function defined<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>
}
