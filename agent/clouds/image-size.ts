/** How many bytes a machine sees of an image or block device, read from its first block. */
import { open } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import { blockDeviceSize } from '../../transfer/linux.ts'
import type { MachineDisk } from './cloud.ts'

const QCOW2_MAGIC = 0x51_46_49_fb
const QCOW2_SIZE_OFFSET = 24

/** Throws CLOUD_FAILED when it cannot be read or is not of this format. */
export async function imageSize(path: string, format: MachineDisk['format']): Promise<number> {
  try {
    const file = await open(path, 'r')
    try {
      if (format === 'qcow2') return await qcow2Size(file)
      const found = await file.stat()
      return found.isBlockDevice() ? blockDeviceSize(file.fd) : found.size
    } finally {
      await file.close()
    }
  } catch (cause) {
    throw new FluidError('CLOUD_FAILED', `Reading the size of ${path} failed: ${(cause as Error).message}`, {
      cause,
    })
  }
}

async function qcow2Size(file: Awaited<ReturnType<typeof open>>): Promise<number> {
  const head = Buffer.alloc(32)
  const { bytesRead } = await file.read(head, 0, head.length, 0)
  if (bytesRead < head.length || head.readUInt32BE(0) !== QCOW2_MAGIC) throw new Error('it is no qcow2 image')
  return Number(head.readBigUInt64BE(QCOW2_SIZE_OFFSET))
}
