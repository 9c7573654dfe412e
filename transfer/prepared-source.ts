/** What an operator names as a source, made ready for many lanes: found, told by format, served if qemu must read it. */
import { constants } from 'node:fs'
import { access, realpath, stat } from 'node:fs/promises'
import { FluidError } from '../protocol/errors.ts'
import { MAX_VOLUME_BYTES } from '../protocol/limits.ts'
import { openBlockSource } from './backends/block-device.ts'
import { reason } from './backends/bounds.ts'
import { detectImageFormat, type ImageFormat } from './backends/image-format.ts'
import { openNbdSource } from './backends/nbd.ts'
import { isNbdUrl, parseNbdUrl } from './backends/nbd-url.ts'
import { fingerprintOf, openQemuImage, type OtherFiles } from './backends/qemu-image.ts'
import { openRawSource } from './backends/raw.ts'
import { blockUrl, fileUrl } from './open.ts'
import type { Source } from './source.ts'

/** A source as the main thread holds it; dispose closes it for everyone. */
export interface PreparedSource extends AsyncDisposable {
  /** What each lane worker gives to openSource(). */
  readonly url: string
  /** The main thread's own instance: sizes and extents. */
  readonly source: Source
  readonly format: ImageFormat | 'nbd' | 'block'
  readonly sizeBytes: number
  /** Bytes that extents() covers: what has to be read, an upper bound of what moves. */
  allocatedBytes(signal?: AbortSignal): Promise<number>
  /** Differs when the content may have changed; of the files, where an image is served by qemu. */
  fingerprint(): Promise<string>
}

export interface PrepareOptions {
  /** How many lane workers will open it. */
  readonly lanes: number
  readonly signal?: AbortSignal
  /** Whatever the magic bytes say: 'raw' moves an image file as it is. */
  readonly format?: ImageFormat
  /** Other files that an image may be made of, see openQemuImage(). */
  readonly others?: OtherFiles
}

/**
 * Opens a path (raw file, image, block device) or an NBD address. Throws SOURCE_MISSING, SOURCE_READ, SOURCE_CHANGED
 * (a machine writes to the image), FORMAT_UNSUPPORTED, TOO_LARGE, USAGE.
 */
export async function prepareSource(src: string, options: PrepareOptions): Promise<PreparedSource> {
  options.signal?.throwIfAborted()
  await using stack = new AsyncDisposableStack()
  const { url, source, format, fingerprint } = await opened(src, options, stack)
  if (source.sizeBytes > MAX_VOLUME_BYTES) {
    throw new FluidError(
      'TOO_LARGE',
      `${src} has ${source.sizeBytes} bytes; at most ${MAX_VOLUME_BYTES} can be moved`,
      {
        hint: 'Split the volume',
      },
    )
  }
  const owned = stack.move()
  return {
    url,
    source,
    format,
    sizeBytes: source.sizeBytes,
    async allocatedBytes(signal) {
      let total = 0
      for await (const extent of source.extents(0, { signal })) total += extent.length
      return total
    },
    fingerprint: fingerprint ?? (() => source.fingerprint()),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

type Opened = Pick<PreparedSource, 'url' | 'source' | 'format'> & { fingerprint?: () => Promise<string> }

async function opened(src: string, options: PrepareOptions, stack: AsyncDisposableStack): Promise<Opened> {
  if (isNbdUrl(src)) {
    parseNbdUrl(src)
    return { url: src, source: stack.use(await openServer(src, options.signal)), format: 'nbd' }
  }
  const path = await findPath(src)
  if ((await stat(path)).isBlockDevice()) {
    return { url: blockUrl(path), source: stack.use(await openBlockSource(path)), format: 'block' }
  }
  const format = options.format ?? (await detectImageFormat(path))
  if (format === 'raw') return { url: fileUrl(path), source: stack.use(await openRawSource(path)), format }
  const image = stack.use(await openQemuImage(path, format, options))
  const source = stack.use(await openNbdSource(image.url, options))
  return { url: image.url, source, format, fingerprint: () => fingerprintOf(image.files) }
}

/** At the start a server that does not answer is a wrong address, later it is a read error. */
async function openServer(url: string, signal?: AbortSignal): Promise<Source> {
  try {
    return await openNbdSource(url, { signal })
  } catch (cause) {
    if (!(cause instanceof FluidError) || cause.code !== 'SOURCE_READ') throw cause
    throw new FluidError('SOURCE_MISSING', cause.message, { cause, hint: cause.hint })
  }
}

async function findPath(src: string): Promise<string> {
  let path: string
  try {
    path = await realpath(src)
    await access(path, constants.R_OK)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT') throw new FluidError('SOURCE_MISSING', `There is no source at ${src}`, { cause })
    if (code === 'EACCES') throw new FluidError('SOURCE_MISSING', `The agent may not read ${src}`, { cause })
    throw new FluidError('SOURCE_MISSING', `Cannot open the source ${src}: ${reason(cause)}`, { cause })
  }
  const found = await stat(path)
  if (found.isFile() || found.isBlockDevice()) return path
  const kind = found.isDirectory() ? 'a folder' : 'neither a file nor a block device'
  throw new FluidError('SOURCE_MISSING', `The source ${src} is ${kind}`, {
    hint: 'Name one disk image, block device or NBD export',
  })
}
