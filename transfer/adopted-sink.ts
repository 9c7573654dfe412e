/**
 * The sink of an adopted file: an old version that is updated in place. Before a block of it is overwritten for the
 * first time its old bytes go into the undo log, and reach the disk before the overwrite is begun.
 *
 * Which blocks are saved is remembered for the cells touched last: a bound on memory. What other lanes of the attempt saved
 * nobody asks: a window is one lane's. Whoever does not know saves again, which the log allows.
 */
import { closeSync, openSync } from 'node:fs'
import type { Range } from '../protocol/extent.ts'
import { WINDOW_BYTES } from '../protocol/limits.ts'
import { checkOpen } from './backends/bounds.ts'
import { readBack } from './backends/positional-io.ts'
import { openRawSink } from './backends/raw.ts'
import type { Sink } from './sink.ts'
import { UNDO_ENTRY_BYTES } from './undo-log.ts'
import { openUndoWriter } from './undo-writer.ts'

/** Where an adopted file and its undo log are, and the name under which the chunk index knows it. */
export interface AdoptedFile {
  readonly part: string
  readonly undo: string
  /** What of the log held whole entries when the attempt began: only that is taken for saved. */
  readonly soundBytes: number
  readonly former: string
}

const SCHEME = 'adopted:'
/** What is saved: whole blocks. Cells are as large as a window, so that no two lanes have to do with one block. */
const BLOCK_BYTES = 4096
const CELL_BYTES = WINDOW_BYTES
const CELL_BLOCKS = CELL_BYTES / BLOCK_BYTES
/** Cells of which it is remembered which blocks are saved: 16 GiB, in half a megabyte. */
const MAX_CELLS = 4096

/** The address by which lane workers open it. */
export function adoptedUrl({ part, undo, soundBytes, former }: AdoptedFile): string {
  return SCHEME + new URLSearchParams({ part, undo, soundBytes: String(soundBytes), former }).toString()
}

/** The file that an address names; undefined when it is of another kind. */
export function parseAdoptedUrl(url: string): AdoptedFile | undefined {
  if (!url.startsWith(SCHEME)) return undefined
  const query = new URLSearchParams(url.slice(SCHEME.length))
  return {
    part: query.get('part')!,
    undo: query.get('undo')!,
    soundBytes: Number(query.get('soundBytes')),
    former: query.get('former')!,
  }
}

/** Opens an adopted file for writing; it and its undo log exist. */
export async function openAdoptedSink({ part, undo, soundBytes, former }: AdoptedFile): Promise<Sink> {
  await using stack = new AsyncDisposableStack()
  const inner = stack.use(await openRawSink(part))
  const log = stack.use(openUndoWriter(undo))
  const fd = openSync(part, 'r')
  stack.defer(() => closeSync(fd))
  /** A bit for each block of a cell. */
  const cells = new Map<number, Uint32Array>()
  /** Of cells: what has to reach the disk before they may be written. */
  const pending = new Map<number, Promise<void>>()

  function bitsOf(cell: number): Uint32Array {
    const known = cells.get(cell)
    if (known) return known
    if (cells.size >= MAX_CELLS) cells.delete(cells.keys().next().value!)
    const fresh = new Uint32Array(CELL_BLOCKS / 32)
    cells.set(cell, fresh)
    return fresh
  }

  function isSaved(block: number): boolean {
    const bits = cells.get(Math.floor(block / CELL_BLOCKS))
    const at = block % CELL_BLOCKS
    return bits !== undefined && (bits[at >>> 5] & (1 << (at & 31))) !== 0
  }

  function mark(start: number, end: number): void {
    for (let block = start; block < end; block++) {
      const at = block % CELL_BLOCKS
      bitsOf(Math.floor(block / CELL_BLOCKS))[at >>> 5] |= 1 << (at & 31)
    }
  }

  for (const { offset, length } of log.saved(soundBytes))
    mark(Math.floor(offset / BLOCK_BYTES), Math.ceil((offset + length) / BLOCK_BYTES))

  /** Appends blocks [start, end), which are not saved. Asking where holes are would take longer than reading zeros. */
  function appendRun(start: number, end: number): void {
    const to = Math.min(end * BLOCK_BYTES, log.oldBytes)
    for (let at = start * BLOCK_BYTES; at < to; at += UNDO_ENTRY_BYTES) {
      log.append(at, Math.min(UNDO_ENTRY_BYTES, to - at), (room) => readBack(fd, room, at, part))
    }
    mark(start, end)
  }

  /** Appends what of [from, to) is not saved; true when there was any. */
  function append(from: number, to: number): boolean {
    const end = Math.ceil(Math.min(to, log.oldBytes) / BLOCK_BYTES)
    let appended = false
    for (let block = Math.floor(from / BLOCK_BYTES); block < end;) {
      if (isSaved(block)) {
        block++
        continue
      }
      const first = block
      while (block < end && !isSaved(block)) block++
      appendRun(first, block)
      appended = true
    }
    return appended
  }

  /** Has what was appended for [from, to) reach the disk. */
  function settle(ranges: readonly Range[]): Promise<void> {
    const synced = log.sync()
    synced.catch(() => {}) // Whoever writes there hears of it.
    for (const { start, end } of ranges) {
      for (let cell = Math.floor(start / CELL_BYTES); cell * CELL_BYTES < end; cell++) {
        const both = pending.has(cell) ? Promise.all([pending.get(cell), synced]).then(() => {}) : synced
        both.catch(() => {})
        pending.set(cell, both)
        void both.then(
          () => pending.get(cell) === both && pending.delete(cell),
          () => {},
        )
      }
    }
    return synced
  }

  /** Undefined: [from, to) may be written at once; else when. */
  function mayWrite(from: number, to: number): Promise<unknown> | undefined {
    checkOpen(isOpen, part)
    if (append(from, to)) void settle([{ start: from, end: to }])
    const waits: Promise<void>[] = []
    for (let cell = Math.floor(from / CELL_BYTES); cell * CELL_BYTES < to && pending.size > 0; cell++) {
      const wait = pending.get(cell)
      if (wait) waits.push(wait)
    }
    return waits.length > 0 ? Promise.all(waits) : undefined
  }

  let isOpen = true
  const owned = stack.move()
  return {
    sizeBytes: inner.sizeBytes,
    supports: inner.supports,
    former,
    prepare(ranges) {
      checkOpen(isOpen, part)
      const fresh = ranges.filter(({ start, end }) => append(start, end))
      if (fresh.length > 0) void settle(fresh)
    },
    write(bytes, offset) {
      const wait = mayWrite(offset, offset + bytes.length)
      return wait ? wait.then(() => inner.write(bytes, offset)) : inner.write(bytes, offset)
    },
    zero(offset, lengthBytes) {
      const wait = mayWrite(offset, offset + lengthBytes)
      return wait ? wait.then(() => inner.zero(offset, lengthBytes)) : inner.zero(offset, lengthBytes)
    },
    read: (target, offset) => inner.read(target, offset),
    written: (from, to) => inner.written(from, to),
    sync: () => inner.sync(),
    forgetCached: () => inner.forgetCached?.(),
    async [Symbol.asyncDispose]() {
      isOpen = false
      await Promise.allSettled(pending.values())
      await owned.disposeAsync()
    },
  }
}
