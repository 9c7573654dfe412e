/** Positional reads and writes of files and block devices that go on until all is done: in this thread, or by Node's. */
import { read, readSync, write, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { FluidError } from '../../protocol/errors.ts'
import { sourceReadError, targetReadError, targetWriteError } from './bounds.ts'

const readOf = promisify(read)
const writeOf = promisify(write)

/** What writeZeros() writes. */
const ZEROS = Buffer.alloc(1024 * 1024)

/** Fills `target` from `offset`. Throws SOURCE_CHANGED at an early end, SOURCE_READ otherwise. */
export function readFully(fd: number, target: Uint8Array, offset: number, path: string): void {
  let done = 0
  while (done < target.length) {
    let count: number
    try {
      count = readSync(fd, target, done, target.length - done, offset + done)
    } catch (error) {
      throw sourceReadError(error, offset + done)
    }
    if (count === 0) throw shrunk(path, offset + done, offset + target.length)
    done += count
  }
}

/** The same by one of Node's threads: `target` is not to be used before. */
export async function readFullyOutside(
  fd: number,
  target: Uint8Array,
  offset: number,
  path: string,
): Promise<void> {
  let done = 0
  while (done < target.length) {
    let count: number
    try {
      count = (await readOf(fd, target, done, target.length - done, offset + done)).bytesRead
    } catch (error) {
      throw sourceReadError(error, offset + done)
    }
    if (count === 0) throw shrunk(path, offset + done, offset + target.length)
    done += count
  }
}

/** Writes all of `bytes`, going on after short writes. Throws NO_SPACE or TARGET_WRITE. */
export function writeFully(fd: number, bytes: Uint8Array, offset: number): void {
  let done = 0
  while (done < bytes.length) {
    try {
      done += writeSync(fd, bytes, done, bytes.length - done, offset + done)
    } catch (error) {
      throw targetWriteError(error, offset + done)
    }
  }
}

/** The same by one of Node's threads: `bytes` are not to change before. */
export async function writeFullyOutside(fd: number, bytes: Uint8Array, offset: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    try {
      done += (await writeOf(fd, bytes, done, bytes.length - done, offset + done)).bytesWritten
    } catch (error) {
      throw targetWriteError(error, offset + done)
    }
  }
}

/** Writes zeros the long way. */
export function writeZeros(fd: number, offset: number, lengthBytes: number): void {
  for (let done = 0; done < lengthBytes; done += ZEROS.length) {
    writeFully(fd, ZEROS.subarray(0, Math.min(ZEROS.length, lengthBytes - done)), offset + done)
  }
}

/** Fills `target` from what was written; any failure is the target's. */
export function readBack(fd: number, target: Uint8Array, offset: number, path: string): void {
  try {
    readFully(fd, target, offset, path)
  } catch (error) {
    throw notReadBack(error, offset)
  }
}

/** The same by one of Node's threads: `target` is not to be used before. */
export async function readBackOutside(
  fd: number,
  target: Uint8Array,
  offset: number,
  path: string,
): Promise<void> {
  try {
    await readFullyOutside(fd, target, offset, path)
  } catch (error) {
    throw notReadBack(error, offset)
  }
}

/** What failed as if it were a source, told of the target. */
function notReadBack(error: unknown, offset: number): FluidError {
  const { cause, message } = error as FluidError
  return targetReadError(cause ?? new Error(message), offset)
}

/** The error of a source that ended before its time. */
export function shrunk(path: string, sizeBytes: number, expectedBytes: number): FluidError {
  const message = `${path} ended at ${sizeBytes} bytes, short of the ${expectedBytes} it had`
  return new FluidError('SOURCE_CHANGED', message, { offset: sizeBytes })
}
