/**
 * Digest -> where a chunk was last seen on this machine, in level. It survives restarts and is only ever a hint:
 * whoever uses an answer reads the place again and compares the digest, so a stale entry costs a re-send, never a
 * wrong byte.
 *
 * Entries live in scopes. A peer's chunks are found only through the scope of its own grant or through SEED_SCOPE,
 * which the operator made public by registering the folder; so nobody can ask whether another tenant holds a chunk.
 * A key is scope (8 bytes) + the first 16 bytes of the digest; a value is file number (u32 LE) + offset (u64 LE).
 *
 * Keys are in two ranges. LevelDB charges a read that has to look into several files to the first of them, and merges a file
 * that was charged a hundred times or so into those below. Reads of what is not known all do, and what was added
 * lately overlaps everything, since digests are random: so each job had a large index rewritten (157 MB of 470 for 1 GiB that
 * moved). Hence most entries lie in a range of their own, below all other keys of the database and merged into one file a
 * key, where no read is charged; what is added goes into another, and over by settle() when it is many.
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
const RECENT_PREFIX = 'ix'
/** Before all other keys: no file that holds some of these spans it. */
const SETTLED_PREFIX = '\x01x'
const INDEX_PREFIX_BYTES = 2
const FILE_PREFIX = 'if'
/** Recent entries settle when they take more of the disk than this, and than this share of those that are settled. */
const SETTLE_BYTES = 16 * 1024 * 1024
const SETTLE_SHARE = 1 / 16
/** Moved in one write, which takes some 10 ms of the thread. */
const SETTLE_ENTRIES = 4096

const [START_OF_RECENT, END_OF_RECENT] = rangeOf(RECENT_PREFIX)
const [START_OF_SETTLED, END_OF_SETTLED] = rangeOf(SETTLED_PREFIX)

/** The first key that may have this prefix, and the first behind it that cannot. */
function rangeOf(prefix: string): [from: Buffer, to: Buffer] {
  const [from, to] = [Buffer.from(prefix, 'latin1'), Buffer.from(prefix, 'latin1')]
  to[to.length - 1]++
  return [from, to]
}

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
  /** Forgets locations that proved stale, of the digests at these positions. */
  forget(scope: Scope, digests: Uint8Array, positions: readonly number[]): Promise<void>
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
  /** Has lookups stay cheap where much was added: call it after that, now and then. True when there was something to do. */
  settle(options?: SettleOptions): Promise<boolean>
}

/** See SETTLE_BYTES and SETTLE_SHARE. */
export interface SettleOptions {
  readonly bytes?: number
  /** Leaves the rest for the next time. */
  readonly signal?: AbortSignal
}

