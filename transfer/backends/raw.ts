/**
 * Raw image files with their holes. Reads and small writes are positional and run in a lane's own thread, where a system call
 * into the page cache is cheaper than any hand-over, as long as the disk is prompt (reads.ts). Large writes go
 * past the page cache where they can, or take turns (writes.ts).
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import { adviseWillNeed, punchHole } from '../linux.ts'
import type { Sink } from '../sink.ts'
import type { Source } from '../source.ts'
import { checkBounds, checkOpen, targetWriteError } from './bounds.ts'
import { fileExtents, openFileExtents, tellsHoles } from './file-extents.ts'
import { shrunk, writeZeros } from './positional-io.ts'
import { openReads } from './reads.ts'
import { openSyncs } from './syncs.ts'
import { openWrites } from './writes.ts'

/**
 * Bytes a millisecond below which the disk is far away, and is asked for whole windows ahead. Elsewhere the system reads ahead well
 * enough, and in larger pages: asked for windows, it took three times the processor time.
 */
const FAR_BYTES_PER_MS = 256 * 1024
/** So many windows are then asked for, until it is looked at again. */
const FAR_WINDOWS = 64

/** Opens a regular file for reading. Throws SOURCE_MISSING. The fingerprint is of the path: a file put in its place is noticed. */
export async function openRawSource(path: string): Promise<Source> {
  const fd = openSource(path)
  const { size: sizeBytes } = fstatSync(fd)
  const reads = openReads(fd, path, 'source')
  let open = true
  let far = 0
  let readBytes = 0
  let readMs = 0
  return {
    sizeBytes,
    supports: { holes: tellsHoles(fd) },
    async *extents(from, { signal } = {}) {
      checkOpen(open, path)
      for (const extent of fileExtents(fd, from, sizeBytes)) {
        signal?.throwIfAborted()
        yield extent
        checkOpen(open, path)
      }
      // What was cut off looks like a hole: without this it would arrive as zeros.
      const now = fstatSync(fd).size
      if (now < sizeBytes) throw shrunk(path, now, sizeBytes)
    },
    read(target, offset) {
      checkOpen(open, path)
      checkBounds(sizeBytes, offset, target.length)
      const from = performance.now()
      const reading = reads.read(target, offset)
      if (reading) far = FAR_WINDOWS
      readBytes += target.length
      readMs += performance.now() - from
      return reading
    },
    prefetch(offset, lengthBytes) {
      if (readBytes < FAR_BYTES_PER_MS * readMs) far = FAR_WINDOWS
      readBytes = readMs = 0
      if (!open || far === 0) return
      far--
      adviseWillNeed(fd, offset, lengthBytes)
    },
    async fingerprint() {
      const now = await stat(path, { bigint: true }).catch(() => undefined)
      return now ? `file:${now.size}:${now.mtimeNs}:${now.ino}:${now.dev}` : 'file:gone'
    },
    async [Symbol.asyncDispose]() {
      const isFirst = open
      open = false
      await reads.close()
      if (isFirst) closeSync(fd)
    },
  }
}

function openSource(path: string): number {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    throw new FluidError('SOURCE_MISSING', `Cannot open ${path}: ${(cause as Error).message}`, { cause })
  }
  if (fstatSync(fd).isFile()) return fd
  closeSync(fd)
  throw new FluidError('SOURCE_MISSING', `${path} is not a regular file`)
}

/**
 * Opens an existing file of full size for writing, never through a symbolic link; anything never
 * written is a hole. After a failed sync() every write and sync fails: the system reports the loss once only.
 */
export async function openRawSink(path: string): Promise<Sink> {
  const fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  const found = fstatSync(fd)
  if (!found.isFile()) {
    closeSync(fd)
    throw new FluidError('TARGET_WRITE', `${path} is not a regular file`)
  }
  const sizeBytes = found.size
  const reads = openReads(fd, path, 'target')
  const writes = openWrites(fd)
  const extents = openFileExtents(fd)
  let open = true
  const syncs = openSyncs(fd)
  return {
    sizeBytes,
    supports: { zeroed: true, sparse: true, shared: true },
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
      if (lengthBytes === 0) return
      if (punched(fd, offset, lengthBytes)) extents.zeroed(offset, offset + lengthBytes)
      else writeZeros(fd, offset, lengthBytes)
    },
    read(target, offset) {
      checkOpen(open, path)
      checkBounds(sizeBytes, offset, target.length)
      return reads.read(target, offset)
    },
    async *written(from, to) {
      checkOpen(open, path)
      for (const extent of extents.within(from, Math.min(to, sizeBytes))) {
        yield extent
        // To look for the next one moves the descriptor.
        checkOpen(open, path)
      }
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

function punched(fd: number, offset: number, lengthBytes: number): boolean {
  try {
    return punchHole(fd, offset, lengthBytes)
  } catch (error) {
    throw targetWriteError(error, offset)
  }
}
