/** What the benchmarks move: a file that does not compress, and a real disk in two versions. */
import { execFile } from 'node:child_process'
import { createCipheriv } from 'node:crypto'
import { mkdir, open, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const BLOCK_BYTES = 512
const STEP_BYTES = 4 * 2 ** 20
const MAKE_DISK = fileURLToPath(new URL('./make-disk.sh', import.meta.url))

/** An incompressible file of `sizeBytes`, the same at every call, kept in `folder`. */
export async function incompressibleFile(folder: string, sizeBytes: number): Promise<string> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, `random-${sizeBytes}.raw`)
  const found = await stat(path).catch(() => undefined)
  if (found?.size === sizeBytes) return path
  const unfinished = `${path}.part`
  {
    await using file = await open(unfinished, 'w')
    const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 'fluidcloud bench'), Buffer.alloc(16))
    const zeros = Buffer.alloc(STEP_BYTES)
    for (let at = 0; at < sizeBytes; at += STEP_BYTES) {
      await file.write(cipher.update(zeros.subarray(0, Math.min(STEP_BYTES, sizeBytes - at))))
    }
  }
  await rename(unfinished, path)
  return path
}

export interface Disks {
  readonly disk: string
  /** The same disk after an upgrade in place. */
  readonly upgraded: string
}

/** The disks given, or those of `folder`; makes them there when missing, which needs root and takes minutes. */
export async function realDisks(folder: string, given: Partial<Disks>): Promise<Disks> {
  if (given.disk && given.upgraded) return { disk: given.disk, upgraded: given.upgraded }
  const disks = { disk: join(folder, 'v1.raw'), upgraded: join(folder, 'v2.raw') }
  const there = await Promise.all(Object.values(disks).map((path) => stat(path).catch(() => undefined)))
  if (there.every(Boolean)) return disks
  console.error(`Making the disk in ${folder}; this takes some minutes`)
  await promisify(execFile)(MAKE_DISK, [folder], {
    maxBuffer: 64 * 2 ** 20,
    env: { ...process.env, NODE: process.execPath },
  })
  return disks
}

/** The disk as a qcow2 image, kept beside it. */
export async function qcow2Of(disk: string): Promise<string> {
  const image = disk.replace(/(\.raw)?$/, '.qcow2')
  if (await stat(image).catch(() => undefined)) return image
  await promisify(execFile)('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', disk, `${image}.part`])
  await rename(`${image}.part`, image)
  return image
}

/** What a file holds beside its holes. */
export async function dataBytes(path: string): Promise<number> {
  return (await stat(path)).blocks * BLOCK_BYTES
}

/** Reads a file's data, so that it is in the page cache. */
export async function warm(path: string): Promise<void> {
  // cat follows no holes, but neither does it keep anything of them.
  await promisify(execFile)('sh', ['-c', 'cat -- "$1" >/dev/null', 'sh', path])
}
