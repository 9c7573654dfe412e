/**
 * A guest's files in memory: for tests, and for trying Migrators out without a disk. Links, folders, owners and modes as
 * a file system has them; nothing else of one.
 */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_GUEST_FILE_BYTES, MAX_GUEST_LINKS } from '../../protocol/limits.ts'
import type { GuestEntry, WritableGuestFiles } from '../guest-files.ts'
import { pathParts } from './guest-path.ts'

interface Owned {
  mode: number
  uid: number
  gid: number
}
interface File extends Owned {
  readonly kind: 'file'
  bytes: Uint8Array
}
interface Folder extends Owned {
  readonly kind: 'directory'
  readonly names: Map<string, Node>
}
interface Link extends Owned {
  readonly kind: 'link'
  readonly linksTo: string
}
type Node = File | Folder | Link

/** What lies at a path: content, or more about it. */
export type GuestContent =
  | string
  | Uint8Array
  | {
      readonly content: string | Uint8Array
      readonly mode?: number
      readonly uid?: number
      readonly gid?: number
    }
  | { readonly linksTo: string }
  | { readonly folder: true; readonly mode?: number }

export interface MemoryGuest extends WritableGuestFiles {
  /** Every file's text by path, links left out; for comparing. */
  texts(): Record<string, string>
}

/** A guest with what `contents` names, and the folders above. */
export function memoryGuest(contents: Readonly<Record<string, GuestContent>> = {}): MemoryGuest {
  const root = folder()
  for (const [path, content] of Object.entries(contents)) put(root, path, content)

  return {
    async entry(path) {
      const { node } = walk(root, path, false)
      return node && entryOf(node)
    },
    async read(path, { maxBytes = MAX_GUEST_FILE_BYTES } = {}) {
      const { node } = walk(root, path, true)
      if (!node) return undefined
      const { bytes } = asFile(node, path)
      if (bytes.length > maxBytes)
        throw new FluidError('LIMIT_EXCEEDED', `${path} has ${bytes.length} bytes, more than ${maxBytes}`)
      return Uint8Array.from(bytes)
    },
    async list(path) {
      const { node } = walk(root, path, true)
      if (!node) return []
      if (node.kind !== 'directory') throw new FluidError('GUEST_UNSUPPORTED', `${path} is not a folder`)
      return [...node.names.keys()].toSorted()
    },
    async write(path, bytes, { mode, uid, gid } = {}) {
      const found = walk(root, path, true)
      const existing = found.node && asFile(found.node, path)
      const to = existing ?? found.make({ kind: 'file', bytes, mode: 0o644, uid: 0, gid: 0 })
      to.bytes = Uint8Array.from(bytes)
      to.mode = mode ?? to.mode
      to.uid = uid ?? to.uid
      to.gid = gid ?? to.gid
    },
    async remove(path) {
      const { node, unlink } = walk(root, path, false)
      if (node?.kind === 'directory') throw new FluidError('GUEST_UNSUPPORTED', `${path} is a folder`)
      unlink()
    },
    async sync() {},
    async [Symbol.asyncDispose]() {},
    texts: () => Object.fromEntries(textsUnder(root, '')),
  }
}

interface Walked {
  readonly node?: Node
  /** Puts a file there, and the folders above that are missing. */
  make(file: File): File
  unlink(): void
}

/** What lies at `path`; `follow`: where its last part leads, if that is a link. */
function walk(root: Folder, path: string, follow: boolean): Walked {
  let links = 0
  let at: Folder[] = [root]
  const parts = pathParts(path)
  while (parts.length > 0) {
    const name = parts.shift()!
    if (name === '.') continue
    if (name === '..') {
      if (at.length > 1) at.pop()
      continue
    }
    const parent = at.at(-1)!
    const node = parent.names.get(name)
    if (node?.kind === 'link' && (follow || parts.length > 0)) {
      if (++links > MAX_GUEST_LINKS)
        throw new FluidError('GUEST_UNSUPPORTED', `${path} leads through too many links`)
      if (node.linksTo.startsWith('/')) at = [root]
      parts.unshift(...node.linksTo.split('/').filter((part) => part !== ''))
      continue
    }
    if (parts.length === 0) return endAt(parent, name, [], node)
    if (node && node.kind !== 'directory') {
      if (node.kind === 'file') return nowhere(path)
      continue
    }
    if (!node) return endAt(parent, name, parts, undefined)
    at.push(node)
  }
  return { node: at.at(-1)!, make: () => refuse(path), unlink: () => refuse(path) }
}

function endAt(parent: Folder, name: string, below: readonly string[], node: Node | undefined): Walked {
  return {
    node,
    make(file) {
      const names = [name, ...below]
      let into = parent
      for (const each of names.slice(0, -1)) {
        const made = folder()
        into.names.set(each, made)
        into = made
      }
      into.names.set(names.at(-1)!, file)
      return file
    },
    unlink: () => void (below.length === 0 && parent.names.delete(name)),
  }
}

/** Below a file there is nothing, and nothing can be made. */
function nowhere(path: string): Walked {
  return { make: () => refuse(path), unlink: () => {} }
}

function refuse(path: string): never {
  throw new FluidError('GUEST_UNSUPPORTED', `${path} cannot be a file there`)
}

function asFile(node: Node, path: string): File {
  if (node.kind !== 'file') throw new FluidError('GUEST_UNSUPPORTED', `${path} is not a file`)
  return node
}

function entryOf(node: Node): GuestEntry {
  const { kind, mode, uid, gid } = node
  const sizeBytes = node.kind === 'file' ? node.bytes.length : 0
  return { kind, sizeBytes, mode, uid, gid, ...(node.kind === 'link' && { linksTo: node.linksTo }) }
}

function folder(mode = 0o755): Folder {
  return { kind: 'directory', names: new Map(), mode, uid: 0, gid: 0 }
}

function put(root: Folder, path: string, content: GuestContent): void {
  const name = pathParts(path).at(-1)!
  let parent = root
  for (const part of pathParts(path).slice(0, -1)) {
    let next = parent.names.get(part)
    if (!next) parent.names.set(part, (next = folder()))
    if (next.kind !== 'directory') throw new RangeError(`${part} in ${path} is no folder`)
    parent = next
  }
  parent.names.set(name, nodeOf(content))
}

function nodeOf(content: GuestContent): Node {
  if (typeof content === 'string' || content instanceof Uint8Array) return nodeOf({ content })
  if ('linksTo' in content) return { kind: 'link', linksTo: content.linksTo, mode: 0o777, uid: 0, gid: 0 }
  if ('folder' in content) return folder(content.mode)
  const { content: bytes, mode = 0o644, uid = 0, gid = 0 } = content
  return { kind: 'file', bytes: Uint8Array.from(Buffer.from(bytes)), mode, uid, gid }
}

function* textsUnder({ names }: Folder, above: string): Generator<[string, string]> {
  for (const [name, node] of [...names].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (node.kind === 'file') yield [`${above}/${name}`, Buffer.from(node.bytes).toString()]
    if (node.kind === 'directory') yield* textsUnder(node, `${above}/${name}`)
  }
}
