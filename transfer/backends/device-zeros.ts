/**
 * Zeros on a block device, a piece at a time: by the device, in this thread, while that is prompt; else written by Node's threads.
 *
 * A device that knows no zeros of its own is written full of them by the kernel, and a hole may be as large as the volume: in one call
 * its thread, with the lanes of other jobs, would wait for minutes, or hours.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MAX_EXTENT_BYTES, WINDOW_BYTES } from '../../protocol/limits.ts'
import { DIRECT_BLOCK_BYTES, DirectMemory } from '../direct-memory.ts'
import { zeroRange } from '../linux.ts'
import { targetWriteError } from './bounds.ts'
import { writeZeros } from './positional-io.ts'
import { Promptness, SLOW_MS } from './promptness.ts'
import type { Writes } from './writes.ts'

/** Written at once. */
const ZEROS_BYTES = 1024 * 1024

/** Zeros of one open descriptor. */
export interface DeviceZeros {
  /** Makes the range read as zeros, at once or later. Throws NO_SPACE or TARGET_WRITE. */
  zero(offset: number, lengthBytes: number): void | Promise<void>
}

/** Zeros of `fd`, which `writes` writes; `requireOpen` throws once it is closed. */
export function openDeviceZeros(
  fd: number,
  writes: Pick<Writes, 'write'>,
  requireOpen: () => void,
  promptness = new Promptness(),
): DeviceZeros {
  /** Asked of the device at once: the more the quicker it is. */
  let pieceBytes = WINDOW_BYTES
  let zeros: Uint8Array | undefined

  function askDevice(offset: number, lengthBytes: number): void {
    const from = performance.now()
    promptness.run(() => zeroDevice(fd, offset, lengthBytes))
    const tookMs = performance.now() - from
    if (tookMs >= SLOW_MS) pieceBytes = WINDOW_BYTES
    else if (tookMs < SLOW_MS / 4) pieceBytes = Math.min(2 * pieceBytes, MAX_EXTENT_BYTES)
  }

  async function write(offset: number, lengthBytes: number): Promise<void> {
    zeros ??= new DirectMemory(ZEROS_BYTES).take(ZEROS_BYTES, 0)
    // They lie in memory as on the disk: it takes them as they are.
    const start = offset % DIRECT_BLOCK_BYTES
    await writes.write(zeros.subarray(start, start + lengthBytes), offset)
  }

  async function zeroAll(offset: number, end: number): Promise<void> {
    for (let at = offset; at < end;) {
      requireOpen()
      const here = promptness.prompt
      const next = Math.min(end, at + (here ? pieceBytes : ZEROS_BYTES - (at % DIRECT_BLOCK_BYTES)))
      if (here) {
        askDevice(at, next - at)
        await nextTurn()
      } else await promptness.watch(() => write(at, next - at))
      at = next
    }
  }

  return {
    zero(offset, lengthBytes) {
      if (promptness.prompt && lengthBytes <= WINDOW_BYTES) return askDevice(offset, lengthBytes)
      return zeroAll(offset, offset + lengthBytes)
    },
  }
}

/** Whole blocks by BLKZEROOUT: the largest sectors, and pages of the cache. */
function zeroDevice(fd: number, offset: number, lengthBytes: number): void {
  const end = offset + lengthBytes
  const start = Math.min(end, Math.ceil(offset / DIRECT_BLOCK_BYTES) * DIRECT_BLOCK_BYTES)
  const stop = Math.max(start, Math.floor(end / DIRECT_BLOCK_BYTES) * DIRECT_BLOCK_BYTES)
  writeZeros(fd, offset, start - offset)
  if (stop > start && !zeroedByDevice(fd, start, stop - start)) writeZeros(fd, start, stop - start)
  writeZeros(fd, stop, end - stop)
}

function zeroedByDevice(fd: number, offset: number, lengthBytes: number): boolean {
  try {
    return zeroRange(fd, offset, lengthBytes)
  } catch (error) {
    throw targetWriteError(error, offset)
  }
}
