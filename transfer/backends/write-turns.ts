/**
 * Writes large pieces outside the calling thread where cores are to spare, one at a time for each file.
 *
 * Outside, because half of what a receiving lane costs is the kernel's copy into the page cache: meanwhile its thread
 * decrypts and digests the next frame. One at a time, because the kernel lets one writer into a file: two of them
 * only spin on its lock. Turns are kept in each thread for itself, so that no lock is needed here; threads still meet, up to
 * four, where cores have nothing better to do.
 *
 * On FEW_CORES a thread writes by itself. A piece handed over wakes two threads, and the kernel often has one of them
 * wait behind a busy core while the other core is idle: on two cores that was 14 % of the processor time.
 */
import { fstatSync, write } from 'node:fs'
import { availableParallelism } from 'node:os'
import { targetWriteError } from './bounds.ts'
import { writeFully } from './positional-io.ts'

/** So many are few: every one has a receiving lane that does all of its work, see lane-pool.ts. */
export const FEW_CORES = 2

/** Below this the way to another thread and back costs more than the write. */
const OUTSIDE_WRITE_BYTES = 16 * 1024

/** The turns of one open descriptor. */
export interface WriteTurns {
  /** Writes all of `bytes`, at once or when its turn comes; they are not to change before. Throws NO_SPACE or TARGET_WRITE. */
  write(bytes: Uint8Array, offset: number): void | Promise<void>
  /** Resolves when nothing is under way: only then may the descriptor be closed. */
  idle(): Promise<void>
}

/** The end of the last turn of each file, in this thread. */
const last = new Map<string, Promise<void>>()

/** Turns of `fd`, shared with every other descriptor of the same file in this thread. */
export function openWriteTurns(fd: number, cores = availableParallelism()): WriteTurns {
  const { dev, ino } = fstatSync(fd, { bigint: true })
  const file = `${dev}:${ino}`
  const outsideBytes = cores > FEW_CORES ? OUTSIDE_WRITE_BYTES : Infinity
  let mine: Promise<void> = Promise.resolve()
  return {
    write(bytes, offset) {
      if (bytes.length < outsideBytes) return writeFully(fd, bytes, offset)
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
