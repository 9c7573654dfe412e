/** The mesh node's persistent address book: a `level` of its own in the home, which can be lost without harm. */
import { LevelDatastore } from 'datastore-level'
import { Level } from 'level'
import { FluidError } from '../protocol/errors.ts'

export type AddressBook = LevelDatastore & AsyncDisposable

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
  const book = new LevelDatastore(level)
  return Object.assign(book, { [Symbol.asyncDispose]: () => book.close() })
}
