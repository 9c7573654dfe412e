/** The agent's state database, as each of its threads opens it: one LevelDB, which they share. */
import { ClassicLevel } from 'classic-level'
import { FluidError } from '../protocol/errors.ts'
import type { StateLevel } from './chunk-index.ts'

type Method = (...args: unknown[]) => unknown

const NO_KEY = new Uint8Array(1)

/**
 * Opens the database at `path`. Throws NO_SPACE, or what LevelDB throws; so do all writes.
 *
 * LevelDB goes on behind the gap that a failed write leaves in its log, and finds nothing of what it wrote there when it is
 * opened again. So after such a write all that is in the log alone is put into a table, and a new log is begun. When that
 * fails, LevelDB refuses every write from then on, of any thread, until it is opened again.
 */
export async function openStateLevel(
  path: string,
  { createIfMissing = true }: { createIfMissing?: boolean } = {},
): Promise<StateLevel> {
  const level: StateLevel = new ClassicLevel(path, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    multithreading: true,
    createIfMissing,
  })
  const sound =
    (on: object, write: Method): Method =>
    async (...args) => {
      try {
        await write.apply(on, args)
      } catch (error) {
        if (isFailure(error)) await level.compactRange(NO_KEY, NO_KEY).catch(() => {})
        throw asNoSpace(error, path)
      }
    }
  const { put, del, clear, batch } = level as unknown as Record<string, Method>
  const write = sound(level, batch)
  Object.assign(level, {
    put: sound(level, put),
    del: sound(level, del),
    clear: sound(level, clear),
    batch: (...args: unknown[]) => {
      if (args.length > 0) return write(...args)
      const chained = batch.call(level) as { write: Method }
      return Object.assign(chained, { write: sound(chained, chained.write) })
    },
  })
  try {
    await level.open()
  } catch (error) {
    await level.close()
    const { cause } = error as Error
    throw isFailure(cause) && isFull(cause) ? asNoSpace(cause, path) : error
  }
  return level
}

function isFailure(error: unknown): error is Error {
  return (error as { code?: string } | undefined)?.code === 'LEVEL_IO_ERROR'
}

/** What the system said is in LevelDB's message alone. */
function isFull({ message }: Error): boolean {
  return /No space left on device|Disk quota exceeded/.test(message)
}

function asNoSpace(error: unknown, path: string): unknown {
  if (!isFailure(error) || !isFull(error)) return error
  return new FluidError('NO_SPACE', `There is no space for the agent's state in ${path}`, {
    cause: error,
    hint: `Free space there, then start the agent again: until then it can note nothing in ${path}`,
  })
}
