/** Has what was written to a file or block device reach its disk. */
import { fdatasync } from 'node:fs'
import { promisify } from 'node:util'
import type { FluidError } from '../../protocol/errors.ts'
import { adviseDontNeed } from '../linux.ts'
import { targetSyncError } from './bounds.ts'

const fdatasyncOf = promisify(fdatasync)

/** The syncs of one open descriptor. */
export interface Syncs {
  /**
   * Resolves when all that was written so far, by whomever, has reached the disk. When one fails, so do those that wait with it,
   * and all from then on: of a loss the system tells each descriptor once only.
   */
  sync(): Promise<void>
  /** Throws what a sync failed with: nothing more is to be written. */
  requireSound(): void
  /** Ends when nothing is under way: only then may the descriptor be closed. */
  close(): Promise<void>
}

/** Syncs of `fd`. They fail with NO_SPACE or TARGET_WRITE. */
export function openSyncs(fd: number): Syncs {
  let lost: FluidError | undefined
  /** The sync that runs, or ran last; and the one after it, of which is what is written meanwhile. */
  let last = Promise.resolve()
  let next: Promise<void> | undefined

  async function syncNow(): Promise<void> {
    next = undefined
    try {
      await fdatasyncOf(fd)
    } catch (error) {
      lost = targetSyncError(error)
      // The pages that did not reach the disk are marked clean: drop them, so that a read tells what is really there.
      adviseDontNeed(fd, 0, 0)
      throw lost
    }
  }

  return {
    sync() {
      // One at a time: of several the system would tell one.
      next ??= last = last.then(syncNow)
      return next
    },
    requireSound() {
      if (lost) throw lost
    },
    async close() {
      await last.catch(() => {}) // Heard of by whoever asked for it.
    },
  }
}
