/** Appends to an undo log, from the thread of a lane: see undo-log.ts. */
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { FluidError } from '../protocol/errors.ts'
import { targetWriteError } from './backends/bounds.ts'
import { openSyncs } from './backends/syncs.ts'
import {
  ENTRY_HEADER_BYTES,
  parseUndoEntry,
  parseUndoHeader,
  UNDO_BYTES,
  UNDO_ENTRY_BYTES,
  UNDO_HEADER_BYTES,
  UNDO_ZEROS,
  writeEntryHeader,
} from './undo-log.ts'

/** The log may take as much as the old version twice, and this: each lane saves what no other is known to have saved. */
const SPARE_BYTES = 1024 * 1024 * 1024

const ZEROS = Buffer.alloc(UNDO_ENTRY_BYTES)

/** One for each sink. */
export interface UndoWriter extends Disposable {
  /** Size of the old version: what lies beyond it is cut off in the end, and need not be saved. */
  readonly oldBytes: number
  /** What the entries before `soundBytes` of the log hold, see UndoLog. */
  saved(soundBytes: number): Generator<{ readonly offset: number; readonly length: number }>
  /** Appends the old bytes of [offset, offset + length), at most UNDO_ENTRY_BYTES, which `fill` reads. Fails as sync() did. */
  append(offset: number, length: number, fill: (room: Buffer) => void): void
  /**
   * Resolves when all that was appended so far, by whomever, has reached the disk. When one fails, so do those that wait with
   * it, and all from then on: of a loss the system tells each descriptor once only.
   */
  sync(): Promise<void>
}

/** Opens the log at `path`; throws TARGET_WRITE when it is none. */
export function openUndoWriter(path: string): UndoWriter {
  const fd = openSync(path, constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW)
  try {
    const header = Buffer.alloc(UNDO_HEADER_BYTES)
    const found = readSync(fd, header, 0, UNDO_HEADER_BYTES, 0)
    const { nonce, old } = parseUndoHeader(header.subarray(0, found), path)
    return createUndoWriter(fd, nonce, old.sizeBytes)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function createUndoWriter(fd: number, nonce: Buffer, oldBytes: number): UndoWriter {
  const room = Buffer.allocUnsafeSlow(ENTRY_HEADER_BYTES + UNDO_ENTRY_BYTES)
  const payload = room.subarray(ENTRY_HEADER_BYTES)
  const syncs = openSyncs(fd)

  function put(kind: number, offset: number, length: number, payloadBytes: number): void {
    if (fstatSync(fd).size > 2 * oldBytes + SPARE_BYTES)
      throw new FluidError('NO_SPACE', 'What was overwritten in place fills more than twice the old version')
    const crc = payloadBytes > 0 ? crc32(payload.subarray(0, payloadBytes)) : 0
    writeEntryHeader(room, nonce, { kind, offset, length, crc })
    const bytes = ENTRY_HEADER_BYTES + payloadBytes
    let done: number
    try {
      done = writeSync(fd, room, 0, bytes)
    } catch (error) {
      throw targetWriteError(error, offset)
    }
    if (done === bytes) return
    // The rest might not follow it, as others append too; what is there will be skipped.
    throw new FluidError('NO_SPACE', 'The target is full: no space to save what is overwritten', { offset })
  }

  return {
    oldBytes,
    *saved(soundBytes) {
      const head = Buffer.alloc(ENTRY_HEADER_BYTES)
      for (let at = UNDO_HEADER_BYTES; at < soundBytes;) {
        const found = readSync(fd, head, 0, head.length, at)
        const entry = parseUndoEntry(head.subarray(0, found), nonce, at)
        if (!entry) return
        yield entry
        at += ENTRY_HEADER_BYTES + (entry.at === undefined ? 0 : entry.length)
      }
    },
    append(offset, length, fill) {
      syncs.requireSound()
      const old = payload.subarray(0, length)
      fill(old)
      // The first bytes tell most data from zeros.
      if (old[0] === 0 && old.equals(ZEROS.subarray(0, length))) put(UNDO_ZEROS, offset, length, 0)
      else put(UNDO_BYTES, offset, length, length)
    },
    sync: syncs.sync,
    [Symbol.dispose]: () => closeSync(fd),
  }
}
