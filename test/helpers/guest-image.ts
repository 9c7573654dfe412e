/** Disk images with file systems in them, made without root: mke2fs fills them from a folder, sfdisk makes tables. */
import { execFile } from 'node:child_process'
import { mkdtemp, open, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openFuseImage } from '../../transfer/guest/fuse-image.ts'
import { hasProgram } from './programs.ts'

const run = promisify(execFile)
const MiB = 1024 * 1024

/** Why file systems cannot be made here. */
export function noMke2fs(): string | undefined {
  return hasProgram('mke2fs') && hasProgram('debugfs') ? undefined : 'needs e2fsprogs'
}

/** Why partition tables cannot be made here. */
export function noSfdisk(): string | undefined {
  return hasProgram('sfdisk') ? undefined : 'needs sfdisk'
}

export interface ExtImage {
  readonly sizeMiB?: number
  /** Where the file system begins in the image. */
  readonly offset?: number
  /** Copied into it, with owners and modes. */
  readonly folder?: string
  /** More arguments of mke2fs: -t, -b, -O, -L, -U... */
  readonly options?: readonly string[]
}

/** Makes a file system in `image`, which grows to hold it. */
export async function makeExt(image: string, made: ExtImage): Promise<void> {
  const { sizeMiB = 16, offset = 0, folder, options = ['-t', 'ext4'] } = made
  await using file = await open(image, 'a')
  const end = offset + sizeMiB * MiB
  if ((await file.stat()).size < end) await truncate(image, end)
  const from = folder === undefined ? [] : ['-d', folder]
  const place = offset === 0 ? [] : ['-E', `offset=${offset}`]
  await onFile(image, ['mke2fs', '-q', '-F', ...options, ...place, ...from, FILE, `${sizeMiB}M`])
}

/** Writes a partition table into `image`, as sfdisk reads it. */
export async function makeTable(image: string, script: string): Promise<void> {
  const child = run('sfdisk', ['-q', '--no-reread', '--no-tell-kernel', image])
  child.child.stdin?.end(script)
  await child
}

/** Runs commands of debugfs on a file system in an image. */
export async function debugfs(image: string, commands: readonly string[], offset = 0): Promise<string> {
  return onFile(image, ['debugfs', '-w', '-f', '-', `${FILE}?offset=${offset}`], `${commands.join('\n')}\n`)
}

/** Throws with what e2fsck says unless the file system is without a fault. */
export async function checkExt(image: string, offset = 0): Promise<void> {
  await onFile(image, ['e2fsck', '-fn', `${FILE}?offset=${offset}`]).catch((error: { stdout: string }) => {
    throw new Error(`e2fsck: ${error.stdout}`, { cause: error })
  })
}

/** What onFile() calls the image: these tools take a question mark in a name for the start of options. */
const FILE = '/proc/self/fd/3'

async function onFile(image: string, command: readonly string[], input = ''): Promise<string> {
  const started = run('sh', ['-c', 'image=$1; shift; exec "$@" 3<>"$image"', 'sh', image, ...command])
  started.child.stdin?.on('error', () => {}).end(input)
  const { stdout, stderr } = await started
  return stdout + stderr
}

/** Why files inside qcow2 images cannot be edited here: only trying tells whether FUSE may be used. */
export async function noFuseImages(): Promise<string | undefined> {
  if (!hasProgram('qemu-img') || !hasProgram('qemu-storage-daemon')) return 'needs qemu-utils'
  const folder = await mkdtemp(join(tmpdir(), 'fct-'))
  try {
    const image = join(folder, 'probe.qcow2')
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', image, '1M'])
    await using _open = await openFuseImage(image)
    return undefined
  } catch (error) {
    return `needs FUSE: ${(error as Error).message}`
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
