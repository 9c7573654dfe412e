/** What the benchmarks move: a file that does not compress, and a real disk in two versions. */
import { execFile } from 'node:child_process'
import { createCipheriv } from 'node:crypto'
import { mkdir, open, rename, stat, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const STEP_BYTES = 4 * 2 ** 20
/** The machine and the volume of the paper's trial. */
const MACHINE_BYTES = 5_400_000_000
const VOLUME_BYTES = 512 * 2 ** 20
const [MACHINE_SEED, VOLUME_SEED, SCATTERED_SEED] = [1001, 1002, 1003]
const SCATTERED_BYTES = 200 * 2 ** 20
const PIECE_BYTES = 64 * 1024
/** Of the multiplicative generator mod 2^31 - 1: Park and Miller 1988. */
const [MULTIPLIER, MODULUS] = [16807, 2 ** 31 - 1]
const DISK_FILES = fileURLToPath(new URL('./disk-files.ts', import.meta.url))
const MAKE_DISK = fileURLToPath(new URL('./make-disk.sh', import.meta.url))

/** An incompressible file of `sizeBytes`, the same at every call and another for each `seed`, kept in `folder`. */
export async function incompressibleFile(folder: string, sizeBytes: number, seed = 0): Promise<string> {
  const name = seed === 0 ? `random-${sizeBytes}.raw` : `random-${sizeBytes}-${seed}.raw`
  return await made(join(folder, name), sizeBytes, (file) => writeRandom(file, sizeBytes, seed))
}

/** The data of the disk without its holes, as a machine that fills its disk, and random bytes behind: 5.4 GB. */
export async function machineDisk(folder: string, disk: string): Promise<string> {
  return await made(join(folder, `machine-${MACHINE_BYTES}.raw`), MACHINE_BYTES, async (file) => {
    await using from = await open(disk)
    const step = Buffer.alloc(STEP_BYTES)
    let written = 0
    for (;;) {
      const { bytesRead } = await from.read(step, 0, STEP_BYTES)
      if (bytesRead === 0) break
      if (step.subarray(0, bytesRead).every((byte) => byte === 0)) continue
      await file.write(step.subarray(0, Math.min(bytesRead, MACHINE_BYTES - written)))
      written += Math.min(bytesRead, MACHINE_BYTES - written)
    }
    await writeRandom(file, MACHINE_BYTES - written, MACHINE_SEED)
  })
}

/** 512 MiB: 200 MiB of the pages of a database, and random bytes, as of files that are compressed. */
export async function databaseVolume(folder: string): Promise<string> {
  return await made(join(folder, `volume-${VOLUME_BYTES}.raw`), VOLUME_BYTES, async (file, path) => {
    await promisify(execFile)(process.execPath, [DISK_FILES, 'database', path])
    const { size } = await file.stat()
    await writeRandom(file, VOLUME_BYTES - size, VOLUME_SEED, size)
  })
}

/** 200 MiB of random data in pieces of 64 KiB, scattered over a file of `sizeBytes`. */
export async function scatteredFile(folder: string, sizeBytes: number): Promise<string> {
  return await made(join(folder, `scattered-${sizeBytes}.raw`), sizeBytes, async (file) => {
    await file.truncate(sizeBytes)
    let state = SCATTERED_SEED
    for (let piece = 0; piece < SCATTERED_BYTES / PIECE_BYTES; piece++) {
      state = (state * MULTIPLIER) % MODULUS
      const at = Math.floor((state / MODULUS) * (sizeBytes / PIECE_BYTES)) * PIECE_BYTES
      await writeRandom(file, PIECE_BYTES, SCATTERED_SEED + piece, at)
    }
  })
}

/** The file at `path`, unless it is there with this size already. */
async function made(
  path: string,
  sizeBytes: number,
  make: (file: FileHandle, path: string) => Promise<void>,
): Promise<string> {
  await mkdir(dirname(path), { recursive: true })
  const found = await stat(path).catch(() => undefined)
  if (found?.size === sizeBytes) return path
  const unfinished = `${path}.part`
  {
    await using file = await open(unfinished, 'w')
    await make(file, unfinished)
  }
  await rename(unfinished, path)
  return path
}

/** Where the file is, or from `start` on. */
async function writeRandom(file: FileHandle, bytes: number, seed: number, start?: number): Promise<void> {
  const nonce = Buffer.alloc(16)
  nonce.writeUInt32BE(seed)
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 'fluidcloud bench'), nonce)
  const zeros = Buffer.alloc(STEP_BYTES)
  for (let at = 0; at < bytes; at += STEP_BYTES) {
    const step = cipher.update(zeros.subarray(0, Math.min(STEP_BYTES, bytes - at)))
    await file.write(step, 0, step.length, start === undefined ? null : start + at)
  }
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
