/** One tree of files over several volumes, as the guest itself would mount them. Paths and links stay inside it. */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_GUEST_FILE_BYTES, MAX_GUEST_LINKS } from '../../protocol/limits.ts'
import type { GuestEntry, GuestFiles } from '../guest-files.ts'
import { pathParts } from '../migrators/guest-path.ts'
import { EXT_ROOT, type ExtVolume } from './ext-volume.ts'
import type { ExtInode } from './ext-inode.ts'
import type { GuestVolume } from './guest-volume.ts'

/** A volume, and the folder it is seen at. */
export interface GuestMount {
  readonly path: string
  readonly volume: GuestVolume
}

/** Something that is there. */
export interface Place {
  readonly volume: GuestVolume
  readonly inode: ExtInode
  /** Without links; `/` for the top. */
  readonly path: string
}

export interface Walked {
  /** What lies at the path; undefined when something of it is missing. */
  readonly place?: Place
  /** The last folder that exists on the way, not `place` itself; undefined when there can be nothing. */
  readonly parent?: Place
  /** What is missing below `parent`; where nothing is, the name of `place`. */
  readonly names: readonly string[]
}

export interface GuestTree extends GuestFiles {
  readonly mounts: readonly GuestMount[]
  /** Goes to `path`; `follow`: where its last part leads, if that is a link. Throws GUEST_UNSUPPORTED for loops. */
  walk(path: string, follow: boolean): Promise<Walked>
}

/** Links of one path have this many parts in all. */
const MAX_STEPS = 1024
/** Folders whose entries are kept, each with at most as many. */
const MAX_FOLDERS_KEPT = 64
const MAX_ENTRIES_KEPT = 1024

/** The tree of these mounts, of which one is at `/`. Disposing it closes no source. */
export function guestTree(mounts: readonly GuestMount[]): GuestTree {
  const byPath = new Map(mounts.map((mount) => [mount.path, mount.volume]))
  const root = byPath.get('/')
  if (!root) throw new RangeError('A guest without a root')
  const lookup = createLookup()

  const walk = async (path: string, follow: boolean): Promise<Walked> => {
    const parts = pathParts(path)
    const top = await topOf(root, '/')
    let at: Place[] = [top]
    let links = 0
    let steps = 0
    while (parts.length > 0) {
      const name = parts.shift() as string
      if (++steps > MAX_STEPS) throw tooManyLinks(path)
      if (name === '.') continue
      if (name === '..') {
        if (at.length > 1) at.pop()
        continue
      }
      const parent = at.at(-1) as Place
      const child = await childOf(parent, name)
      if (child?.inode.kind === 'link' && (follow || parts.length > 0)) {
        if (++links > MAX_GUEST_LINKS) throw tooManyLinks(path)
        const target = await extOf(child.volume).target(child.inode)
        if (target.startsWith('/')) at = [top]
        parts.unshift(...target.split('/').filter((part) => part !== ''))
        continue
      }
      if (parts.length === 0) return { place: child, parent, names: [name] }
      if (!child) return { parent, names: [name, ...parts] }
      if (child.inode.kind !== 'directory') return { names: [name, ...parts] }
      at.push(child)
    }
    return { place: at.at(-1), names: [] }
  }

  const childOf = async (parent: Place, name: string): Promise<Place | undefined> => {
    const path = parent.path === '/' ? `/${name}` : `${parent.path}/${name}`
    const mounted = byPath.get(path)
    if (mounted) return topOf(mounted, path)
    const number = await lookup(parent, name)
    if (number === undefined) return undefined
    return { volume: parent.volume, inode: await extOf(parent.volume).inode(number), path }
  }

  return {
    mounts,
    walk,
    async entry(path) {
      const { place } = await walk(path, false)
      return place && entryOf(place)
    },
    async read(path, { maxBytes = MAX_GUEST_FILE_BYTES } = {}) {
      const { place } = await walk(path, true)
      if (!place) return undefined
      if (place.inode.kind !== 'file') throw new FluidError('GUEST_UNSUPPORTED', `${path} is not a file`)
      return extOf(place.volume).content(place.inode, maxBytes)
    },
    async list(path) {
      const { place } = await walk(path, true)
      if (!place) return []
      if (place.inode.kind !== 'directory')
        throw new FluidError('GUEST_UNSUPPORTED', `${path} is not a folder`)
      const entries = await extOf(place.volume).entries(place.inode)
      return entries.map(({ name }) => name).toSorted()
    },
    async [Symbol.asyncDispose]() {},
  }
}

/** The reader of a volume. Throws GUEST_UNSUPPORTED when it has none. */
export function extOf(volume: GuestVolume): ExtVolume {
  if (volume.ext) return volume.ext
  throw new FluidError('GUEST_UNSUPPORTED', `Cannot read ${volume.name} of the guest: ${volume.problem}`)
}

async function topOf(volume: GuestVolume, path: string): Promise<Place> {
  return { volume, inode: await extOf(volume).inode(EXT_ROOT), path }
}

async function entryOf({ volume, inode }: Place): Promise<GuestEntry> {
  const { kind, sizeBytes, mode, uid, gid } = inode
  if (kind !== 'link') return { kind, sizeBytes, mode, uid, gid }
  return { kind, sizeBytes, mode, uid, gid, linksTo: await extOf(volume).target(inode) }
}

function tooManyLinks(path: string): FluidError {
  return new FluidError('GUEST_UNSUPPORTED', `${path} leads through too many links`)
}

/** Finds names in folders; those of the last few small folders are kept. */
function createLookup(): (folder: Place, name: string) => Promise<number | undefined> {
  const kept = new Map<string, ReadonlyMap<string, number>>()
  return async ({ volume, inode }, name) => {
    const key = `${volume.name} ${inode.number}`
    let names = kept.get(key)
    if (!names) {
      const entries = await extOf(volume).entries(inode)
      names = new Map(entries.map((entry) => [entry.name, entry.inode]))
      if (names.size <= MAX_ENTRIES_KEPT) kept.set(key, names)
      if (kept.size > MAX_FOLDERS_KEPT) kept.delete(kept.keys().next().value as string)
    }
    return names.get(name)
  }
}
