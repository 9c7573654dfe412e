/** Disk images with file systems in them, made without root: mke2fs fills them from a folder, sfdisk makes tables. */
import { execFile } from 'node:child_process'
import { open, truncate } from 'node:fs/promises'
import { promisify } from 'node:util'
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
  await run('mke2fs', ['-q', '-F', ...options, ...place, ...from, image, `${sizeMiB}M`])
}

/** Writes a partition table into `image`, as sfdisk reads it. */
export async function makeTable(image: string, script: string): Promise<void> {
  const child = run('sfdisk', ['-q', '--no-reread', '--no-tell-kernel', image])
  child.child.stdin?.end(script)
  await child
}

/** Runs commands of debugfs on a file system in an image. */
export async function debugfs(image: string, commands: readonly string[], offset = 0): Promise<string> {
  const child = run('debugfs', ['-w', '-f', '-', `${image}?offset=${offset}`])
  child.child.stdin?.end(`${commands.join('\n')}\n`)
  const { stdout, stderr } = await child
  return stdout + stderr
}

/** Throws with what e2fsck says unless the file system is without a fault. */
export async function checkExt(image: string, offset = 0): Promise<void> {
  await run('e2fsck', ['-fn', `${image}?offset=${offset}`]).catch((error: { stdout: string }) => {
    throw new Error(`e2fsck: ${error.stdout}`, { cause: error })
  })
}
