/** From an address to its backend; the only place that knows all of them. Lane workers open volumes through this. */
import { fileURLToPath, pathToFileURL } from 'node:url'
import { FluidError } from '../protocol/errors.ts'
import { openAdoptedSink, parseAdoptedUrl } from './adopted-sink.ts'
import { openBlockSink, openBlockSource } from './backends/block-device.ts'
import { createDiscardSink, parseDiscardUrl } from './backends/discard.ts'
import { createGeneratedSource, parseGeneratedUrl } from './backends/generated.ts'
import { openNbdSink, openNbdSource } from './backends/nbd.ts'
import { isNbdUrl } from './backends/nbd-url.ts'
import { openRawSink, openRawSource } from './backends/raw.ts'
import { dropCachedPages } from './linux.ts'
import type { Sink } from './sink.ts'
import type { Source } from './source.ts'

/** Opens file:, block:, nbd:, nbd+unix: and bench: addresses for reading. Throws USAGE, SOURCE_MISSING, SOURCE_READ. */
export async function openSource(url: string): Promise<Source> {
  if (isNbdUrl(url)) return openNbdSource(url)
  if (url.startsWith('file:')) return openRawSource(fileURLToPath(url))
  if (url.startsWith('block:')) return openBlockSource(pathOfBlockUrl(url))
  const generatedBytes = parseGeneratedUrl(url)
  if (generatedBytes !== undefined) return createGeneratedSource(generatedBytes)
  throw unknownAddress(url)
}

/** Opens file:, block:, nbd:, nbd+unix:, adopted: and discard: addresses for writing. Throws USAGE, TARGET_WRITE. */
export async function openSink(url: string): Promise<Sink> {
  if (isNbdUrl(url)) return openNbdSink(url)
  if (url.startsWith('file:')) return openRawSink(fileURLToPath(url))
  if (url.startsWith('block:')) return openBlockSink(pathOfBlockUrl(url))
  const adopted = parseAdoptedUrl(url)
  if (adopted) return openAdoptedSink(adopted)
  const discardBytes = parseDiscardUrl(url)
  if (discardBytes !== undefined) return createDiscardSink(discardBytes)
  throw unknownAddress(url)
}

/**
 * Has the system forget what its page cache holds of a raw file or block device, where all is synced: what is read next comes
 * from the disk. Nothing at other addresses.
 */
export function dropCached(url: string): void {
  if (url.startsWith('file:')) dropCachedPages(fileURLToPath(url))
  if (url.startsWith('block:')) dropCachedPages(pathOfBlockUrl(url))
}

/** The address of a raw file, from an absolute path. */
export function fileUrl(path: string): string {
  return pathToFileURL(path).href
}

/** The address of a block device, from an absolute path. */
export function blockUrl(path: string): string {
  return `block:${encodeURI(path)}`
}

function pathOfBlockUrl(url: string): string {
  return decodeURI(url.slice('block:'.length))
}

function unknownAddress(url: string): FluidError {
  return new FluidError('USAGE', `Not an address of a volume: ${url.slice(0, 200)}`, {
    hint: 'Give a path, nbd://host:port/export or nbd+unix:///export?socket=/path',
  })
}
