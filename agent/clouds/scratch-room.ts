/**
 * Room for what a machine overwrites while its snapshot is read. Where there is none left QEMU fails the machine's own
 * writes, so a snapshot is refused, or ended, before that.
 */
import { statfs } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'

/** What is asked for at first: a part of the disks, but at least LEAST_ROOM_BYTES, and never more than all of them. */
const ROOM_SHARE = 0.1
const LEAST_ROOM_BYTES = 2 ** 30
/** Below this a snapshot is ended. */
const RESERVE_BYTES = 256 * 2 ** 20
const WATCH_INTERVAL_MS = 500

/** Bytes that are free in a folder. */
export async function freeBytesIn(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

/** Throws CLOUD_FAILED when the folder, which `setting` names, has too little room for a snapshot of disks of `diskBytes`. */
export async function checkRoom(folder: string, diskBytes: number, setting: string): Promise<void> {
  const wanted = Math.min(diskBytes, Math.max(LEAST_ROOM_BYTES, diskBytes * ROOM_SHARE))
  const free = await freeBytesIn(folder)
  if (free >= wanted) return
  throw new FluidError('CLOUD_FAILED', `${folder} has ${free} bytes free, and a snapshot wants ${wanted}`, {
    hint: `Free space there, or name another folder as ${setting}`,
  })
}

/** Calls `end` once when less than the reserve is free, of what `free` tells; the result ends the watch. */
export function watchRoom(
  free: () => Promise<number>,
  diskBytes: number,
  end: () => Promise<void>,
): () => void {
  const least = Math.min(RESERVE_BYTES, diskBytes / 2)
  const timer = setInterval(() => {
    void free()
      .then(async (bytes) => {
        if (bytes >= least) return
        clearInterval(timer)
        await end()
      })
      // Asked again after the interval; what fails to end is ended with the snapshot.
      .catch(() => {})
  }, WATCH_INTERVAL_MS).unref()
  return () => clearInterval(timer)
}
