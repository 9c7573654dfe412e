/** Files and block devices that are machines' disks, while no machine writes to them. */
import { open, readdir, readFile, realpath, rm, stat } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import type { DescribedDisk } from './machine-file.ts'

/** Another one when the file was replaced, resized or written to; for a block device another one each time it is asked. */
export async function imageIdentity(path: string): Promise<string> {
  const now = await stat(path, { bigint: true })
  if (now.isBlockDevice()) return `block-${now.rdev}-${process.hrtime.bigint()}-${process.pid}`
  return `file-${now.dev}-${now.ino}-${now.mtimeNs}-${now.size}`
}

/**
 * Brings what was written to stable storage. Throws CLOUD_FAILED when this host has it mounted: then the file system,
 * which no pause reaches, still holds what is to be written.
 */
export async function settleImage(path: string): Promise<void> {
  const where = await mountedAt(path)
  if (where)
    throw new FluidError('CLOUD_FAILED', `${path} is mounted at ${where}, so what is in it is not settled`, {
      hint: 'Stop the machine with a command that unmounts it, then move it',
    })
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Of each disk that removeImages() would remove: which file it is, whatever was written to it. */
export async function imageMarks(
  disks: readonly Pick<DescribedDisk, 'path' | 'readOnly'>[],
): Promise<string[]> {
  const marks: string[] = []
  for (const { path, readOnly } of disks) {
    const found = readOnly ? undefined : await stat(path, { bigint: true }).catch(() => undefined)
    // An inode's number is given again as soon as it is free. The device's may be another one when the host starts anew.
    if (found?.isFile()) marks.push(`file-${found.ino}-${found.birthtimeNs}`)
  }
  return marks
}

/** Removes the regular files among a machine's disks; devices are left, and what it may only read: others may share it. */
export async function removeImages(
  disks: readonly Pick<DescribedDisk, 'path' | 'readOnly'>[],
): Promise<void> {
  for (const { path, readOnly } of disks) {
    if (readOnly) continue
    const found = await stat(path).catch(() => undefined)
    if (found?.isFile()) await rm(path, { force: true })
  }
}

/** Where a file (through a loop device) or block device is mounted on this host. */
async function mountedAt(path: string): Promise<string | undefined> {
  const found = await stat(path)
  const numbers = found.isBlockDevice() ? [deviceNumbers(found.rdev)] : await loopsOf(path)
  if (numbers.length === 0) return undefined
  // ID PARENT MAJOR:MINOR ROOT WHERE ...: https://docs.kernel.org/filesystems/proc.html, 3.5
  for (const line of (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')) {
    const [, , device, , where] = line.split(' ')
    if (numbers.includes(device)) return where
    // btrfs has a number of its own there; behind the dash are the kind and the device.
    const source = line.split(' - ')[1]?.split(' ')[1]
    const from = source?.startsWith('/dev/') ? await stat(source).catch(() => undefined) : undefined
    if (from?.isBlockDevice() && numbers.includes(deviceNumbers(from.rdev))) return where
  }
  return undefined
}

async function loopsOf(path: string): Promise<string[]> {
  const loops = (await readdir('/sys/block').catch(() => [])).filter((name) => name.startsWith('loop'))
  const real = await realpath(path)
  const found: string[] = []
  for (const loop of loops) {
    const backing = await readFile(`/sys/block/${loop}/loop/backing_file`, 'utf8').catch(() => '')
    if (backing.trimEnd() !== real) continue
    found.push((await readFile(`/sys/block/${loop}/dev`, 'utf8')).trim())
  }
  return found
}

/** As the kernel writes them; the layout of dev_t is that of <sys/sysmacros.h>. */
function deviceNumbers(device: number): string {
  const number = BigInt(device)
  const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & ~0xfffn)
  const minor = (number & 0xffn) | ((number >> 12n) & ~0xffn)
  return `${major}:${minor & 0xffff_ffffn}`
}
