/**
 * Tells image formats by their magic bytes. What matches none is raw: qemu is never left to guess, since
 * a guest could write a header into its raw disk that names a file of the host. For the same reason a name
 * that ends in .raw is raw whatever it holds.
 */
import { open, type FileHandle } from 'node:fs/promises'

/** A format that qemu reads; raw needs no qemu. */
export type ImageFormat = 'raw' | 'qcow2' | 'vmdk' | 'vhdx' | 'vdi' | 'vpc'

const HEAD_BYTES = 512
const VHD_FOOTER_BYTES = 512
const VHD_CHECKSUM_AT = 64

/** The format of an image file. Throws what open() and read() throw. */
export async function detectImageFormat(path: string): Promise<ImageFormat> {
  if (path.endsWith('.raw')) return 'raw'
  await using file = await open(path, 'r')
  const { size } = await file.stat()
  const head = await bytesAt(file, 0, HEAD_BYTES)
  const format = formatOfHead(head)
  if (format !== 'raw' || size < VHD_FOOTER_BYTES) return format
  const foot = await bytesAt(file, size - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES)
  return isVhdFooter(foot) ? 'vpc' : 'raw'
}

function formatOfHead(head: Buffer): ImageFormat {
  const text = head.toString('latin1')
  if (text.startsWith('QFI\xfb')) return 'qcow2'
  if (text.startsWith('KDMV') || text.startsWith('COWD') || text.startsWith('# Disk DescriptorFile'))
    return 'vmdk'
  if (text.startsWith('vhdxfile')) return 'vhdx'
  if (text.startsWith('conectix')) return 'vpc'
  if (head.length >= 68 && head.readUInt32LE(64) === 0xbeda_107f) return 'vdi'
  return 'raw'
}

/** A fixed VHD is a raw disk with a footer; its checksum keeps chance out. */
function isVhdFooter(foot: Buffer): boolean {
  if (foot.length < VHD_FOOTER_BYTES || foot.toString('latin1', 0, 8) !== 'conectix') return false
  const sum = foot.reduce(
    (total, byte, at) => (at >= VHD_CHECKSUM_AT && at < VHD_CHECKSUM_AT + 4 ? total : total + byte),
    0,
  )
  return ~sum >>> 0 === foot.readUInt32BE(VHD_CHECKSUM_AT)
}

async function bytesAt(file: FileHandle, offset: number, lengthBytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(lengthBytes), 0, lengthBytes, offset)
  return buffer.subarray(0, bytesRead)
}
