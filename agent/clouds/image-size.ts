/** What is to be known of an image or block device before a machine has it: how many bytes it sees, and whether it is whole. */
import { type FileHandle, open } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import type { MachineDisk } from '../../protocol/machine.ts'
import { readQcow2Head } from '../../transfer/backends/qcow2-head.ts'
import { blockDeviceSize } from '../../transfer/linux.ts'

/** Throws CLOUD_FAILED when it cannot be read or is not of this format. */
export async function imageSize(path: string, format: MachineDisk['format']): Promise<number> {
  return await reading(path, async (file) => {
    if (format === 'qcow2') return (await readQcow2Head(file)).sizeBytes
    const found = await file.stat()
    return found.isBlockDevice() ? blockDeviceSize(file.fd) : found.size
  })
}

/**
 * Throws CLOUD_FAILED for images that name other files that they are made of: a machine that somebody sent must not read
 * or write files of this host through its disks.
 */
export async function requireWhole(disks: readonly Pick<MachineDisk, 'path' | 'format'>[]): Promise<void> {
  for (const { path, format } of disks)
    if (format !== 'raw' && !(await reading(path, readQcow2Head)).isWhole)
      throw new FluidError('CLOUD_FAILED', `Disk ${path} names other files that it is made of`, {
        hint: 'Flatten the image first: qemu-img convert',
      })
}

async function reading<T>(path: string, read: (file: FileHandle) => Promise<T>): Promise<T> {
  try {
    await using file = await open(path, 'r')
    return await read(file)
  } catch (cause) {
    throw new FluidError('CLOUD_FAILED', `Reading ${path} failed: ${(cause as Error).message}`, { cause })
  }
}
