/**
 * The mesh node's persistent address book: a `level` of its own in the home, which can be lost without harm. It is small
 * and read all the time, so it is held in memory, and what changes is written behind.
 */
import { LevelDatastore } from 'datastore-level'
import { Level } from 'level'
import { FluidError } from '../../protocol/errors.ts'
import { override } from './override.ts'

export type AddressBook = LevelDatastore & AsyncDisposable

type Key = Parameters<LevelDatastore['put']>[0]

/** Opens, or creates, the book at `path`. Throws STATE_LOCKED, STATE_DAMAGED. */
export async function openAddressBook(path: string): Promise<AddressBook> {
  const level = new Level<string, Uint8Array>(path, { keyEncoding: 'utf8', valueEncoding: 'view' })
  try {
    await level.open()
  } catch (error) {
    const cause = (error as Error).cause as { code?: string; message?: string } | undefined
    if (cause?.code === 'LEVEL_LOCKED') {
      throw new FluidError('STATE_LOCKED', `${path} is in use by another agent`, { cause: error })
    }
    throw new FluidError('STATE_DAMAGED', `Opening ${path} failed: ${cause?.message ?? String(error)}`, {
      cause: error,
      hint: `Only addresses of peers are kept there: remove ${path} and start again`,
    })
  }
  return heldInMemory(new LevelDatastore(level), level)
}

async function heldInMemory(book: LevelDatastore, level: Level<string, Uint8Array>): Promise<AddressBook> {
  const held = new Map<string, Uint8Array>(await level.iterator().all())
  /** What is not written yet; undefined: removed. */
  let changed = new Map<string, Uint8Array | undefined>()
  let writing: Promise<void> | undefined

  function change(key: string, value: Uint8Array | undefined): void {
    if (value) held.set(key, value)
    else held.delete(key)
    changed.set(key, value)
    writing ??= write().finally(() => (writing = undefined))
  }

  /** Writes until nothing is left, one batch at a time. What cannot be written is learned again. */
  async function write(): Promise<void> {
    while (changed.size > 0) {
      const batch = [...changed].map(([key, value]) =>
        value ? ({ type: 'put', key, value } as const) : ({ type: 'del', key } as const),
      )
      changed = new Map()
      await level.batch(batch).catch(() => {})
    }
  }

  const replaced = {
    get: (key: Key) => {
      const value = held.get(key.toString())
      if (!value) throw Object.assign(new Error(`No ${key.toString()}`), { name: 'NotFoundError' })
      return value
    },
    has: (key: Key) => held.has(key.toString()),
    put: (key: Key, value: Uint8Array) => {
      change(key.toString(), value)
      return key
    },
    delete: (key: Key) => change(key.toString(), undefined),
    async *query(...asked: Parameters<LevelDatastore['query']>) {
      await writing
      yield* book.query(...asked)
    },
    async [Symbol.asyncDispose]() {
      await writing
      await book.close()
    },
  }
  return override(book as AddressBook, replaced)
}
