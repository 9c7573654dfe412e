/**
 * A private qemu-nbd for one image, on a Unix socket in a folder that only we can enter. It is not
 * persistent: when our last connection goes, by SIGKILL too, it flushes and ends by itself.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { lstat, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { FluidError } from '../../protocol/errors.ts'
import { QEMU_START_TIMEOUT_MS, QEMU_STOP_TIMEOUT_MS } from '../../protocol/limits.ts'
import { errnoOf } from './bounds.ts'
import { takesDirectWrites } from './direct-writes.ts'
import type { ImageFormat } from './image-format.ts'
import { openNbdClient, type NbdClient } from './nbd-client.ts'
import { formatNbdUnixUrl, parseNbdUrl } from './nbd-url.ts'

/** sockaddr_un holds 108 bytes with the final NUL. */
const MAX_SOCKET_PATH_BYTES = 107
const FOLDER_PREFIX = 'fluidcloud-'
const CONNECT_RETRY_MS = 10
/** As the kernel writes it on x86 and arm64: <asm-generic/fcntl.h>. */
const O_CLOEXEC = 0o2000000
/** Bytes kept of what it says. */
const MAX_STDERR_CHARS = 4096
/** Connections beyond the lanes': ours that holds the image, the main thread's, a lane that is being replaced. */
const SPARE_CONNECTIONS = 8

/** A running qemu-nbd; dispose ends it and waits until what it held is flushed. */
export interface QemuNbd extends AsyncDisposable {
  /** Address for any number of openers up to the lanes asked for. */
  readonly url: string
  /** DEVICE:INODE of the files and block devices that it has opened: what the image is made of, as the kernel tells. */
  openFiles(): Promise<string[]>
}

export interface QemuNbdOptions {
  readonly format: ImageFormat
  readonly writable: boolean
  readonly lanes: number
  readonly signal?: AbortSignal
}

/**
 * Serves an image file. Throws FORMAT_UNSUPPORTED without qemu-utils or for an image it refuses, NAME_BUSY when
 * another process holds the image.
 */
export async function openQemuNbd(image: string, options: QemuNbdOptions): Promise<QemuNbd> {
  options.signal?.throwIfAborted()
  await using stack = new AsyncDisposableStack()
  const folder = await openSocketFolder()
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const socket = join(folder, 'nbd')
  const child = spawn('qemu-nbd', argumentsFor(image, socket, options), {
    stdio: ['ignore', 'ignore', 'pipe'],
    // Out of reach of Ctrl-C: the agent ends it in order.
    detached: true,
  })
  const ended = endOf(child)
  stack.defer(() => stop(child, ended))
  const url = formatNbdUnixUrl(socket, { zeroed: options.writable })
  stack.use(await holdOpen(url, image, ended, options.signal))
  const owned = stack.move()
  return {
    url,
    openFiles: () => filesOpenedBy(child.pid!),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function filesOpenedBy(pid: number): Promise<string[]> {
  const files: string[] = []
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const found = await stat(`/proc/${pid}/fd/${fd}`, { bigint: true }).catch(() => undefined)
    if (!found?.isFile() && !found?.isBlockDevice()) continue
    // qemu opens all files close-on-exec; what is not was open before it began, and is ours.
    const about = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '')
    const [, flags = '0'] = /^flags:\s*([0-7]+)$/m.exec(about) ?? []
    if (parseInt(flags, 8) & O_CLOEXEC) files.push(`${found.dev}:${found.ino}`)
  }
  return files
}

function argumentsFor(image: string, socket: string, { format, writable, lanes }: QemuNbdOptions): string[] {
  const mode = writable
    ? ['--discard=unmap', '--detect-zeroes=off', `--cache=${cacheOf(image)}`]
    : ['--read-only']
  return [`--socket=${socket}`, `--shared=${lanes + SPARE_CONNECTIONS}`, `--format=${format}`, ...mode, image]
}

/**
 * With either, a flush reaches the disk, and nothing is promised before one. Past the page cache where a disk takes that: 4 GiB
 * then take a fifth less time, and drive nothing out of it.
 */
function cacheOf(image: string): 'none' | 'writeback' {
  return takesDirectWrites(image) ? 'none' : 'writeback'
}

/** A short, private folder for the socket; those of processes that were killed are cleared away. */
async function openSocketFolder(): Promise<string> {
  const name = `${FOLDER_PREFIX}${process.pid}-`
  const long = Buffer.byteLength(join(tmpdir(), `${name}XXXXXX`, 'nbd')) > MAX_SOCKET_PATH_BYTES
  const parent = long ? '/tmp' : tmpdir()
  for (const entry of await readdir(parent)) {
    const pid = new RegExp(`^${FOLDER_PREFIX}(\\d+)-`).exec(entry)?.[1]
    if (pid && !isAlive(Number(pid)) && (await isOurs(join(parent, entry))))
      await rm(join(parent, entry), { recursive: true, force: true })
  }
  return mkdtemp(join(parent, name))
}

/** Nobody else can have put anything into a private folder of ours. */
async function isOurs(folder: string): Promise<boolean> {
  const found = await lstat(folder).catch(() => undefined)
  return found !== undefined && found.isDirectory() && found.uid === process.geteuid?.()
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return errnoOf(error) !== 'ESRCH'
  }
}

/** Resolves with what the process said once it is gone; with the error when it never started. */
async function endOf(child: ChildProcess): Promise<{ said: string; error?: Error }> {
  let said = ''
  child.stderr
    ?.setEncoding('utf8')
    .on('data', (text: string) => (said = (said + text).slice(-MAX_STDERR_CHARS)))
  try {
    await once(child, 'close')
    return { said }
  } catch (error) {
    return { said, error: error as Error }
  }
}

/** The connection that keeps the server alive as long as we live. */
async function holdOpen(
  url: string,
  image: string,
  ended: Promise<{ said: string; error?: Error }>,
  signal: AbortSignal | undefined,
): Promise<NbdClient> {
  const late = AbortSignal.timeout(QEMU_START_TIMEOUT_MS)
  let end: { said: string; error?: Error } | undefined
  void ended.then((result) => (end = result))
  while (true) {
    signal?.throwIfAborted()
    if (end) throw refusal(image, end)
    if (late.aborted)
      throw new FluidError('TIMEOUT', `qemu-nbd did not open ${image} within ${QEMU_START_TIMEOUT_MS} ms`)
    try {
      return await openNbdClient(parseNbdUrl(url), { signal })
    } catch {
      await delay(CONNECT_RETRY_MS, undefined, { signal })
    }
  }
}

function refusal(image: string, end: { said: string; error?: Error }): FluidError {
  if (end.error) return qemuMissing('qemu-nbd', end.error)
  const said = end.said.trim().replaceAll('\n', ' ')
  if (/\block\b/.test(said)) {
    return new FluidError('NAME_BUSY', `Another process has ${image} open: ${said}`, {
      hint: 'Stop the machine that uses this image, or move a snapshot of it',
    })
  }
  return new FluidError('FORMAT_UNSUPPORTED', `qemu-nbd cannot open ${image}: ${said}`, {
    hint: 'Check the image with qemu-img check, or convert it to raw first',
  })
}

/** FORMAT_UNSUPPORTED for a program of qemu-utils that could not be started. */
export function qemuMissing(program: string, cause: Error): FluidError {
  return new FluidError('FORMAT_UNSUPPORTED', `Cannot run ${program}: ${cause.message}`, {
    cause,
    hint: 'Install qemu-utils on this machine, or convert the image to raw first',
  })
}

async function stop(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), QEMU_STOP_TIMEOUT_MS)
  await ended
  clearTimeout(timer)
}
