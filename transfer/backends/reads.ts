/**
 * Reads an open file or block device: in the calling thread while its disk is prompt, else by Node's threads, one call at a
 * time for each file.
 */
import { openFileTurns } from './file-turns.ts'
import { readBack, readBackOutside, readFully, readFullyOutside } from './positional-io.ts'
import { Promptness } from './promptness.ts'

/** The reads of one open descriptor. */
export interface Reads {
  /** Fills `target` from `offset`, at once or when its turn comes: not to be used before. */
  read(target: Uint8Array, offset: number): void | Promise<void>
  /** Resolves when nothing is under way: only then may the descriptor be closed. */
  idle(): Promise<void>
}

/**
 * Reads of `fd`, which `path` names in errors: of a source SOURCE_READ, or SOURCE_CHANGED at an early end; of a target, which is
 * read back, TARGET_WRITE.
 */
export function openReads(
  fd: number,
  path: string,
  of: 'source' | 'target',
  promptness = new Promptness(),
): Reads {
  const turns = openFileTurns(fd, 'read')
  const [here, outside] = of === 'source' ? [readFully, readFullyOutside] : [readBack, readBackOutside]
  return {
    read(target, offset) {
      if (promptness.prompt) return promptness.run(() => here(fd, target, offset, path))
      return turns.take(() => promptness.watch(() => outside(fd, target, offset, path)))
    },
    idle: turns.idle,
  }
}
