/**
 * What a dirty bitmap of a QEMU says was written, read through an NBD export that shows the bitmap.
 * https://github.com/qemu/qemu/blob/master/docs/interop/nbd.txt, "qemu:dirty-bitmap".
 */
import { FluidError } from '../../protocol/errors.ts'
import { closeGaps, type Range } from '../../protocol/extent.ts'
import { MAX_DIRTY_RANGES, NBD_STATUS_BYTES } from '../../protocol/limits.ts'
import { reason, sourceReadError } from './bounds.ts'
import { openNbdClient, type NbdOptions } from './nbd-client.ts'
import { STATUS_DIRTY } from './nbd-reply.ts'
import { parseNbdUrl } from './nbd-url.ts'

/** Gaps that are closed first when there are too many ranges. */
const LEAST_GAP_BYTES = 128 * 1024

/**
 * Ascending, none touching another, at most MAX_DIRTY_RANGES: beyond it the smallest gaps are named too. Throws
 * SOURCE_READ when the export cannot be reached or does not show the bitmap.
 */
export async function readDirtyBitmap(
  url: string,
  bitmap: string,
  options: Omit<NbdOptions, 'context'> = {},
): Promise<Range[]> {
  const context = `qemu:dirty-bitmap:${bitmap}`
  const client = await openNbdClient(parseNbdUrl(url), { ...options, context }).catch((cause: unknown) => {
    options.signal?.throwIfAborted()
    throw new FluidError('SOURCE_READ', `Cannot open ${url}: ${reason(cause)}`, { cause })
  })
  try {
    const { sizeBytes, contextId } = client.volume
    if (contextId === undefined)
      throw new FluidError('SOURCE_READ', `${url} does not show the bitmap ${bitmap}`)
    let dirty: Range[] = []
    for (let at = 0; at < sizeBytes;) {
      options.signal?.throwIfAborted()
      for (const { length, flags } of await client.blockStatus(
        at,
        Math.min(NBD_STATUS_BYTES, sizeBytes - at),
      )) {
        if (flags & STATUS_DIRTY) append(dirty, at, at + length)
        at += length
      }
      if (dirty.length > MAX_DIRTY_RANGES) dirty = closeGaps(dirty, MAX_DIRTY_RANGES / 2, LEAST_GAP_BYTES)
    }
    return dirty
  } catch (error) {
    options.signal?.throwIfAborted()
    throw error instanceof FluidError ? error : sourceReadError(error, 0)
  } finally {
    await client[Symbol.asyncDispose]()
  }
}

function append(ranges: Range[], start: number, end: number): void {
  const last = ranges.at(-1)
  if (last?.end === start) ranges[ranges.length - 1] = { start: last.start, end }
  else ranges.push({ start, end })
}
