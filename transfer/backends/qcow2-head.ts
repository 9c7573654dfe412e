/**
 * What the first block of a qcow2 image says of it, read without qemu: how large the disk in it is, and whether it is whole.
 * https://github.com/qemu/qemu/blob/master/docs/interop/qcow2.txt, "Header".
 */
import { open, type FileHandle } from 'node:fs/promises'
import { FluidError } from '../../protocol/errors.ts'

const MAGIC = 0x51_46_49_fb
const VERSION_OFFSET = 4
const BACKING_OFFSET = 8
const SIZE_OFFSET = 24
const FEATURES_OFFSET = 72
/** Among the incompatible features: the data are in another file. */
const DATA_FILE = 4n
const HEAD_BYTES = 80

export interface Qcow2Head {
  /** Bytes that a machine sees. */
  readonly sizeBytes: number
  /** False for an image that has parts in other files, which it names: whoever wrote it chose them. */
  readonly isWhole: boolean
}

/** Throws what read() throws, and for a file that is no qcow2 image. */
export async function readQcow2Head(file: FileHandle): Promise<Qcow2Head> {
  const head = Buffer.alloc(HEAD_BYTES)
  const { bytesRead } = await file.read(head, 0, head.length, 0)
  if (bytesRead < head.length || head.readUInt32BE(0) !== MAGIC) throw new Error('it is no qcow2 image')
  const hasFeatures = head.readUInt32BE(VERSION_OFFSET) >= 3
  const features = hasFeatures ? head.readBigUInt64BE(FEATURES_OFFSET) : 0n
  return {
    sizeBytes: Number(head.readBigUInt64BE(SIZE_OFFSET)),
    isWhole: head.readBigUInt64BE(BACKING_OFFSET) === 0n && (features & DATA_FILE) === 0n,
  }
}

/** A qcow2 image that was found whole, held open. */
export interface WholeQcow2 extends AsyncDisposable {
  /** For processes of our user: nothing but the file whose header was read, whatever is renamed meanwhile. */
  readonly path: string
}

/** Throws FORMAT_UNSUPPORTED for what is no qcow2 image, or has parts in other files; what open() throws. */
export async function openWholeQcow2(image: string): Promise<WholeQcow2> {
  const file = await open(image, 'r')
  try {
    if (!(await readQcow2Head(file)).isWhole) throw new Error('it has parts in other files')
  } catch (cause) {
    await file.close()
    throw new FluidError('FORMAT_UNSUPPORTED', `Cannot use ${image}: ${(cause as Error).message}`, {
      cause,
      hint: 'Flatten the image first: qemu-img convert',
    })
  }
  return { path: `/proc/${process.pid}/fd/${file.fd}`, [Symbol.asyncDispose]: () => file.close() }
}
