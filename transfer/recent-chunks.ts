/**
 * Where chunks of this stream were just written: a fixed-size table shared by all lane workers of a job.
 *
 * It is a guess, not an index: slots are overwritten on collision and threads write without locks, so a reader may see
 * an entry of another chunk. Whoever uses an answer reads the place again and compares the digest. Memory is fixed
 * when the table is made; a chunk that fell out is only sent again.
 */

/** Words of a slot: two of the digest, two of the volume offset. */
const WORDS = 4
const PROBES = 2

export interface RecentChunks {
  /** Remembers that the chunk with this digest lies at `offset` of the volume. */
  put(digests: Uint8Array, at: number, offset: number): void
  /** The volume offset where the chunk may lie. */
  find(digests: Uint8Array, at: number): number | undefined
}

/** Memory for about `chunks` entries, 16 bytes each, rounded up to a power of two. */
export function createRecentTable(chunks: number): SharedArrayBuffer {
  const slots = 2 ** Math.ceil(Math.log2(Math.max(1024, chunks)))
  return new SharedArrayBuffer(slots * WORDS * 4)
}

/** The table in `memory`, as any thread sees it. Digests are given as a buffer and the position in it. */
export function openRecentTable(memory: SharedArrayBuffer): RecentChunks {
  const words = new Uint32Array(memory)
  const mask = words.length / WORDS - 1
  const word = (bytes: Uint8Array, at: number) =>
    (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0
  return {
    put(digests, at, offset) {
      const low = word(digests, at)
      const high = word(digests, at + 4)
      let slot = (low & mask) * WORDS
      for (let probe = 0; probe < PROBES; probe++) {
        const candidate = ((low + probe) & mask) * WORDS
        const free = words[candidate + 2] === 0 && words[candidate + 3] === 0
        if (free || (words[candidate] === low && words[candidate + 1] === high)) {
          slot = candidate
          break
        }
      }
      words[slot] = low
      words[slot + 1] = high
      // Offset plus one, so that an empty slot is all zeros.
      words[slot + 2] = (offset + 1) >>> 0
      words[slot + 3] = Math.floor((offset + 1) / 2 ** 32)
    },
    find(digests, at) {
      const low = word(digests, at)
      const high = word(digests, at + 4)
      for (let probe = 0; probe < PROBES; probe++) {
        const slot = ((low + probe) & mask) * WORDS
        if (words[slot] !== low || words[slot + 1] !== high) continue
        const offset = words[slot + 3] * 2 ** 32 + words[slot + 2] - 1
        if (offset >= 0) return offset
      }
      return undefined
    },
  }
}
