/**
 * Turns for what Node's threads do with a file: one call at a time for each file and kind of call. Kept in each thread for
 * itself, so that no lock is needed.
 */
import { fstatSync } from 'node:fs'

/** The turns of one open descriptor. */
export interface FileTurns {
  /** A call of this or another descriptor of the file waits or is under way. */
  readonly taken: boolean
  /** Calls `work` when those before it have ended, and ends with it. */
  take(work: () => Promise<void>): Promise<void>
  /** Resolves when nothing of this descriptor is under way: only then may it be closed. */
  idle(): Promise<void>
}

/** The end of the last turn of each file and kind, in this thread. */
const last = new Map<string, Promise<void>>()

/** Turns of `fd`, shared with every other descriptor of the same file in this thread. */
export function openFileTurns(fd: number, kind: 'read' | 'write'): FileTurns {
  const { dev, ino } = fstatSync(fd, { bigint: true })
  const file = `${kind}:${dev}:${ino}`
  let mine: Promise<void> = Promise.resolve()
  return {
    get taken() {
      return last.has(file)
    },
    take(work) {
      const done = (last.get(file) ?? Promise.resolve()).then(work)
      const ended = done.catch(() => {})
      last.set(file, ended)
      mine = ended.then(() => {
        if (last.get(file) === ended) last.delete(file)
      })
      return done
    },
    idle: () => mine,
  }
}
