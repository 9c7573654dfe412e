/**
 * Leaves the page cache as it was found: what one descriptor reads, and nobody had there before, is forgotten once it is read.
 *
 * A volume of terabytes would otherwise drive out what others need. It is cheaper as well: pages that were just given back are
 * the next ones taken, and are at hand. On a virtual machine whose free pages go back to the host, 4 GiB read through the cache
 * took 7.4 s of processor time, and 0.4 s so.
 */
import { WINDOW_BYTES } from '../../protocol/limits.ts'
import { adviseDontNeed, cachedAt } from '../linux.ts'

/** Looked at together, before the system reads ahead of us into them. */
const REGION_BYTES = 256 * WINDOW_BYTES
/** Looked at in each window. */
const SAMPLES = 4

/** Of one open descriptor, whose reads go forward, window by window. */
export interface ReadBehind {
  /** Bytes from `offset` on are read next; of the window before, nothing is read any more. */
  goTo(offset: number): void
  /** Nothing more is read. */
  end(): void
}

export function openReadBehind(fd: number): ReadBehind {
  let window = -1
  let wasCached = true
  let region = -1
  let samples: readonly boolean[] = []

  function isCached(start: number): boolean {
    const its = Math.floor(start / REGION_BYTES)
    if (its !== region) samples = cachedAt(fd, its * REGION_BYTES, REGION_BYTES, WINDOW_BYTES / SAMPLES)
    region = its
    const first = ((start % REGION_BYTES) / WINDOW_BYTES) * SAMPLES
    return samples.slice(first, first + SAMPLES).includes(true)
  }

  function leave(): void {
    if (!wasCached) adviseDontNeed(fd, window * WINDOW_BYTES, WINDOW_BYTES)
    wasCached = true
  }

  return {
    goTo(offset) {
      const next = Math.floor(offset / WINDOW_BYTES)
      if (next === window) return
      leave()
      window = next
      wasCached = isCached(next * WINDOW_BYTES)
    },
    end: leave,
  }
}
