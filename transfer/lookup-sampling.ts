/**
 * Which chunks of a window are looked up in the index: all, until many in a row were not found; from then on a few of each
 * window, and the others where one of these is found. Chunks that are known lie side by side, in files and in older
 * versions, so few are missed, and those only travel again. Data that is new costs an eighth of the lookups.
 */

/** Chunks in a row, 32 MiB or so, behind which an index that knew none of them is asked less. */
export const TRIAL_CHUNKS = 512
/** One in so many is looked up then. */
export const SAMPLE_EVERY = 8

export interface LookupSampling<Found> {
  /** What `find` tells of those of `entries`, of one window, that are looked up and known. */
  among(entries: readonly number[], find: (entry: number) => Found | undefined): Map<number, Found>
}

/** Of one lane. */
export function createLookupSampling<Found>(): LookupSampling<Found> {
  let missesInRow = 0

  return {
    among(entries, find) {
      const known = new Map<number, Found>()
      const look = (entry: number): void => {
        const found = find(entry)
        if (found === undefined) {
          missesInRow++
          return
        }
        missesInRow = 0
        known.set(entry, found)
      }
      const every = missesInRow < TRIAL_CHUNKS ? 1 : SAMPLE_EVERY
      for (let i = 0; i < entries.length; i += every) look(entries[i])
      if (every > 1 && known.size > 0)
        for (const [i, entry] of entries.entries()) if (i % every !== 0) look(entry)
      return known
    },
  }
}
