/**
 * A qcow2 image as a plain file, for tools that know files only: a private qemu-storage-daemon exports it through FUSE, in
 * a folder that only we can enter. It gets SIGTERM when we end, however we end, and then flushes and unmounts by itself.
 */
import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { lstat, mkdtemp, open, readdir, rmdir, stat, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { FluidError } from '../../protocol/errors.ts'
import { QEMU_START_TIMEOUT_MS, QEMU_STOP_TIMEOUT_MS } from '../../protocol/limits.ts'
import { openWholeQcow2 } from '../backends/qcow2-head.ts'

export interface FuseImage extends AsyncDisposable {
  /** A file of the size that the machine sees. */
  readonly path: string
}

const run = promisify(execFile)
const POLL_MS = 10
/** Of its own: whoever clears folders of dead processes must unmount first. */
const FOLDER_PREFIX = 'fluidcloud-fuse-'
const MAX_STDERR_CHARS = 4096

/**
 * Opens an image for reading and writing: it, and no file that its header may name, which another wrote. Throws
 * FORMAT_UNSUPPORTED for an image that names one and with what is missing, NAME_BUSY.
 */
export async function openFuseImage(
  image: string,
  options: { signal?: AbortSignal } = {},
): Promise<FuseImage> {
  options.signal?.throwIfAborted()
  await using stack = new AsyncDisposableStack()
  const whole = stack.use(await openWholeQcow2(image))
  await clearLeftovers()
  const folder = await mkdtemp(join(tmpdir(), `${FOLDER_PREFIX}${process.pid}-`))
  // Not recursively: whatever is still mounted there must not be emptied.
  stack.defer(() => rmdir(folder).catch(() => {}))
  const path = join(folder, 'disk')
  await (await open(path, 'wx', 0o600)).close()
  stack.defer(() => unlink(path).catch(() => {}))
  const own = (await stat(path)).dev

  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'TERM', 'qemu-storage-daemon', ...argumentsFor(whole.path, path)],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    },
  )
  let said = ''
  child.stderr
    .setEncoding('utf8')
    .on('data', (text: string) => (said = (said + text).slice(-MAX_STDERR_CHARS)))
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => resolve())
    child.on('error', (error) => {
      said += error.message
      resolve()
    })
  })
  stack.defer(async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), QEMU_STOP_TIMEOUT_MS)
    await ended
    clearTimeout(timer)
  })
  let over = false
  void ended.then(() => (over = true))
  const late = AbortSignal.timeout(QEMU_START_TIMEOUT_MS)
  while ((await stat(path)).dev === own) {
    options.signal?.throwIfAborted()
    if (over || late.aborted) throw refusal(image, over ? said : 'it did not start in time')
    await delay(POLL_MS)
  }
  const owned = stack.move()
  return { path, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Folders of processes that were killed; a mount whose server was killed too has to go first. */
async function clearLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = new RegExp(`^${FOLDER_PREFIX}(\\d+)-`).exec(name)?.[1]
    if (!pid || existsSync(`/proc/${pid}`)) continue
    const folder = join(tmpdir(), name)
    const found = await lstat(folder).catch(() => undefined)
    if (!found?.isDirectory() || found.uid !== process.geteuid?.()) continue
    const path = join(folder, 'disk')
    // A server that still ends unmounts by itself: only one that is gone leaves a mount that answers nothing.
    const isDead = await stat(path).then(
      () => false,
      (error: NodeJS.ErrnoException) => error.code === 'ENOTCONN',
    )
    if (isDead) await run('fusermount3', ['-u', '-z', path]).catch(() => {})
    await unlink(path).catch(() => {})
    await rmdir(folder).catch(() => {})
  }
}

function argumentsFor(image: string, path: string): string[] {
  const file = { driver: 'file', filename: image }
  return [
    '--blockdev',
    JSON.stringify({ driver: 'qcow2', 'node-name': 'disk', file, backing: null, discard: 'unmap' }),
    '--export',
    JSON.stringify({ type: 'fuse', id: 'disk', 'node-name': 'disk', mountpoint: path, writable: true }),
  ]
}

function refusal(image: string, said: string): FluidError {
  const text = said.trim().replaceAll('\n', ' ')
  if (/\block\b/.test(text))
    return new FluidError('NAME_BUSY', `Another process has ${image} open: ${text}`, {
      hint: 'Stop the machine that uses this image',
    })
  return new FluidError('FORMAT_UNSUPPORTED', `Cannot open ${image} to edit files in it: ${text}`, {
    hint: 'Files in qcow2 images are edited through qemu-storage-daemon and FUSE (/dev/fuse, fuse3); raw disks need neither',
  })
}
