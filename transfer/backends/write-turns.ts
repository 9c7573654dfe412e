/**
 * Writes large pieces outside the calling thread, one at a time for each file.
 *
 * Outside, because half of what a receiving lane costs is the kernel's copy into the page cache: meanwhile its thread
 * decrypts and digests the next frame. One at a time, because the kernel lets one writer into a file: two of them
 * only spin on its lock. Turns are kept in each thread for itself, so that no lock is needed here; threads still meet, up to
 * four, where cores have nothing better to do.
 */
import { fstatSync, write } from 'node:fs'
import { targetWriteError } from './bounds.ts'

/** Below this the way to another thread and back costs more than the write. */
export const OUTSIDE_WRITE_BYTES = 16 * 1024

/** The turns of one open descriptor. */
export interface WriteTurns {
  /** Writes all of `bytes` when its turn comes; they are not to change before. Throws NO_SPACE or TARGET_WRITE. */
  write(bytes: Uint8Array, offset: number): Promise<void>
  /** Resolves when nothing is under way: only then may the descriptor be closed. */
  idle(): Promise<void>
}

/** The end of the last turn of each file, in this thread. */
const last = new Map<string, Promise<void>>()

/** Turns of `fd`, shared with every other descriptor of the same file in this thread. */
export function openWriteTurns(fd: number): WriteTurns {
  const { dev, ino } = fstatSync(fd, { bigint: true })
  const file = `${dev}:${ino}`
  let mine: Promise<void> = Promise.resolve()
  return {
    write(bytes, offset) {
      const done = (last.get(file) ?? Promise.resolve()).then(() => writeAll(fd, bytes, offset))
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

async function writeAll(fd: number, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    try {
      done += await writeOnce(fd, bytes, done, offset + done)
    } catch (error) {
      throw targetWriteError(error, offset + done)
    }
  }
}

function writeOnce(fd: number, bytes: Uint8Array, from: number, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, from, bytes.length - from, offset, (error, written) => {
      if (error) reject(error)
      else resolve(written)
    })
  })
}
