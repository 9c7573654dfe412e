/**
 * What the first block of an image or block device tells: how many bytes a machine sees of it, and whether it is whole.
 * https://github.com/qemu/qemu/blob/master/docs/interop/qcow2.txt, "Header".
 */
import { type FileHandle, open } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'
import { blockDeviceSize } from '../../transfer/linux.ts'
import type { MachineDisk } from '../../protocol/machine.ts'

const QCOW2_MAGIC = 0x51_46_49_fb
const QCOW2_VERSION_OFFSET = 4
const QCOW2_BACKING_OFFSET = 8
const QCOW2_SIZE_OFFSET = 24
const QCOW2_FEATURES_OFFSET = 72
/** Among the incompatible features: the data are in another file. */
const QCOW2_DATA_FILE = 4n
const QCOW2_HEAD_BYTES = 80

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

/** False for an image that has parts in other files, which it names: whoever wrote it chose them. Throws CLOUD_FAILED. */
export async function isWhole(path: string, format: MachineDisk['format']): Promise<boolean> {
  if (format === 'raw') return true
  try {
    const file = await open(path, 'r')
    try {
      const head = await qcow2Head(file)
      const hasFeatures = head.readUInt32BE(QCOW2_VERSION_OFFSET) >= 3
      const features = hasFeatures ? head.readBigUInt64BE(QCOW2_FEATURES_OFFSET) : 0n
      return head.readBigUInt64BE(QCOW2_BACKING_OFFSET) === 0n && (features & QCOW2_DATA_FILE) === 0n
    } finally {
      await file.close()
    }
  } catch (cause) {
    throw new FluidError('CLOUD_FAILED', `Reading ${path} failed: ${(cause as Error).message}`, { cause })
  }
}

async function qcow2Size(file: FileHandle): Promise<number> {
  return Number((await qcow2Head(file)).readBigUInt64BE(QCOW2_SIZE_OFFSET))
}

async function qcow2Head(file: FileHandle): Promise<Buffer> {
  const head = Buffer.alloc(QCOW2_HEAD_BYTES)
  const { bytesRead } = await file.read(head, 0, head.length, 0)
  if (bytesRead < head.length || head.readUInt32BE(0) !== QCOW2_MAGIC) throw new Error('it is no qcow2 image')
  return head
}
