/**
 * Block devices. They know no holes: the engine looks for zeros itself. Sinks are opened plainly, so that
 * many lanes can write; the exclusive hold is the placement's (openExclusively()).
 */
import { closeSync, constants, fstatSync, openSync, fsync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { FluidError, type ErrorCode } from '../../protocol/errors.ts'
import { adviseWillNeed, blockDeviceSize } from '../linux.ts'
import type { Sink } from '../sink.ts'
import type { Source } from '../source.ts'
import { checkBounds, checkOpen, errnoOf, reason } from './bounds.ts'
import { openDeviceZeros } from './device-zeros.ts'
import { wholeRange } from './file-extents.ts'
import { openReads } from './reads.ts'
import { openSyncs } from './syncs.ts'
import { openWrites } from './writes.ts'

const fsyncOf = promisify(fsync)

/** Opens a block device for reading. Its fingerprint counts the sectors written to it since boot. */
export async function openBlockSource(path: string): Promise<Source> {
  const fd = openDevice(path, constants.O_RDONLY, 'SOURCE_MISSING')
  const sizeBytes = blockDeviceSize(fd)
  const { rdev } = fstatSync(fd)
  const reads = openReads(fd, path, 'source')
  let open = true
  return {
    sizeBytes,
    supports: { holes: false },
    async *extents(from, { signal } = {}) {
      for (const extent of wholeRange(from, sizeBytes)) {
        signal?.throwIfAborted()
        yield extent
      }
    },
    read(target, offset) {
      checkOpen(open, path)
      checkBounds(sizeBytes, offset, target.length)
      return reads.read(target, offset)
    },
    prefetch(offset, lengthBytes) {
      if (open) adviseWillNeed(fd, offset, lengthBytes)
    },
    async fingerprint() {
      // What others wrote and the cache still holds must count as written too.
      await fsyncOf(fd).catch(() => undefined)
      return `block:${sizeBytes}:${rdev}:${await writtenSectors(rdev)}`
    },
    async [Symbol.asyncDispose]() {
      const isFirst = open
      open = false
      await reads.close()
      if (isFirst) closeSync(fd)
    },
  }
}

/** Sectors written and discarded since boot, by the kernel's count; the boot itself is part of the text. */
async function writtenSectors(rdev: number): Promise<string> {
  // glibc's makedev(): 12 + 20 bits of major, 8 + 12 used bits of minor.
  const major = Math.floor(rdev / 256) % 4096
  const minor = (rdev % 256) + Math.floor((rdev % 2 ** 32) / 2 ** 20) * 256
  try {
    const fields = (await readFile(`/sys/dev/block/${major}:${minor}/stat`, 'utf8')).trim().split(/\s+/)
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    return `${fields[6]}:${fields[13] ?? 0}:${boot.trim()}`
  } catch {
    return 'uncounted'
  }
}

/** Opens a block device for writing, shared with the other lanes. Nothing is known of what it holds. */
export async function openBlockSink(path: string): Promise<Sink> {
  const fd = openDevice(path, constants.O_RDWR, 'TARGET_WRITE')
  const sizeBytes = blockDeviceSize(fd)
  const reads = openReads(fd, path, 'target')
  const writes = openWrites(fd)
  let open = true
  const zeros = openDeviceZeros(fd, writes, () => checkOpen(open, path))
  const syncs = openSyncs(fd)
  return {
    sizeBytes,
    supports: { zeroed: false, sparse: true, shared: true },
    write(bytes, offset) {
      checkOpen(open, path)
      checkBounds(sizeBytes, offset, bytes.length)
      syncs.requireSound()
      return writes.write(bytes, offset)
    },
    zero(offset, lengthBytes) {
      checkOpen(open, path)
      checkBounds(sizeBytes, offset, lengthBytes)
      syncs.requireSound()
      return zeros.zero(offset, lengthBytes)
    },
    read(target, offset) {
      checkOpen(open, path)
      checkBounds(sizeBytes, offset, target.length)
      return reads.read(target, offset)
    },
    async *written(from, to) {
      yield* wholeRange(from, Math.min(to, sizeBytes))
    },
    async sync() {
      checkOpen(open, path)
      await syncs.sync()
    },
    forgetCached() {
      if (open) writes.forgetCached()
    },
    async [Symbol.asyncDispose]() {
      const isFirst = open
      open = false
      await Promise.all([reads.close(), writes.close(), syncs.close()])
      if (isFirst) closeSync(fd)
    },
  }
}

/**
 * Holds a block device against mounts, volume groups and other jobs until the descriptor is closed.
 * Throws NAME_BUSY when it is in use.
 */
export function openExclusively(path: string): number {
  return openDevice(path, constants.O_RDWR | constants.O_EXCL, 'TARGET_WRITE')
}

function openDevice(path: string, flags: number, code: ErrorCode): number {
  let fd: number
  try {
    fd = openSync(path, flags | constants.O_NONBLOCK)
  } catch (cause) {
    if (errnoOf(cause) === 'EBUSY') {
      throw new FluidError(
        'NAME_BUSY',
        `Block device ${path} is in use: mounted, part of a volume group, or held by another job`,
        {
          cause,
          hint: 'Unmount it or free it (lsblk shows what uses it), then try again',
        },
      )
    }
    throw new FluidError(code, `Cannot open block device ${path}: ${reason(cause)}`, { cause })
  }
  if (fstatSync(fd).isBlockDevice()) return fd
  closeSync(fd)
  throw new FluidError(code, `${path} is not a block device`)
}
