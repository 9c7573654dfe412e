/** Volumes for tests that move them: generated, the same for the same seed, sparse where they say so. */
import { createCipheriv } from 'node:crypto'
import { open, stat } from 'node:fs/promises'
import { run } from './programs.ts'

export const MiB = 2 ** 20

/** Bytes that neither compress nor repeat. */
export function noise(sizeBytes: number, seed: number): Buffer {
  const key = Buffer.alloc(16)
  key.writeUInt32LE(seed)
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(sizeBytes))
}

/** Bytes that compress well and do not repeat: numbered lines. */
export function prose(sizeBytes: number, seed: number): Buffer {
  const lines: string[] = []
  for (let i = 0, length = 0; length < sizeBytes; i++) {
    const line = `entry ${seed}-${i}: the quick brown fox jumps over the lazy dog ${i % 97}\n`
    lines.push(line)
    length += line.length
  }
  return Buffer.from(lines.join('')).subarray(0, sizeBytes)
}

/** A stretch of data; what lies between stretches are holes. */
export interface Stretch {
  readonly offset: number
  readonly bytes: Uint8Array
}

/** Makes a sparse file of `sizeBytes` with these stretches. */
export async function writeVolume(
  path: string,
  sizeBytes: number,
  stretches: readonly Stretch[],
): Promise<void> {
  await using file = await open(path, 'w')
  await file.truncate(sizeBytes)
  for (const { offset, bytes } of stretches) await file.write(bytes, 0, bytes.length, offset)
  await file.sync()
}

/** Writes into a file that exists. */
export async function overwrite(path: string, stretches: readonly Stretch[]): Promise<void> {
  await using file = await open(path, 'r+')
  for (const { offset, bytes } of stretches) await file.write(bytes, 0, bytes.length, offset)
  await file.sync()
}

/** `count` stretches of `noise()` spread evenly over a volume, at blocks of 64 KiB. */
export function scattered(sizeBytes: number, count: number, stretchBytes: number, seed: number): Stretch[] {
  const step = Math.floor(sizeBytes / count / 65536) * 65536
  return Array.from({ length: count }, (_, i) => ({ offset: i * step, bytes: noise(stretchBytes, seed + i) }))
}

/** True when two files hold the same bytes. */
export async function sameBytes(one: string, other: string): Promise<boolean> {
  return run('cmp', ['--silent', one, other]).then(
    () => true,
    () => false,
  )
}

/** Bytes of disk that a file takes. */
export async function diskBytes(path: string): Promise<number> {
  return (await stat(path)).blocks * 512
}

/** Changes bytes from `at` on so that a CRC-32 does not see it: by the polynomial itself. */
export function hideFromCrc32(bytes: Uint8Array, at: number): void {
  for (let bit = 0; bit <= 32; bit++)
    if ((0x1_04c1_1db7 / 2 ** (32 - bit)) & 1) bytes[at + (bit >> 3)] ^= 1 << (bit & 7)
}
