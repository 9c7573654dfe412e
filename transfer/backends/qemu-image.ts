/**
 * Image files through qemu: qcow2 (compressed too), vmdk, vhdx, vdi, vpc to read, qcow2 to write.
 *
 * An image may name other files: backing files, data files, extents. Overlays are common, so those beside an image that
 * an operator names are followed and become part of what is moved. A guest may have written the header into its raw disk,
 * and a peer what it moved here: files elsewhere are followed only where a cloud says the format, and of what peers
 * moved here none are. Images that reach over a network are refused.
 */
import { execFile } from 'node:child_process'
import { realpath, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { promisify } from 'node:util'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_BACKING_CHAIN, QEMU_START_TIMEOUT_MS } from '../../protocol/limits.ts'
import { errnoOf } from './bounds.ts'
import { detectImageFormat, type ImageFormat } from './image-format.ts'
import { openWholeQcow2 } from './qcow2-head.ts'
import { openQemuNbd, qemuMissing, type QemuNbd, type QemuNbdOptions } from './qemu-nbd.ts'

const run = promisify(execFile)

/** An image served for reading, and every file that it is made of. */
export interface QemuImage extends AsyncDisposable {
  readonly url: string
  /** Absolute paths: the image first, then its data, extents and backing files. */
  readonly files: readonly string[]
}

/** Files besides itself that an image may be made of: any local ones, those in its folder and below, or none. */
export type OtherFiles = 'any' | 'beside' | 'none'

export interface QemuImageOptions {
  readonly lanes: number
  readonly signal?: AbortSignal
  /** 'beside' when left out; with 'none' it has to be a qcow2. */
  readonly others?: OtherFiles
}