/** The index inside `db`; several threads may each open their own over the same database. */
export function openChunkIndex(db: StateLevel): ChunkIndex {
  const keyOf = (prefix: string, scope: Scope, digests: Uint8Array, at: number) => {
    const key = Buffer.allocUnsafe(INDEX_PREFIX_BYTES + SCOPE_BYTES + PREFIX_BYTES)
    key.write(prefix, 0, 'latin1')
    key.write(scope, INDEX_PREFIX_BYTES, 'hex')
    key.set(digests.subarray(at, at + PREFIX_BYTES), INDEX_PREFIX_BYTES + SCOPE_BYTES)
    return key
  }
  const bounds = (prefix: string, scope: Scope) => ({
    gte: Buffer.concat([Buffer.from(prefix, 'latin1'), Buffer.from(scope, 'hex')]),
    lte: Buffer.concat([
      Buffer.from(prefix, 'latin1'),
      Buffer.from(scope, 'hex'),
      Buffer.alloc(PREFIX_BYTES, 0xff),
    ]),
  })
  const fileKey = (file: number) => Buffer.from(`${FILE_PREFIX}n${String(file).padStart(10, '0')}`)
  const stampKey = (scope: Scope, path: string) => Buffer.from(`${FILE_PREFIX}s${scope}${path}`)
  const pathKey = (path: string) => Buffer.from(`${FILE_PREFIX}p${path}`)

  /** Two keys for all that find() asks, since the answer comes before it returns. */
  const [askedRecent, askedSettled] = [RECENT_PREFIX, SETTLED_PREFIX].map((prefix) =>
    Buffer.from(prefix.padEnd(INDEX_PREFIX_BYTES + SCOPE_BYTES + PREFIX_BYTES, '\0'), 'latin1'),
  )
  let askedScope: Scope | undefined

  /** Writes of entries, one after the other: what is added while others settle is not taken for older than it is. */
  let lastWrite: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(write: () => Promise<T>): Promise<T> => {
    const turn = lastWrite.then(write)
    lastWrite = turn.catch(() => {})
    return turn
  }

  /** Moves some of the recent entries behind `after`; gives the last of them. */
  const settleSome = async (after: Uint8Array): Promise<Uint8Array | undefined> => {
    const entries = await db.iterator({ gt: after, lt: END_OF_RECENT, limit: SETTLE_ENTRIES }).all()
    if (entries.length === 0) return undefined
    const batch = db.batch()
    for (const [key, value] of entries) {
      const settled = Buffer.from(key)
      settled.write(SETTLED_PREFIX, 0, 'latin1')
      batch.put(settled, value).del(key)
    }
    await batch.write()
    return entries.at(-1)![0]
  }

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
      for (const prefix of [SETTLED_PREFIX, RECENT_PREFIX])
        if ((await db.keys({ ...bounds(prefix, scope), limit: 1 }).all()).length > 0) return true
      return false
    },
    find(scope, digests, at) {
      if (scope !== askedScope) {
        askedScope = scope
        for (const key of [askedRecent, askedSettled]) key.write(scope, INDEX_PREFIX_BYTES, 'hex')
      }
      // Byte by byte: a view of so few costs more than they do.
      for (let i = 0, to = INDEX_PREFIX_BYTES + SCOPE_BYTES; i < PREFIX_BYTES; i++, to++)
        askedRecent[to] = askedSettled[to] = digests[at + i]
      const value = db.getSync(askedRecent) ?? db.getSync(askedSettled)
      if (value === undefined || value.length !== 12) return undefined
      const view = Buffer.from(value.buffer, value.byteOffset, 12)
      return { file: view.readUInt32LE(0), offset: Number(view.readBigUInt64LE(4)) }
    },
    async forget(scope, digests, positions) {
      const batch = db.batch()
      for (const at of positions)
        for (const prefix of [RECENT_PREFIX, SETTLED_PREFIX]) {
          const key = keyOf(prefix, scope, digests, at)
          // A deletion among those that are settled is a newer file over them: none is written without need.
          if (db.getSync(key) !== undefined) batch.del(key)
        }
      await batch.write()
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
        batch.put(keyOf(RECENT_PREFIX, scope, entryDigest(entries, i), 0), value)
      }
      await inTurn(() => batch.write())
    },
    async clear(scope) {
      for (const prefix of [RECENT_PREFIX, SETTLED_PREFIX])
        await inTurn(() => db.clear(bounds(prefix, scope)))
    },
    async settle({ bytes = SETTLE_BYTES, signal } = {}) {
      const [recentBytes, settledBytes] = await Promise.all([
        db.approximateSize(START_OF_RECENT, END_OF_RECENT),
        db.approximateSize(START_OF_SETTLED, END_OF_SETTLED),
      ])
      if (recentBytes <= Math.max(bytes, settledBytes * SETTLE_SHARE)) return false
      for (let at: Uint8Array | undefined = START_OF_RECENT; at;) {
        if (signal?.aborted) return true
        const after: Uint8Array = at
        at = await inTurn(() => settleSome(after))
      }
      await db.compactRange(START_OF_SETTLED, END_OF_SETTLED)
      await db.compactRange(START_OF_RECENT, END_OF_RECENT)
      return true
    },
  }
}

/** Sum of the chunk lengths of manifest entries, in bytes. */
export function dataBytesOf(entries: Uint8Array): number {
  let total = 0
  for (let i = 0; i < entryCount(entries); i++) total += entryLength(entries, i)
  return total
}
