/** Compares two files byte for byte, without any of the engine: what a sceptic would do with cmp(1). */
import { open, type FileHandle } from 'node:fs/promises'

const STEP_BYTES = 4 * 1024 * 1024

/** The offset of the first byte that differs (the shorter size, where one ends early), or undefined when none does. */
export async function firstDifference(
  pathA: string,
  pathB: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  await using a = await open(pathA, 'r')
  await using b = await open(pathB, 'r')
  const [{ size: sizeA }, { size: sizeB }] = await Promise.all([a.stat(), b.stat()])
  const sizeBytes = Math.min(sizeA, sizeB)
  const bytesA = Buffer.allocUnsafe(STEP_BYTES)
  const bytesB = Buffer.allocUnsafe(STEP_BYTES)
  for (let at = 0; at < sizeBytes; at += STEP_BYTES) {
    signal.throwIfAborted()
    const length = Math.min(STEP_BYTES, sizeBytes - at)
    await Promise.all([fill(a, bytesA, at, length), fill(b, bytesB, at, length)])
    if (bytesA.compare(bytesB, 0, length, 0, length) === 0) continue
    for (let i = 0; i < length; i++) if (bytesA[i] !== bytesB[i]) return at + i
  }
  return sizeA === sizeB ? undefined : sizeBytes
}

async function fill(file: FileHandle, target: Buffer, offset: number, length: number): Promise<void> {
  for (let have = 0; have < length;) {
    const { bytesRead } = await file.read(target, have, length - have, offset + have)
    if (bytesRead === 0) throw new Error(`The file ended at offset ${offset + have}`)
    have += bytesRead
  }
}