/** Serves an image read-only. Throws FORMAT_UNSUPPORTED, and SOURCE_CHANGED when a machine is writing to it. */
export async function openQemuImage(
  image: string,
  format: ImageFormat,
  { lanes, signal, others = 'beside' }: QemuImageOptions,
): Promise<QemuImage> {
  await using stack = new AsyncDisposableStack()
  const options = { format, lanes, signal, writable: false }
  try {
    if (others === 'none') {
      if (format !== 'qcow2') throw unsupported(image, `the format ${format}`)
      const { path } = stack.use(await openWholeQcow2(image))
      const { url } = stack.use(await openQemuNbd(path, options))
      const owned = stack.move()
      return { url, files: [image], [Symbol.asyncDispose]: () => owned.disposeAsync() }
    }
    const files = await filesOf(image, format, signal)
    if (others === 'beside') await requireBeside(image, files)
    const served = stack.use(await openQemuNbd(image, options))
    // Of a backing file that is named without its format qemu decides itself, and follows what that one names.
    if (others === 'beside') await requireNoMore(image, files, await served.openFiles())
    const owned = stack.move()
    return { url: served.url, files, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  } catch (cause) {
    if (!(cause instanceof FluidError) || cause.code !== 'NAME_BUSY') throw cause
    throw new FluidError('SOURCE_CHANGED', cause.message, { cause, hint: cause.hint })
  }
}

/** Serves a qcow2 image of ours for writing. Throws NAME_BUSY while another qemu-nbd still ends. */
export async function openQcow2(
  image: string,
  options: Omit<QemuNbdOptions, 'format' | 'writable'>,
): Promise<QemuNbd> {
  return openQemuNbd(image, { ...options, format: 'qcow2', writable: true })
}

/** Makes an existing empty file an empty qcow2 image; qemu rounds the size up to 512 bytes. */
export async function createQcow2(
  image: string,
  sizeBytes: number,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  await qemuImg(['create', '-q', '-f', 'qcow2', image, String(sizeBytes)], image, options.signal)
}

/** One value that changes when any of the files was touched. */
export async function fingerprintOf(files: readonly string[]): Promise<string> {
  const parts: string[] = []
  for (const path of files) {
    const now = await stat(path, { bigint: true }).catch(() => undefined)
    parts.push(now ? `${now.size}:${now.mtimeNs}:${now.ino}:${now.dev}` : 'gone')
  }
  return `image:${parts.join('|')}`
}

/** What we read of `qemu-img info`. */
interface ImageInfo {
  readonly 'full-backing-filename'?: string
  readonly 'backing-filename-format'?: string
  readonly 'format-specific'?: {
    readonly data?: { readonly 'data-file'?: string; readonly extents?: { readonly filename: string }[] }
  }
}

async function filesOf(image: string, format: ImageFormat, signal?: AbortSignal): Promise<string[]> {
  const files = [image]
  let next: { path: string; format: string } | undefined = { path: image, format }
  for (let depth = 0; next && next.format !== 'raw'; depth++) {
    if (depth === MAX_BACKING_CHAIN) throw unsupported(image, `more than ${MAX_BACKING_CHAIN} backing files`)
    const info: ImageInfo = JSON.parse(
      await qemuImg(['info', '--output=json', '-f', next.format, next.path], image, signal),
    )
    const folder = dirname(next.path)
    const { 'data-file': dataFile, extents = [] } = info['format-specific']?.data ?? {}
    for (const name of [dataFile, ...extents.map((extent) => extent.filename)]) {
      if (name !== undefined) files.push(localPath(image, folder, name))
    }
    const backing = info['full-backing-filename']
    if (backing === undefined) break
    const path = localPath(image, folder, backing)
    files.push(path)
    next = { path, format: info['backing-filename-format'] ?? (await detectImageFormat(path)) }
  }
  return [...new Set(files)]
}

async function requireBeside(image: string, files: readonly string[]): Promise<void> {
  const folder = dirname(await realpath(image))
  for (const file of files) {
    const path = await realpath(file).catch(() => file)
    if (!path.startsWith(folder === '/' ? folder : `${folder}/`))
      throw unsupported(image, `a part outside its folder, ${path.slice(0, 200)}`)
  }
}

async function requireNoMore(
  image: string,
  files: readonly string[],
  open_: readonly string[],
): Promise<void> {
  const known = new Set<string>()
  for (const file of files) {
    const { dev, ino } = await stat(file, { bigint: true })
    known.add(`${dev}:${ino}`)
  }
  if (open_.some((one) => !known.has(one))) throw unsupported(image, 'parts that it does not name')
}

/** qemu reads what stands before a colon as a protocol (json:, nbd:, https:), unless a slash comes first. */
function localPath(image: string, folder: string, name: string): string {
  if (/^[^/]*:/.test(name)) throw unsupported(image, `a reference to ${name.slice(0, 200)}`)
  return resolve(folder, name)
}

function unsupported(image: string, what: string): FluidError {
  return new FluidError('FORMAT_UNSUPPORTED', `Cannot use ${image}: it has ${what}`, {
    hint: 'Flatten the image first: qemu-img convert',
  })
}

async function qemuImg(args: string[], image: string, signal?: AbortSignal): Promise<string> {
  try {
    const { stdout } = await run('qemu-img', args, { signal, timeout: QEMU_START_TIMEOUT_MS })
    return stdout
  } catch (cause) {
    signal?.throwIfAborted()
    if (errnoOf(cause) === 'ENOENT') throw qemuMissing('qemu-img', cause as Error)
    const said = String((cause as { stderr?: string }).stderr ?? cause)
      .trim()
      .replaceAll('\n', ' ')
    if (/\block\b/.test(said))
      throw new FluidError('NAME_BUSY', `Another process has ${image} open: ${said}`, { cause })
    if (/No space left|quota/.test(said))
      throw new FluidError('NO_SPACE', `No space for ${image}: ${said}`, { cause })
    throw new FluidError('FORMAT_UNSUPPORTED', `qemu-img ${args[0]} failed for ${image}: ${said}`, {
      cause,
      hint: 'Check the image with qemu-img check, or convert it to raw first',
    })
  }
}
