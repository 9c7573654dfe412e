/**
 * The undo log of a version that is updated in place: the bytes that were overwritten, from which it can be put together
 * again. Written before a byte of the version changes, and durable before that can reach the disk.
 *
 * A header of UNDO_HEADER_BYTES, with a slot for what was decided in the end, is followed by entries: 48 bytes, and the old
 * bytes unless they were zeros. Several threads append to one log, so an entry that was cut off may lie in the midst of
 * whole ones: each begins with the 16 random bytes of this log, by which the next is found. A range may be saved again,
 * when another thread did not know of it; the earliest is the truth, so entries are put back last first.
 */
import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { FluidError } from '../protocol/errors.ts'
import { reason, targetSyncError, targetWriteError } from './backends/bounds.ts'
import { adviseDontNeed } from './linux.ts'

const MAGIC = Buffer.from('FLUIDCLOUD UNDO1', 'latin1')
export const UNDO_HEADER_BYTES = 4096
/** Of the slot for the decision, in the header: a sector of its own. */
const DECISION_OFFSET = 512
const DECISION_BYTES = 32
const NONCE_BYTES = 16
export const ENTRY_HEADER_BYTES = 48
/** Old bytes in one entry. */
export const UNDO_ENTRY_BYTES = 1024 * 1024
/** Entries are put in order this much of the log at a time, so that their list is bounded. */
const SEGMENT_BYTES = 64 * 1024 * 1024

export const UNDO_BYTES = 1
export const UNDO_ZEROS = 2
const DECISIONS = ['commit', 'roll-back'] as const

/** What an adoption came to; from then on nothing else may be done with it. */
export type UndoDecision = (typeof DECISIONS)[number]

/** The version as it was. */
export interface OldVersion {
  readonly sizeBytes: number
  /** Permission bits. */
  readonly mode: number
  readonly inode: bigint
}

/** An entry of the log: old bytes, or zeros, of [offset, offset + length). */
export interface UndoEntry {
  readonly offset: number
  readonly length: number
  /** Position of its old bytes in the log; undefined: zeros. */
  readonly at: number | undefined
  readonly crc: number
}

/** Makes a log without entries at `path`, which is not there yet, and has it reach the disk. */
export async function createUndoLog(path: string, old: OldVersion): Promise<void> {
  const header = Buffer.alloc(UNDO_HEADER_BYTES)
  header.set(MAGIC, 0)
  header.set(randomBytes(NONCE_BYTES), 16)
  header.writeBigUInt64LE(BigInt(old.sizeBytes), 32)
  header.writeUInt32LE(old.mode, 40)
  header.writeBigUInt64LE(old.inode, 48)
  header.writeUInt32LE(crc32(header.subarray(0, 56)), 56)
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  await using file = await open(path, flags, 0o600)
  await file.writeFile(header)
  await file.sync()
}

/** A log that exists, for whoever finishes the adoption. */
export interface UndoLog extends AsyncDisposable {
  readonly old: OldVersion
  readonly decision: UndoDecision | undefined
  /** Of a commit: the size of the new version. */
  readonly newBytes: number
  /**
   * Has the log reach the disk, and reads it there: up to here every entry is whole, bytes. An entry behind that may be torn, its
   * header there and its old bytes not: the power failed, or the disk. TARGET_WRITE when it cannot be read.
   */
  soundBytes(): Promise<number>
  /** Notes, for good, how it ends. */
  decide(decision: UndoDecision, newBytes?: number): Promise<void>
  /** Puts what was overwritten back into `file`; may be done any number of times. */
  restore(file: FileHandle, zero: (offset: number, length: number) => void | Promise<void>): Promise<void>
}

