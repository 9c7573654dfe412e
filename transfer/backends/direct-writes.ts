/**
 * Writes of a file or block device that go past the page cache (O_DIRECT): long pieces that lie in memory as they will on the
 * disk (direct-memory.ts).
 *
 * Through the page cache each byte is copied, and each page found, dirtied and written back: 0.3 to 0.8 CPU s/GiB on ext4, where
 * a disk that takes a MiB as it lies costs 0.1. And a volume of terabytes drives nothing out of the cache that others need.
 * What a piece has before its first whole block and behind its last goes through the cache, as does all where the system
 * refuses. The kernel keeps both views one; only a page that someone dirties beside such a write at that moment may keep an old
 * copy of what was written, so whoever is done has the cache forgotten: Sink.forgetCached().
 */
import { closeSync, constants, openSync, statfsSync, statSync } from 'node:fs'
import { DIRECT_BLOCK_BYTES, DIRECT_BYTES, liesLike } from '../direct-memory.ts'
import { errnoOf } from './bounds.ts'
import { writeFully, writeFullyOutside } from './positional-io.ts'
import { Promptness } from './promptness.ts'

/** From <linux/magic.h>. Elsewhere (tmpfs, btrfs, network file systems) it brings nothing, or nobody measured it. */
const EXT4_MAGIC = 0xef53
const XFS_MAGIC = 0x58465342

/** The direct writes of one open descriptor. */
export interface DirectWrites {
  /**
   * Writes all of `bytes`, which are not to change before; undefined when they are to go through the cache. Throws and rejects
   * with NO_SPACE or TARGET_WRITE.
   */
  write(bytes: Uint8Array, offset: number): Promise<void> | undefined
  /** Resolves when nothing is under way. */
  idle(): Promise<void>
  /** To be closed when idle, before the descriptor it was opened for. */
  close(): void
}

/** Direct writes of what `fd` has open; its second descriptor is opened, by `open`, with the first of them. */
export function openDirectWrites(
  fd: number,
  open = () => openDirect(pathOf(fd)),
  promptness = new Promptness(),
): DirectWrites {
  let direct: number | undefined
  let refused = false
  const underWay = new Set<Promise<void>>()

  function descriptor(): number | undefined {
    if (direct === undefined && !refused) {
      direct = open()
      refused = direct === undefined
    }
    return refused ? undefined : direct
  }

  /** Through the cache. To fill a block the disk may have to be read: in this thread only while it is prompt. */
  function writeEdge(bytes: Uint8Array, offset: number): Promise<void> | undefined {
    if (bytes.length === 0) return undefined
    if (!promptness.prompt) return promptness.watch(() => writeFullyOutside(fd, bytes, offset))
    promptness.run(() => writeFully(fd, bytes, offset))
    return undefined
  }

  async function writeBlocks(to: number, bytes: Uint8Array, offset: number): Promise<void> {
    try {
      await writeFullyOutside(to, bytes, offset)
    } catch (error) {
      if (errnoOf((error as Error).cause) !== 'EINVAL') throw error
      // A device with rules of its own.
      refused = true
      await writeFullyOutside(fd, bytes, offset)
    }
  }

  return {
    write(bytes, offset) {
      if (bytes.length < DIRECT_BYTES || !liesLike(bytes, offset)) return undefined
      const to = descriptor()
      if (to === undefined) return undefined
      const head = (DIRECT_BLOCK_BYTES - (offset % DIRECT_BLOCK_BYTES)) % DIRECT_BLOCK_BYTES
      const end = bytes.length - ((offset + bytes.length) % DIRECT_BLOCK_BYTES)
      const edges = [writeEdge(bytes.subarray(0, head), offset), writeEdge(bytes.subarray(end), offset + end)]
      const parts = [
        writeBlocks(to, bytes.subarray(head, end), offset + head),
        ...edges.filter((edge) => edge !== undefined),
      ]
      const ended = Promise.allSettled(parts).then(() => void underWay.delete(ended))
      underWay.add(ended)
      return ended.then(async () => void (await Promise.all(parts)))
    },
    async idle() {
      await Promise.all(underWay)
    },
    close() {
      refused = true
      if (direct !== undefined) closeSync(direct)
      direct = undefined
    },
  }
}

/** Whether writes of what `fd` has open may go past the page cache. */
export function writesDirectly(fd: number): boolean {
  return takesDirectWrites(pathOf(fd))
}

/** Whether another program may be told to write the file or device at `path` past the page cache. */
export function takesDirectWrites(path: string): boolean {
  const fd = openDirect(path)
  if (fd !== undefined) closeSync(fd)
  return fd !== undefined
}

/** For direct writes; undefined where they are refused or bring nothing. */
function openDirect(path: string): number | undefined {
  try {
    if (!statSync(path).isBlockDevice() && ![EXT4_MAGIC, XFS_MAGIC].includes(statfsSync(path).type))
      return undefined
    return openSync(path, constants.O_WRONLY | constants.O_DIRECT | constants.O_NONBLOCK)
  } catch {
    return undefined
  }
}

function pathOf(fd: number): string {
  return `/proc/self/fd/${fd}`
}
