/**
 * Reads of a guest's disk, in pages that are kept while they are few. What a disk says of itself is hostile: whoever asks
 * for bytes outside it, or outside a partition, is told that the guest is damaged.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { FluidError } from '../../protocol/errors.ts'
import { GUEST_PAGE_BYTES, MAX_GUEST_PAGES } from '../../protocol/limits.ts'
import type { Source } from '../source.ts'

/** Reads after which others get a turn: files answer at once, and a hostile disk must not hold up timers and signals. */
const READS_PER_TURN = 1024

/** A disk or a part of one, readable at any place. */
export interface DiskReader {
  readonly sizeBytes: number
  /** These bytes, in a buffer of the caller's own. Throws GUEST_UNSUPPORTED outside the disk, SOURCE_READ. */
  read(offset: number, lengthBytes: number): Promise<Buffer>
}

/** What a guest's disk says cannot be: every such finding ends here. */
export function damaged(what: string): FluidError {
  return new FluidError('GUEST_UNSUPPORTED', `The guest's disk is damaged: ${what}`, {
    hint: 'Check the file system inside the machine (fsck); nothing was touched',
  })
}

/** Reads a source; each page once while it is among the MAX_GUEST_PAGES used last. */
export function createDiskReader(source: Source, options: { signal?: AbortSignal } = {}): DiskReader {
  const pages = new Map<number, Promise<Buffer>>()
  const page = (index: number): Promise<Buffer> => {
    const known = pages.get(index)
    // The last used is the last of the map: the first is given up.
    pages.delete(index)
    const found = known ?? load(source, index)
    pages.set(index, found)
    if (pages.size > MAX_GUEST_PAGES) pages.delete(pages.keys().next().value as number)
    // One that failed is read again when it is asked for again.
    if (!known) found.catch(() => pages.delete(index))
    return found
  }
  let reads = 0
  return {
    sizeBytes: source.sizeBytes,
    async read(offset, lengthBytes) {
      if (++reads % READS_PER_TURN === 0) await turn()
      options.signal?.throwIfAborted()
      checkInside(source.sizeBytes, offset, lengthBytes)
      const target = Buffer.allocUnsafe(lengthBytes)
      for (let done = 0; done < lengthBytes;) {
        const at = offset + done
        const bytes = await page(Math.floor(at / GUEST_PAGE_BYTES))
        options.signal?.throwIfAborted()
        done += bytes.copy(target, done, at % GUEST_PAGE_BYTES)
      }
      return target
    },
  }
}

/** A part of a disk, cut to what the disk has. */
export function partOf(disk: DiskReader, start: number, lengthBytes: number): DiskReader {
  const sizeBytes = Math.max(0, Math.min(lengthBytes, disk.sizeBytes - start))
  return {
    sizeBytes,
    async read(offset, length) {
      checkInside(sizeBytes, offset, length)
      return disk.read(start + offset, length)
    },
  }
}

/** Parts one after another, as one. */
export function joined(parts: readonly DiskReader[]): DiskReader {
  const sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0)
  return {
    sizeBytes,
    async read(offset, lengthBytes) {
      checkInside(sizeBytes, offset, lengthBytes)
      const pieces: Buffer[] = []
      let start = 0
      for (const part of parts) {
        const from = Math.max(offset, start)
        const to = Math.min(offset + lengthBytes, start + part.sizeBytes)
        if (from < to) pieces.push(await part.read(from - start, to - from))
        start += part.sizeBytes
      }
      return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces)
    },
  }
}

async function load(source: Source, index: number): Promise<Buffer> {
  const start = index * GUEST_PAGE_BYTES
  const bytes = Buffer.allocUnsafe(Math.min(GUEST_PAGE_BYTES, source.sizeBytes - start))
  await source.read(bytes, start)
  return bytes
}

function checkInside(sizeBytes: number, offset: number, lengthBytes: number): void {
  const inside = Number.isSafeInteger(offset) && offset >= 0 && offset + lengthBytes <= sizeBytes
  if (!inside) throw damaged(`it refers to byte ${offset} of ${sizeBytes}`)
}
