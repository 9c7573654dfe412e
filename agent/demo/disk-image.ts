/**
 * The disk of the demonstration: a sparse image with files of text, files that do not compress, and copies of either,
 * the same at every run. Generated at about the speed of memory.
 */
import { createCipheriv } from 'node:crypto'
import { open, type FileHandle } from 'node:fs/promises'

const KiB = 1024
const MiB = 1024 * KiB

/** Size of the disk with its holes. */
export const DISK_BYTES = 2048 * MiB
const BLOCK_BYTES = 4 * KiB
const PIECE_BYTES = 1 * MiB
const TEXT_BYTES = 64 * KiB
const NOISE_BYTES = 4 * MiB
const MIN_FILE_BYTES = 1 * MiB
const MAX_FILE_BYTES = 12 * MiB
/** Holes are this many times as long as the files before them, on average. */
const HOLE_FACTOR = 2.4

const CHANGED_PAGES = 400
const APPENDED_BYTES = 12 * MiB

type Kind = 'text' | 'noise'

/** A stretch of data on the disk; its bytes follow from kind and seed. */
interface DiskFile {
  readonly offset: number
  readonly length: number
  readonly kind: Kind
  readonly seed: number
}

/** What was written. Bytes. */
export interface DiskReport {
  readonly dataBytes: number
  /** Of it, copies of data that lies elsewhere on the disk. */
  readonly copiedBytes: number
}

/** Writes the first version to a new file at `path`. */
export async function createDisk(path: string, signal: AbortSignal): Promise<DiskReport> {
  const { files, copiedBytes } = layOut()
  await using file = await open(path, 'wx', 0o600)
  await file.truncate(DISK_BYTES)
  let dataBytes = 0
  for (const each of files) {
    await writeFile(file, each, signal)
    dataBytes += each.length
  }
  return { dataBytes, copiedBytes }
}

/** Turns the first version into the second in place: pages of a database, a grown log, a file replaced. Bytes changed. */
export async function updateDisk(path: string, signal: AbortSignal): Promise<number> {
  const { files } = layOut()
  const random = randomNumbers(2)
  const texts = files.filter(({ kind }) => kind === 'text')
  await using file = await open(path, 'r+')
  let changedBytes = 0
  for (let i = 0; i < CHANGED_PAGES; i++) {
    const { offset, length } = texts[random(texts.length)]
    const page = offset + random(length / BLOCK_BYTES) * BLOCK_BYTES
    await writeFile(file, { offset: page, length: BLOCK_BYTES, kind: 'text', seed: 1_000_000 + i }, signal)
    changedBytes += BLOCK_BYTES
  }
  const replaced = files.find(({ kind, length }) => kind === 'noise' && length < 6 * MiB) ?? files[0]
  const log = {
    offset: DISK_BYTES - 2 * APPENDED_BYTES,
    length: APPENDED_BYTES,
    kind: 'text',
    seed: 2_000_000,
  } as const
  for (const each of [{ ...replaced, seed: 2_000_001 }, log]) {
    await writeFile(file, each, signal)
    changedBytes += each.length
  }
  return changedBytes
}

function layOut(): { files: DiskFile[]; copiedBytes: number } {
  const random = randomNumbers(1)
  const files: DiskFile[] = []
  let copiedBytes = 0
  // The end is left free for a log to grow into.
  for (let offset = MiB; offset < DISK_BYTES - 4 * MAX_FILE_BYTES;) {
    const dice = random(100)
    const copied = dice < 22 && files.length > 4 ? files[random(files.length)] : undefined
    const length = copied?.length ?? blocks(MIN_FILE_BYTES + random(MAX_FILE_BYTES - MIN_FILE_BYTES))
    const { kind, seed } = copied ?? {
      kind: dice < 75 ? ('text' as const) : ('noise' as const),
      seed: files.length + 1,
    }
    files.push({ offset, length, kind, seed })
    if (copied) copiedBytes += length
    offset += length + blocks(length * HOLE_FACTOR * (0.5 + random(1000) / 1000))
  }
  return { files, copiedBytes }
}

function blocks(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES
}

async function writeFile(
  file: FileHandle,
  { offset, length, kind, seed }: DiskFile,
  signal: AbortSignal,
): Promise<void> {
  const random = randomNumbers(seed)
  const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, length))
  for (let at = 0; at < length; at += piece.length) {
    signal.throwIfAborted()
    const bytes = piece.subarray(0, Math.min(piece.length, length - at))
    if (kind === 'text') fillText(bytes, random)
    else fillNoise(bytes, seed, at)
    await file.write(bytes, 0, bytes.length, offset + at)
  }
}

let text: Buffer | undefined
let noise: Buffer | undefined

/** Phrases of one text with some noise between them: compresses about as well as the files of a system do. */
function fillText(target: Buffer, random: (below: number) => number): void {
  text ??= phrases()
  noise ??= keystream(0, 0, NOISE_BYTES)
  for (let at = 0; at < target.length;) {
    const phraseBytes = 24 + random(128)
    const from = random(TEXT_BYTES - phraseBytes)
    at += text.copy(target, at, from, from + phraseBytes)
    const noiseAt = random(NOISE_BYTES - 32)
    at += noise.copy(target, at, noiseAt, noiseAt + 8 + random(24))
  }
}

function fillNoise(target: Buffer, seed: number, at: number): void {
  keystream(seed, at / PIECE_BYTES, target.length).copy(target)
}

function phrases(): Buffer {
  const random = randomNumbers(7)
  const words = [
    'kernel',
    'module',
    'usr',
    'share',
    'lib',
    'config',
    'version',
    'depends',
    'install',
    'licence',
    'return',
    'value',
  ]
  let written = ''
  while (written.length < TEXT_BYTES)
    written += `${words[random(words.length)]}${random(1000)} ${words[random(words.length)]}/`
  return Buffer.from(written.slice(0, TEXT_BYTES))
}

/** AES-128-CTR: as fast as memory, and does not compress. */
function keystream(seed: number, piece: number, length: number): Buffer {
  const start = Buffer.alloc(16)
  start.writeUInt32BE(seed, 0)
  start.writeUInt32BE(piece, 4)
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, 'fluidcloud demo'), start).update(
    Buffer.alloc(length),
  )
}

/** Whole numbers from 0 to below `below` (xorshift32; Marsaglia 2003). */
function randomNumbers(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) | 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return Math.floor(((state >>> 0) / 2 ** 32) * below)
  }
}
