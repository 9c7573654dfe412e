/** The memory that attempts to receive may take, all of them together and those of one peer. */
import type { Agreement } from '../../protocol/control-message.ts'
import { INCOMING_LANE_BYTES } from '../../protocol/limits.ts'
import type { JobBounds } from './job-bounds.ts'

/** Chunks of one job the table of recent ones has room for: 32 MiB of memory. */
const MAX_RECENT_CHUNKS = 2 ** 21
const MEAN_CHUNK_BYTES = 64 * 1024

/** Room of an attempt; disposing it gives it back. */
export interface HeldRoom extends Disposable {
  /** Takes so much more; false when there is none, and nothing changes. */
  grow(bytes: number): boolean
}

export interface IncomingRoom {
  /**
   * Room for an attempt of `job`, until disposed; undefined when there is none. An attempt takes over the room of the one
   * before, which it ends.
   */
  take(peer: string, job: string, bytes: number): HeldRoom | undefined
}

/** All of it is free at first. */
export function createIncomingRoom({
  incomingBytes,
  incomingBytesPerPeer,
}: Pick<JobBounds, 'incomingBytes' | 'incomingBytesPerPeer'>): IncomingRoom {
  const held = new Map<string, { readonly peer: string; bytes: number }>()
  const fits = (peer: string, job: string, bytes: number): boolean => {
    const others = [...held].filter(([other]) => other !== job).map(([, holder]) => holder)
    const sum = (holders: typeof others) => holders.reduce((total, holder) => total + holder.bytes, bytes)
    return (
      sum(others) <= incomingBytes &&
      sum(others.filter((holder) => holder.peer === peer)) <= incomingBytesPerPeer
    )
  }
  return {
    take(peer, job, bytes) {
      if (!fits(peer, job, bytes)) return undefined
      const holder = { peer, bytes }
      held.set(job, holder)
      return {
        grow(more) {
          if (held.get(job) !== holder || !fits(peer, job, holder.bytes + more)) return false
          holder.bytes += more
          return true
        },
        [Symbol.dispose]: () => void (held.get(job) === holder && held.delete(job)),
      }
    },
  }
}

/** Chunks that the table of recent ones of a job is made for. */
export function recentChunksOf({ allocatedBytes }: Pick<Agreement, 'allocatedBytes'>): number {
  return Math.min(MAX_RECENT_CHUNKS, (allocatedBytes / MEAN_CHUNK_BYTES) * 2)
}

/** As createRecentTable() makes it: slots of 16 bytes, a power of two of them. */
function recentTableBytes(chunks: number): number {
  return 16 * 2 ** Math.ceil(Math.log2(Math.max(1024, chunks)))
}

/** What an attempt can take: the lanes it begins with, and the table of recent chunks. */
export function roomOf(agreement: Pick<Agreement, 'allocatedBytes' | 'lanes'>): number {
  return agreement.lanes * INCOMING_LANE_BYTES + recentTableBytes(recentChunksOf(agreement))
}
