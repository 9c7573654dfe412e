/** Writes to an open file or block device: past the page cache what can go there, else in turns through it. */
import { adviseDontNeed } from '../linux.ts'
import { openDirectWrites, writesDirectly } from './direct-writes.ts'
import { openWriteTurns } from './write-turns.ts'

/** The writes of one open descriptor. */
export interface Writes {
  /** Writes all of `bytes`, at once or later; they are not to change before. Throws NO_SPACE or TARGET_WRITE. */
  write(bytes: Uint8Array, offset: number): void | Promise<void>
  /** See Sink. */
  forgetCached(): void
  /** Ends when nothing is under way: only then may the descriptor be closed. */
  close(): Promise<void>
}

/** Writes of `fd`, beside those of every other descriptor of the same file. */
export function openWrites(fd: number): Writes {
  const direct = openDirectWrites(fd)
  const turns = openWriteTurns(fd)
  return {
    write: (bytes, offset) => direct.write(bytes, offset) ?? turns.write(bytes, offset),
    forgetCached() {
      if (writesDirectly(fd)) adviseDontNeed(fd, 0, 0)
    },
    async close() {
      await Promise.all([direct.idle(), turns.idle()])
      direct.close()
    },
  }
}
