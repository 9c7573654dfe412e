/** Bytes like a disk's: stretches of data and of zeros, the same for the same seed. */
import { open } from 'node:fs/promises'

const BLOCK_BYTES = 4096

/** `sizeBytes` of alternating data and zeros; data starts at odd places too. */
export function sparseContent(sizeBytes: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(sizeBytes)
  const random = randomNumbers(seed)
  for (let at = 0; at < sizeBytes;) {
    const length = 1 + Math.floor(random() * 40 * BLOCK_BYTES)
    if (random() < 0.5)
      for (let i = at; i < Math.min(at + length, sizeBytes); i++) bytes[i] = 1 + Math.floor(random() * 255)
    at += length
  }
  return bytes
}

/** Mulberry32: numbers in [0, 1). */
export function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Writes a file with holes where whole blocks are zeros. */
export async function writeSparse(path: string, content: Buffer): Promise<void> {
  await using file = await open(path, 'w')
  await file.truncate(content.length)
  for (let at = 0; at < content.length; at += BLOCK_BYTES) {
    const block = content.subarray(at, at + BLOCK_BYTES)
    if (block.some((byte) => byte !== 0)) await file.write(block, 0, block.length, at)
  }
}
