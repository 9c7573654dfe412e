/**
 * Reads an open file or block device: in the calling thread while its disk is prompt, else by Node's threads, one call at a
 * time for each file.
 */
import { openFileTurns } from './file-turns.ts'
import { readBack, readBackOutside, readFully, readFullyOutside } from './positional-io.ts'
import { Promptness } from './promptness.ts'
import { openReadBehind } from './read-behind.ts'

/** The reads of one open descriptor. */
export interface Reads {
  /** Fills `target` from `offset`, at once or when its turn comes: not to be used before. */
  read(target: Uint8Array, offset: number): void | Promise<void>
  /** Ends when nothing is under way: only then may the descriptor be closed. */
  close(): Promise<void>
}

/**
 * Reads of `fd`, which `path` names in errors: of a source SOURCE_READ, or SOURCE_CHANGED at an early end; of the version
 * before, and of what the target holds, TARGET_WRITE. A source and the version before are read once, forward, and leave the page cache
 * as it was.
 */
export function openReads(
  fd: number,
  path: string,
  of: 'source' | 'former' | 'target',
  promptness = new Promptness(),
): Reads {
  const turns = openFileTurns(fd, 'read')
  const behind = of === 'target' ? undefined : openReadBehind(fd)
  const [here, outside] = of === 'source' ? [readFully, readFullyOutside] : [readBack, readBackOutside]
  return {
    read(target, offset) {
      behind?.goTo(offset)
      if (promptness.prompt) return promptness.run(() => here(fd, target, offset, path))
      return turns.take(() => promptness.watch(() => outside(fd, target, offset, path)))
    },
    async close() {
      await turns.idle()
      behind?.end()
    },
  }
}
