/**
 * The canonical list of chunks of a volume, 44 bytes an entry, and its root.
 *
 * An entry is offset u64 LE, length u32 LE, digest 32 bytes. Entries ascend and do not overlap; what no entry
 * covers reads as zeros. The root is BLAKE3 over the header and all entries, so it commits to every byte and
 * every hole: spec chunks.md, Manifest.
 */
import { Blake3Hasher } from '@napi-rs/blake-hash'
import { FluidError } from './errors.ts'
import { violation } from './field.ts'
import {
  CHUNK_MAX_BYTES,
  CHUNK_MIN_BYTES,
  DIGEST_BYTES,
  HOLE_BLOCK_BYTES,
  MAX_VOLUME_BYTES,
  MAX_WINDOW_CHUNKS,
  WINDOW_BYTES,
} from './limits.ts'

/** Bytes of one entry. */
export const ENTRY_BYTES = 8 + 4 + DIGEST_BYTES

const LENGTH_AT = 8
const DIGEST_AT = 12
const ROOT_PREFIX = 'b3:'
const HEADER = 'fluidcloud manifest v1\n'

/** One chunk: `length` bytes at `offset` of the volume; the digest is BLAKE3. */
export interface ManifestEntry {
  readonly offset: number
  readonly length: number
  readonly digest: Uint8Array
}

/** Writes entry `index`; the digest is the DIGEST_BYTES at `digestOffset` of `digest`. */
export function writeEntry(
  entries: Uint8Array,
  index: number,
  offset: number,
  length: number,
  digest: Uint8Array,
  digestOffset = 0,
): void {
  const at = index * ENTRY_BYTES
  putUint32(entries, at, offset)
  putUint32(entries, at + 4, Math.floor(offset / 2 ** 32))
  putUint32(entries, at + LENGTH_AT, length)
  for (let i = 0; i < DIGEST_BYTES; i++) entries[at + DIGEST_AT + i] = digest[digestOffset + i]
}

/** Entry `index`; its digest is a copy. */
export function readEntry(entries: Uint8Array, index: number): ManifestEntry {
  return {
    offset: entryOffset(entries, index),
    length: entryLength(entries, index),
    digest: entryDigest(entries, index).slice(),
  }
}

/** Offset of entry `index` in bytes; not a safe integer when the entry is hostile. */
export function entryOffset(entries: Uint8Array, index: number): number {
  const at = index * ENTRY_BYTES
  return getUint32(entries, at) + getUint32(entries, at + 4) * 2 ** 32
}

/** Length of entry `index` in bytes. */
export function entryLength(entries: Uint8Array, index: number): number {
  return getUint32(entries, index * ENTRY_BYTES + LENGTH_AT)
}

/** Digest of entry `index`: a view into `entries`. */
export function entryDigest(entries: Uint8Array, index: number): Uint8Array {
  const at = index * ENTRY_BYTES + DIGEST_AT
  return entries.subarray(at, at + DIGEST_BYTES)
}

/** Position of entry `index`'s digest in `entries`. */
export function digestPosition(index: number): number {
  return index * ENTRY_BYTES + DIGEST_AT
}

/** Number of entries; throws PROTOCOL_VIOLATION when the bytes are not whole entries. */
export function entryCount(entries: Uint8Array): number {
  if (entries.length % ENTRY_BYTES !== 0)
    throw violation(`Chunk list of ${entries.length} bytes is not whole entries`)
  return entries.length / ENTRY_BYTES
}

/** Checks the entries of the window [start, end) and returns their bytes of data; throws PROTOCOL_VIOLATION. */
export function validateWindowEntries(entries: Uint8Array, start: number, end: number): number {
  const count = entryCount(entries)
  if (count > MAX_WINDOW_CHUNKS) throw violation(`Window has ${count} chunks, more than ${MAX_WINDOW_CHUNKS}`)
  let dataBytes = 0
  let free = start
  for (let i = 0; i < count; i++) {
    const offset = entryOffset(entries, i)
    const length = entryLength(entries, i)
    if (length === 0 || length > CHUNK_MAX_BYTES) {
      throw violation(`Chunk at offset ${offset} is ${length} bytes, outside 1 to ${CHUNK_MAX_BYTES}`)
    }
    if (offset < free || offset + length > end) {
      throw violation(`Chunk at offset ${offset} lies outside its window or over the one before it`)
    }
    // A run of data is whole blocks, and of its chunks only the last may be short: a list is never larger than what it lists.
    if (offset !== free && offset % HOLE_BLOCK_BYTES !== 0)
      throw violation(`Chunk at offset ${offset} begins a run of data within a block`)
    const next = offset + length
    if (length < CHUNK_MIN_BYTES && next % HOLE_BLOCK_BYTES !== 0 && next !== end)
      throw violation(`Chunk at offset ${offset} is ${length} bytes, and ends within a block`)
    if (windowIndex(offset) !== windowIndex(next - 1)) {
      throw violation(`Chunk at offset ${offset} crosses a multiple of ${WINDOW_BYTES} bytes`)
    }
    free = next
    dataBytes += length
  }
  if (dataBytes > WINDOW_BYTES)
    throw violation(`Window holds ${dataBytes} bytes of data, more than ${WINDOW_BYTES}`)
  return dataBytes
}

/** What the root digests before the entries. */
export function manifestHeader(sizeBytes: number, chunking: string): Uint8Array {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes > MAX_VOLUME_BYTES) {
    throw new RangeError(`Volume size ${sizeBytes} is outside 0 to ${MAX_VOLUME_BYTES} bytes`)
  }
  const head = Buffer.from(HEADER)
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(sizeBytes))
  return Buffer.concat([head, size, Buffer.from(`${chunking}\n`)])
}

/** A root in the making: entries in order, then digest() once. */
export interface Root {
  update(entries: Uint8Array): void
  /** 32 bytes. */
  digest(): Uint8Array
}

/** Starts the root of a volume of `sizeBytes`, holes included. */
export function createRoot(sizeBytes: number, chunking: string): Root {
  const hasher = new Blake3Hasher()
  // The declarations of the package ask for Buffers; any Uint8Array will do.
  hasher.update(manifestHeader(sizeBytes, chunking) as Buffer)
  return {
    update: (entries) => void hasher.update(entries as Buffer),
    digest: () => hasher.digestBuffer(),
  }
}

/** `b3:` and 64 hexadecimal digits. */
export function formatRoot(root: Uint8Array): string {
  return ROOT_PREFIX + Buffer.from(root).toString('hex')
}

/** The inverse of formatRoot(); throws USAGE. */
export function parseRoot(value: string): Uint8Array {
  if (!/^b3:[0-9a-f]{64}$/.test(value)) {
    throw new FluidError('USAGE', `Root ${JSON.stringify(value)} is not b3: and 64 hexadecimal digits`)
  }
  return Buffer.from(value.slice(ROOT_PREFIX.length), 'hex')
}

function windowIndex(offset: number): number {
  return Math.floor(offset / WINDOW_BYTES)
}

function getUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0
}

function putUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}
