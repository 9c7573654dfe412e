/**
 * What the agent remembers: one `level` in the home, opened by the agent's process alone and shared by its worker
 * threads. Rows are JSON in named tables; writes reach the disk before they are reported, unless told otherwise.
 */
import { mkdir } from 'node:fs/promises'
import type { AbstractSublevel } from 'abstract-level'
import { FluidError } from '../protocol/errors.ts'
import type { StateLevel } from '../transfer/chunk-index.ts'
import { openStateLevel } from '../transfer/state-level.ts'

const TABLES = [
  'peers',
  'grants',
  'tickets',
  'pending',
  'seeds',
  'jobs',
  'offers',
  'relocations',
  'arrivals',
  'relayed',
] as const
export type TableName = (typeof TABLES)[number]

/** One change of a batch; made by a table's putOp() and delOp(). */
export type WriteOp =
  | { readonly type: 'put'; readonly sublevel: Rows<unknown>; readonly key: string; readonly value: unknown }
  | { readonly type: 'del'; readonly sublevel: Rows<unknown>; readonly key: string }

type Rows<T> = AbstractSublevel<StateLevel, string | Buffer | Uint8Array, string, T>

/** Rows of one kind, by key. Reads throw STATE_DAMAGED when a row is not what was written. */
export interface Table<T> {
  /** Synchronous: LevelDB answers in about 10 us. */
  get(key: string): T | undefined
  put(key: string, value: T, options?: { durable?: boolean }): Promise<void>
  del(key: string, options?: { durable?: boolean }): Promise<void>
  /** Every row, by key. */
  all(): Promise<T[]>
  putOp(key: string, value: T): WriteOp
  delOp(key: string): WriteOp
}

export interface StateStore extends AsyncDisposable {
  /** The database itself, for sublevels with other encodings; owned by the store. */
  readonly level: StateLevel
  /** The table called `name`; its rows are T by the caller's word. */
  table<T>(name: TableName): Table<T>
  /** All changes or none, in the order of the calls; on disk when it resolves, unless `durable` is false. Throws NO_SPACE. */
  write(changes: readonly WriteOp[], options?: { durable?: boolean }): Promise<void>
}

/** Opens, or creates, the database at `path`. Nothing is repaired in silence. Throws STATE_LOCKED, STATE_DAMAGED, NO_SPACE. */
export async function openStateStore(path: string): Promise<StateStore> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  const level = await openStateLevel(path).catch((error: unknown) => {
    throw openingError(path, error)
  })
  const sublevels = new Map<TableName, Rows<unknown>>()
  try {
    for (const name of TABLES) {
      const rows = level.sublevel<string, unknown>(name, { valueEncoding: 'json' })
      // Until it is open it cannot be read synchronously.
      await rows.open()
      sublevels.set(name, rows)
    }
  } catch (error) {
    await level.close()
    throw openingError(path, error)
  }
  let last: Promise<void> = Promise.resolve()
  const write: StateStore['write'] = (changes, { durable = true } = {}) => {
    const turn = last.then(() => level.batch([...changes], { sync: durable }))
    last = turn.catch(() => {})
    return turn
  }
  return {
    level,
    write,
    table: <T>(name: TableName) => createTable<T>(sublevels.get(name) as Rows<T>, write),
    [Symbol.asyncDispose]: async () => {
      await last
      await level.close()
    },
  }
}

function createTable<T>(rows: Rows<T>, write: StateStore['write']): Table<T> {
  const sublevel = rows as Rows<unknown>
  const putOp = (key: string, value: T): WriteOp => ({ type: 'put', sublevel, key, value })
  const delOp = (key: string): WriteOp => ({ type: 'del', sublevel, key })
  return {
    get: (key) => {
      try {
        return rows.getSync(key)
      } catch (error) {
        throw readingError(error)
      }
    },
    all: () =>
      rows
        .values()
        .all()
        .catch((error) => {
          throw readingError(error)
        }),
    put: (key, value, options) => write([putOp(key, value)], options),
    del: (key, options) => write([delOp(key)], options),
    putOp,
    delOp,
  }
}

function openingError(path: string, error: unknown): FluidError {
  if (error instanceof FluidError) return error
  const cause = (error as Error).cause as { code?: string; message?: string } | undefined
  if (cause?.code === 'LEVEL_LOCKED') {
    return new FluidError('STATE_LOCKED', `${path} is in use by another agent`, { cause: error })
  }
  return new FluidError('STATE_DAMAGED', `Opening ${path} failed: ${cause?.message ?? String(error)}`, {
    cause: error,
  })
}

function readingError(error: unknown): unknown {
  const { code } = error as { code?: string }
  if (code !== 'LEVEL_DECODE_ERROR' && code !== 'LEVEL_CORRUPTION' && code !== 'LEVEL_IO_ERROR') return error
  return new FluidError('STATE_DAMAGED', 'A row of the state cannot be read', { cause: error })
}
