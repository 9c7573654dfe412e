/** What the machine offers to tests of storage: programs, root, loop devices, an NBD server. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync } from 'node:fs'
import { mkdir, truncate, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { ExecutionContext } from 'ava'
import { formatNbdUnixUrl } from '../../transfer/backends/nbd-url.ts'
import { tempDir } from './temp-dir.ts'

/** Runs a program to its end; throws with what it said. */
export const run = promisify(execFile)

/** True when a program is found on the PATH. */
export function hasProgram(name: string): boolean {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Why loop devices cannot be used here, or undefined. */
export function noLoopDevices(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root'
  if (!hasProgram('losetup')) return 'needs losetup'
  try {
    execFileSync('losetup', ['--find'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'has no loop device'
  }
}

/** A loop device over a file, detached when the test ends. */
export async function loopDevice(t: ExecutionContext, path: string): Promise<string> {
  const { stdout } = await run('losetup', ['--find', '--show', path])
  const device = stdout.trim()
  t.teardown(() => run('losetup', ['--detach', device]))
  return device
}

/** File systems that tests make: ext4 as most have it, xfs because files can share blocks in it. */
export type FileSystem = 'ext4' | 'xfs'

/** A file system of `sizeBytes` (xfs: at least 300 MiB) of its own, on a loop device over a file in `folder`; unmounted when the test ends. */
export async function smallFileSystem(
  t: ExecutionContext,
  folder: string,
  sizeBytes: number,
  kind: FileSystem = 'ext4',
): Promise<string> {
  const [image, mount] = [join(folder, `small.${kind}`), join(folder, 'small')]
  await makeFileSystem(image, sizeBytes, [
    `mkfs.${kind}`,
    ...(kind === 'ext4' ? ['-q', '-F', '-m', '0'] : ['-q']),
  ])
  await mountFor(t, mount, ['-o', 'loop', image])
  return mount
}

/**
 * The same of a disk that says it has `sizeBytes` and takes 4 MiB: what it does not take is noticed when it is written back,
 * and is lost.
 */
export async function losingFileSystem(
  t: ExecutionContext,
  folder: string,
  sizeBytes: number,
): Promise<string> {
  const [backing, mount] = [join(folder, 'backing'), join(folder, 'mount')]
  await mountFor(t, backing, ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs'])
  const image = join(backing, 'image')
  await makeFileSystem(image, sizeBytes, ['mkfs.ext4', '-q', '-F', '-O', '^has_journal', '-N', '64'])
  await mountFor(t, mount, ['-o', 'loop', image])
  return mount
}

async function makeFileSystem(image: string, sizeBytes: number, [mkfs, ...options]: string[]): Promise<void> {
  await writeFile(image, '')
  await truncate(image, sizeBytes)
  await run(mkfs, [...options, image], {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  })
}

/** Until the test ends. */
async function mountFor(t: ExecutionContext, folder: string, what: readonly string[]): Promise<void> {
  await mkdir(folder)
  await run('mount', [...what, folder])
  t.teardown(() => run('umount', ['--lazy', folder]))
}

/** Why smallFileSystem() cannot be used here, or undefined. */
export function noSmallFileSystems(kind: FileSystem = 'ext4'): string | undefined {
  return noLoopDevices() ?? (hasProgram(`mkfs.${kind}`) ? undefined : `needs mkfs.${kind}`)
}

/** Bytes of a file that the page cache has; needs fincore. */
export async function cachedBytes(path: string): Promise<number> {
  const { stdout } = await run('fincore', ['--bytes', '--noheadings', '--output', 'RES', path])
  return Number(stdout)
}

/** Starts nbdkit with these arguments; ends with the test. Returns its address. */
export function nbdkit(t: ExecutionContext, args: string[]): Promise<string> {
  return nbdServer(t, 'nbdkit', (socket, pid) => [
    '--foreground',
    '--exit-with-parent',
    `--pidfile=${pid}`,
    `--unix=${socket}`,
    ...args,
  ])
}

/** Starts qemu-nbd with these arguments; ends with the test. Returns its address. */
export function qemuNbd(t: ExecutionContext, args: string[]): Promise<string> {
  return nbdServer(t, 'qemu-nbd', (socket, pid) => [
    '--persistent',
    `--pid-file=${pid}`,
    `--socket=${socket}`,
    ...args,
  ])
}

async function nbdServer(
  t: ExecutionContext,
  program: string,
  args: (socket: string, pid: string) => string[],
): Promise<string> {
  const folder = await tempDir(t)
  const [socket, pid] = [join(folder, 'nbd'), join(folder, 'pid')]
  const child = spawn(program, args(socket, pid), { stdio: 'ignore' })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  while (child.exitCode === null) {
    // It writes its pid once it listens; the socket is there before that.
    if (existsSync(pid)) return formatNbdUnixUrl(socket)
    await delay(5)
  }
  throw new Error(`${child.spawnargs.join(' ')} exited with ${child.exitCode}`)
}
