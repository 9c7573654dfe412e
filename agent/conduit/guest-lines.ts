/** Small text files of a guest, read so that nothing in them can hurt: too large, no file, or no text is as if absent. */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_GUEST_TEXT_BYTES } from '../../protocol/limits.ts'
import type { GuestFiles } from '../../transfer/guest-files.ts'

/** The text of a file; undefined when there is none that could be read as text. */
export async function textOf(guest: GuestFiles, path: string): Promise<string | undefined> {
  const bytes = await orNothing(guest.read(path, { maxBytes: MAX_GUEST_TEXT_BYTES }))
  if (!bytes || bytes.includes(0)) return undefined
  return Buffer.from(bytes).toString('utf8')
}

/** The first line that is not empty. */
export async function firstLineOf(guest: GuestFiles, path: string): Promise<string | undefined> {
  return (await textOf(guest, path))
    ?.split('\n')
    .map((line) => line.trim())
    .find((line) => line !== '')
}

/** Names in a folder; none when it cannot be read. */
export async function namesIn(guest: GuestFiles, path: string): Promise<string[]> {
  return (await orNothing(guest.list(path))) ?? []
}

export async function isThere(guest: GuestFiles, path: string): Promise<boolean> {
  return (await orNothing(guest.entry(path))) !== undefined
}

/** What a guest cannot show is not there; what keeps us from reading it at all is an error. */
export async function orNothing<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (
      error instanceof FluidError &&
      (error.code === 'GUEST_UNSUPPORTED' || error.code === 'LIMIT_EXCEEDED')
    )
      return undefined
    throw error
  }
}
