/**
 * Digest -> where a chunk was last seen on this machine, in level. It survives restarts and is only ever a hint:
 * whoever uses an answer reads the place again and compares the digest, so a stale entry costs a re-send, never a
 * wrong byte.
 *
 * Entries live in scopes. A peer's chunks are found only through the scope of its own grant or through SEED_SCOPE,
 * which the operator made public by registering the folder; so nobody can ask whether another tenant holds a chunk.
 * A key is scope (8 bytes) + the first 16 bytes of the digest; a value is file number (u32 LE) + offset (u64 LE).
 */
import type { ClassicLevel } from 'classic-level'
import { entryCount, entryDigest, entryLength, entryOffset } from '../protocol/manifest.ts'

/** The agent's state database; keys and values are bytes. */
export type StateLevel = ClassicLevel<Uint8Array, Uint8Array>

/** Names a set of chunks one grant may see: 16 hex digits. */
export type Scope = string

export const SEED_SCOPE: Scope = '0000000000000000'

const SCOPE_BYTES = 8
const PREFIX_BYTES = 16
const INDEX_PREFIX = 'ix'
const FILE_PREFIX = 'if'

/** Where a chunk may lie. */
export interface ChunkLocation {
  readonly file: number
  readonly offset: number
}

export interface ChunkIndex {
  /** False when the scope holds nothing, so that lookups can be spared. */
  hasAny(scope: Scope): Promise<boolean>
  /** At once, from this thread; `at` is the digest's position in `digests`. */
  find(scope: Scope, digests: Uint8Array, at: number): ChunkLocation | undefined
  /** Forgets a location that proved stale. */
  forget(scope: Scope, digests: Uint8Array, at: number): Promise<void>
  /** The path of an indexed file, unless it was forgotten. */
  pathOf(file: number): string | undefined
  /** The number under which `path` is (or becomes) known. */
  numberOf(path: string): Promise<number>
  /** What `path` was when its chunks were last indexed in `scope`, as told to setStamp(). */
  stampOf(scope: Scope, path: string): Promise<string | undefined>
  setStamp(scope: Scope, path: string, stamp: string): Promise<void>
  /** Adds all chunks of manifest entries that lie in `file` at their own offsets. */
  add(scope: Scope, file: number, entries: Uint8Array): Promise<void>
  /** Removes every chunk of `scope`. */
  clear(scope: Scope): Promise<void>
}

/** The index inside `db`; several threads may each open their own over the same database. */
export function openChunkIndex(db: StateLevel): ChunkIndex {
  const keyOf = (scope: Scope, digests: Uint8Array, at: number) => {
    const key = Buffer.allocUnsafe(2 + SCOPE_BYTES + PREFIX_BYTES)
    key.write(INDEX_PREFIX, 0, 'latin1')
    key.write(scope, 2, 'hex')
    key.set(digests.subarray(at, at + PREFIX_BYTES), 2 + SCOPE_BYTES)
    return key
  }
  const bounds = (scope: Scope) => ({
    gte: Buffer.concat([Buffer.from(INDEX_PREFIX, 'latin1'), Buffer.from(scope, 'hex')]),
    lte: Buffer.concat([
      Buffer.from(INDEX_PREFIX, 'latin1'),
      Buffer.from(scope, 'hex'),
      Buffer.alloc(PREFIX_BYTES, 0xff),
    ]),
  })
  const fileKey = (file: number) => Buffer.from(`${FILE_PREFIX}n${String(file).padStart(10, '0')}`)
  const stampKey = (scope: Scope, path: string) => Buffer.from(`${FILE_PREFIX}s${scope}${path}`)
  const pathKey = (path: string) => Buffer.from(`${FILE_PREFIX}p${path}`)

  /** One key for all that find() asks, since the answer comes before it returns. */
  const asked = Buffer.from(INDEX_PREFIX.padEnd(2 + SCOPE_BYTES + PREFIX_BYTES, '\0'), 'latin1')
  let askedScope: Scope | undefined

  let lastNumbering = Promise.resolve(0)
  const number = async (path: string): Promise<number> => {
    const known = await db.get(pathKey(path))
    if (known !== undefined) return Number(Buffer.from(known).toString())
    const [last] = await db
      .keys({ gte: fileKey(0), lte: fileKey(2 ** 32 - 1), reverse: true, limit: 1 })
      .all()
    const file = last === undefined ? 1 : Number(Buffer.from(last).toString().slice(3)) + 1
    await db.batch([
      { type: 'put', key: fileKey(file), value: Buffer.from(path) },
      { type: 'put', key: pathKey(path), value: Buffer.from(String(file)) },
    ])
    return file
  }

  return {
    async hasAny(scope) {
      return (await db.keys({ ...bounds(scope), limit: 1 }).all()).length > 0
    },
    find(scope, digests, at) {
      if (scope !== askedScope) asked.write((askedScope = scope), INDEX_PREFIX.length, 'hex')
      // Byte by byte: a view of so few costs more than they do.
      for (let i = 0; i < PREFIX_BYTES; i++) asked[INDEX_PREFIX.length + SCOPE_BYTES + i] = digests[at + i]
      const value = db.getSync(asked)
      if (value === undefined || value.length !== 12) return undefined
      const view = Buffer.from(value.buffer, value.byteOffset, 12)
      return { file: view.readUInt32LE(0), offset: Number(view.readBigUInt64LE(4)) }
    },
    async forget(scope, digests, at) {
      await db.del(keyOf(scope, digests, at))
    },
    pathOf(file) {
      const value = db.getSync(fileKey(file))
      return value === undefined ? undefined : Buffer.from(value).toString()
    },
    numberOf(path) {
      // One at a time, so that two new paths never share a number.
      const mine = lastNumbering.then(() => number(path))
      lastNumbering = mine.catch(() => 0)
      return mine
    },
    async stampOf(scope, path) {
      const stamp = await db.get(stampKey(scope, path))
      return stamp && Buffer.from(stamp).toString()
    },
    async setStamp(scope, path, stamp) {
      await db.put(stampKey(scope, path), Buffer.from(stamp))
    },
    async add(scope, file, entries) {
      const count = entryCount(entries)
      if (count === 0) return
      const batch = db.batch()
      for (let i = 0; i < count; i++) {
        const value = Buffer.allocUnsafe(12)
        value.writeUInt32LE(file, 0)
        value.writeBigUInt64LE(BigInt(entryOffset(entries, i)), 4)
        batch.put(keyOf(scope, entryDigest(entries, i), 0), value)
      }
      await batch.write()
    },
    async clear(scope) {
      await db.clear(bounds(scope))
    },
  }
}

/** Sum of the chunk lengths of manifest entries, in bytes. */
export function dataBytesOf(entries: Uint8Array): number {
  let total = 0
  for (let i = 0; i < entryCount(entries); i++) total += entryLength(entries, i)
  return total
}
