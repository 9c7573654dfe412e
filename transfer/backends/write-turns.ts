/**
 * Writes large pieces outside the calling thread where cores are to spare, one at a time for each file.
 *
 * Outside, because half of what a receiving lane costs is the kernel's copy into the page cache: meanwhile its thread
 * decrypts and digests the next frame. One at a time, because the kernel lets one writer into a file: two of them
 * only spin on its lock. Threads still meet, up to four, where cores have nothing better to do.
 *
 * On FEW_CORES a thread writes by itself as long as the disk is prompt. A piece handed over wakes two threads, and the kernel
 * often has one of them wait behind a busy core while the other core is idle: on two cores that was 14 % of the processor time.
 * With both ends on one machine, a move took 8 to 11 % less time for it on three, four and six cores too, and 3 % less on eight.
 */
import { availableParallelism } from 'node:os'
import { openFileTurns } from './file-turns.ts'
import { writeFully, writeFullyOutside } from './positional-io.ts'
import { Promptness } from './promptness.ts'

/** So many are few: every one has a receiving lane that does all of its work, see lane-pool.ts. */
export const FEW_CORES = 6

/** Below this the way to another thread and back costs more than the write. */
const OUTSIDE_WRITE_BYTES = 16 * 1024

/** The turns of one open descriptor. */
export interface WriteTurns {
  /** Writes all of `bytes`, at once or when its turn comes; they are not to change before. Throws NO_SPACE or TARGET_WRITE. */
  write(bytes: Uint8Array, offset: number): void | Promise<void>
  /** Resolves when nothing is under way: only then may the descriptor be closed. */
  idle(): Promise<void>
}

/** Turns of `fd`, shared with every other descriptor of the same file in this thread. */
export function openWriteTurns(
  fd: number,
  { cores = availableParallelism(), promptness = new Promptness() } = {},
): WriteTurns {
  const turns = openFileTurns(fd, 'write')
  const few = cores <= FEW_CORES
  return {
    write(bytes, offset) {
      if (bytes.length < OUTSIDE_WRITE_BYTES) return writeFully(fd, bytes, offset)
      if (few && promptness.prompt && !turns.taken) return promptness.run(() => writeFully(fd, bytes, offset))
      return turns.take(() => promptness.watch(() => writeFullyOutside(fd, bytes, offset)))
    },
    idle: turns.idle,
  }
}