/** Opens a log; throws ENOENT as it comes, TARGET_WRITE for what is none. */
export async function openUndoLog(path: string): Promise<UndoLog> {
  await using stack = new AsyncDisposableStack()
  const file = stack.use(await open(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK))
  const header = Buffer.alloc(UNDO_HEADER_BYTES)
  const { bytesRead } = await file.read(header, 0, UNDO_HEADER_BYTES, 0)
  const { nonce, old } = parseUndoHeader(header.subarray(0, bytesRead), path)
  let decided = parseDecision(header.subarray(DECISION_OFFSET, DECISION_OFFSET + DECISION_BYTES), nonce)
  const owned = stack.move()
  return {
    old,
    get decision() {
      return decided?.decision
    },
    get newBytes() {
      return decided?.newBytes ?? 0
    },
    async soundBytes() {
      const synced = file.datasync()
      // What never reached it counts as clean, and may be in memory still.
      await synced
        .finally(() => adviseDontNeed(file.fd, 0, 0))
        .catch((error: unknown) => {
          throw targetSyncError(error)
        })
      const { size } = await file.stat()
      let sound = UNDO_HEADER_BYTES
      for await (const { position, entry } of entries(file, nonce, sound, size)) {
        if (position !== sound) break
        sound += ENTRY_HEADER_BYTES + (entry.at === undefined ? 0 : entry.length)
      }
      return sound
    },
    async decide(decision, newBytes = 0) {
      if (decided) throw new TypeError(`It was decided already: ${decided.decision}`)
      const slot = Buffer.alloc(DECISION_BYTES)
      slot.set(nonce, 0)
      slot.writeUInt32LE(1 + DECISIONS.indexOf(decision), 16)
      slot.writeBigUInt64LE(BigInt(newBytes), 20)
      slot.writeUInt32LE(crc32(slot.subarray(0, 28)), 28)
      await file.write(slot, 0, DECISION_BYTES, DECISION_OFFSET)
      await file.datasync()
      decided = { decision, newBytes }
    },
    async restore(target, zero) {
      const { size } = await file.stat()
      const bytes = Buffer.allocUnsafeSlow(UNDO_ENTRY_BYTES)
      const segments = [UNDO_HEADER_BYTES]
      for await (const { position } of entries(file, nonce, UNDO_HEADER_BYTES, size)) {
        if (position - segments.at(-1)! >= SEGMENT_BYTES) segments.push(position)
      }
      for (let i = segments.length - 1; i >= 0; i--) {
        const found: UndoEntry[] = []
        for await (const { entry } of entries(file, nonce, segments[i], segments[i + 1] ?? size))
          found.push(entry)
        for (const { offset, length, at } of found.reverse()) {
          if (at === undefined) await zero(offset, length)
          else {
            await readAll(file, bytes.subarray(0, length), at)
            await writeAll(target, bytes.subarray(0, length), offset)
          }
        }
      }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** What a header says; throws TARGET_WRITE when it is none. */
export function parseUndoHeader(header: Buffer, path: string): { nonce: Buffer; old: OldVersion } {
  const whole =
    header.length === UNDO_HEADER_BYTES &&
    header.subarray(0, 16).equals(MAGIC) &&
    header.readUInt32LE(56) === crc32(header.subarray(0, 56))
  if (!whole) {
    throw new FluidError('TARGET_WRITE', `${path} is no undo log, or is damaged`, {
      hint: 'The version it belongs to lies beside it under a name that ends in .part: look at both by hand',
    })
  }
  return {
    nonce: header.subarray(16, 32),
    old: {
      sizeBytes: Number(header.readBigUInt64LE(32)),
      mode: header.readUInt32LE(40),
      inode: header.readBigUInt64LE(48),
    },
  }
}

function parseDecision(slot: Buffer, nonce: Buffer) {
  if (!slot.subarray(0, 16).equals(nonce) || slot.readUInt32LE(28) !== crc32(slot.subarray(0, 28)))
    return undefined
  const decision = DECISIONS[slot.readUInt32LE(16) - 1]
  return { decision, newBytes: Number(slot.readBigUInt64LE(20)) }
}

/** The header of an entry, with the payload's length and CRC-32; a kind is UNDO_BYTES or UNDO_ZEROS. */
export function writeEntryHeader(
  head: Buffer,
  nonce: Buffer,
  { kind, offset, length, crc }: { kind: number; offset: number; length: number; crc: number },
): void {
  head.set(nonce, 0)
  head.writeUInt32LE(kind, 16)
  head.writeUInt32LE(crc, 20)
  head.writeBigUInt64LE(BigInt(offset), 24)
  head.writeBigUInt64LE(BigInt(length), 32)
  head.writeUInt32LE(crc32(head.subarray(0, 40)), 40)
  head.writeUInt32LE(0, 44)
}

/** The entry whose header is `head`, found at `position`; undefined when it is none. */
export function parseUndoEntry(head: Buffer, nonce: Buffer, position: number): UndoEntry | undefined {
  if (!head.subarray(0, 16).equals(nonce) || head.readUInt32LE(40) !== crc32(head.subarray(0, 40)))
    return undefined
  const kind = head.readUInt32LE(16)
  const length = Number(head.readBigUInt64LE(32))
  if (kind !== UNDO_ZEROS && (kind !== UNDO_BYTES || length > UNDO_ENTRY_BYTES)) return undefined
  return {
    offset: Number(head.readBigUInt64LE(24)),
    length,
    at: kind === UNDO_BYTES ? position + ENTRY_HEADER_BYTES : undefined,
    crc: head.readUInt32LE(20),
  }
}

/** The whole entries that begin within [from, to), in the order of the log. */
async function* entries(file: FileHandle, nonce: Buffer, from: number, to: number) {
  const { size } = await file.stat()
  const room = Buffer.allocUnsafeSlow(2 * (ENTRY_HEADER_BYTES + UNDO_ENTRY_BYTES))
  let start = 0
  let end = 0
  /** Has `length` bytes from `position` on in the room, or fewer at the end of the log. */
  const view = async (position: number, length: number): Promise<Buffer> => {
    if (position < start || position + length > end) {
      start = position
      end =
        position + (await readUpTo(file, room.subarray(0, Math.min(room.length, size - position)), position))
    }
    return room.subarray(position - start, Math.min(position - start + length, end - start))
  }
  for (let at = from; at < to;) {
    const head = await view(at, ENTRY_HEADER_BYTES)
    const entry = head.length === ENTRY_HEADER_BYTES ? parseUndoEntry(head, nonce, at) : undefined
    if (entry) {
      const payload = entry.at === undefined ? 0 : entry.length
      const bytes = await view(at, ENTRY_HEADER_BYTES + payload)
      const old = bytes.subarray(ENTRY_HEADER_BYTES)
      if (old.length === payload && (payload === 0 || crc32(old) === entry.crc)) {
        yield { position: at, entry }
        at += ENTRY_HEADER_BYTES + payload
        continue
      }
    }
    // Cut off: on to the next that begins like one.
    const rest = await view(at + 1, UNDO_ENTRY_BYTES)
    if (rest.length < NONCE_BYTES) return
    const next = rest.indexOf(nonce)
    at += 1 + (next >= 0 ? next : rest.length - NONCE_BYTES + 1)
  }
}

async function readAll(file: FileHandle, target: Buffer, position: number): Promise<void> {
  if ((await readUpTo(file, target, position)) < target.length)
    throw new FluidError('TARGET_WRITE', 'The undo log ended while it was read')
}

/**
 * Fills `target`; how many bytes there were before the end of the log. Nothing but a read of none is that: before what cannot
 * be read the system gives less than was asked for, and fails only where it begins. TARGET_WRITE then.
 */
async function readUpTo(file: FileHandle, target: Buffer, position: number): Promise<number> {
  let done = 0
  while (done < target.length) {
    const { bytesRead } = await file
      .read(target, done, target.length - done, position + done)
      .catch((cause: unknown) => {
        throw new FluidError(
          'TARGET_WRITE',
          `Cannot read the undo log at ${position + done}: ${reason(cause)}`,
          {
            cause,
          },
        )
      })
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}

async function writeAll(file: FileHandle, bytes: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    try {
      done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten
    } catch (error) {
      throw targetWriteError(error, offset + done)
    }
  }
}
