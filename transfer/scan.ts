/**
 * Reads windows into memory, leaves out zeros, cuts what is left and digests the chunks: a stage of send().
 *
 * A window is read in steps, each cut and digested while it is still in the processor's cache. After each the thread takes
 * its next turn: while a window is scanned the one before is sent, and a receiver has a millisecond's worth in its buffers.
 * Slots bound the memory: a window holds its slot until released.
 */
import type { Range } from '../protocol/extent.ts'
import { digestPosition, ENTRY_BYTES, writeEntry } from '../protocol/manifest.ts'
import { MAX_WINDOW_CHUNKS } from '../protocol/limits.ts'
import { createChunkList, type ChunkList, type Chunker } from './chunker.ts'
import { digestInto } from './hasher.ts'
import { ReadAhead } from './read-ahead.ts'
import type { Source } from './source.ts'
import { endStage, startStage, waitStage } from './stage-clock.ts'
import type { Window } from './window.ts'

/** Bytes read at once: fits the second-level cache of current processors. */
const STEP_BYTES = 256 * 1024
/** Extents of a window are packed into its slot, each beginning on a cache line. */
const ALIGN_BYTES = 64

/** A window in memory, with the manifest entries of its data. */
export interface ScannedWindow extends Range {
  readonly entries: Uint8Array
  readonly dataBytes: number
  /** Bytes of entry `index`: a view, valid until release(). */
  chunk(index: number): Uint8Array
  /** Where entry `index` lies in `bytes`. */
  position(index: number): number
  /** The slot's memory. */
  readonly bytes: Uint8Array
  /** Gives the slot back. Idempotent. */
  release(): void
}

/** Slots of a chunker, lent to one window each. */
export interface SlotPool {
  take(signal: AbortSignal): Promise<number>
  give(slot: number): void
}

export function createSlotPool(slots: number): SlotPool {
  const free = Array.from({ length: slots }, (_, slot) => slot)
  const waiting: ((slot: number) => void)[] = []
  return {
    take(signal) {
      signal.throwIfAborted()
      const slot = free.pop()
      if (slot !== undefined) return Promise.resolve(slot)
      return new Promise((resolve, reject) => {
        const taker = (given: number) => {
          signal.removeEventListener('abort', abort)
          resolve(given)
        }
        const abort = () => {
          waiting.splice(waiting.indexOf(taker), 1)
          reject(signal.reason as Error)
        }
        signal.addEventListener('abort', abort, { once: true })
        waiting.push(taker)
      })
    },
    give(slot) {
      const taker = waiting.shift()
      if (taker) taker(slot)
      else free.push(slot)
    },
  }
}

/** The stage: windows in, scanned windows out, in order. */
export function scan(source: Source, chunker: Chunker, slots: SlotPool, signal: AbortSignal) {
  const lists = new Map<number, ChunkList>()
  // Of the window that is scanned: what is announced is a copy of as many as it has.
  const entries = Buffer.allocUnsafeSlow(MAX_WINDOW_CHUNKS * ENTRY_BYTES)
  return async function* (windows: AsyncIterable<Window>): AsyncGenerator<ScannedWindow> {
    for await (const window of windows) {
      const slot = await waitStage('wait-slot', slots.take(signal))
      let list = lists.get(slot)
      if (!list) lists.set(slot, (list = createChunkList()))
      let given = false
      const release = () => {
        if (!given) slots.give(slot)
        given = true
      }
      try {
        yield await scanWindow(window, source, chunker, { slot, list, entries, release })
      } catch (error) {
        release()
        throw error
      }
    }
  }
}

/** What a window is scanned with. */
interface ScanMemory {
  readonly slot: number
  readonly list: ChunkList
  readonly entries: Buffer
  release(): void
}

/** Sockets and messages are served meanwhile. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

async function scanWindow(
  window: Window,
  source: Source,
  chunker: Chunker,
  { slot, list, entries, release }: ScanMemory,
): Promise<ScannedWindow> {
  const bytes = chunker.slot(slot)
  let written = 0
  let dataBytes = 0
  list.count = 0
  let at = 0
  for (const extent of window.extents) {
    const scanner = chunker.scan(slot, at, extent.offset, list)
    const target = bytes.subarray(at, at + extent.length)
    let ahead: ReadAhead | undefined
    try {
      for (let have = 0; have < extent.length;) {
        const step = Math.min(STEP_BYTES, extent.length - have)
        let clock = startStage()
        const reading = ahead
          ? ahead.next()
          : source.read(target.subarray(have, have + step), extent.offset + have)
        have += step
        if (reading) {
          const rest = { offset: extent.offset + have, length: extent.length - have }
          ahead ??= new ReadAhead(source, rest, target.subarray(have), STEP_BYTES)
          await waitStage('wait-read', reading)
          clock = startStage()
        } else clock = endStage('read', clock)
        scanner.feed(have, have === extent.length)
        clock = endStage('cut', clock)
        for (; written < list.count; written++) {
          const from = list.slotOffsets[written]
          const length = list.lengths[written]
          const digestAt = digestPosition(written)
          digestInto(bytes.subarray(from, from + length), entries, digestAt)
          writeEntry(entries, written, list.volumeOffsets[written], length, entries, digestAt)
          dataBytes += length
        }
        endStage('digest', clock)
        await nextTurn()
      }
    } finally {
      // Nothing may still be read into the slot when it is given back.
      if (ahead) await ahead.settle()
    }
    at = Math.ceil((at + extent.length) / ALIGN_BYTES) * ALIGN_BYTES
  }
  const { slotOffsets, lengths } = list
  return {
    start: window.start,
    end: window.end,
    entries: Uint8Array.prototype.slice.call(entries, 0, written * ENTRY_BYTES),
    dataBytes,
    bytes,
    position: (index) => slotOffsets[index],
    chunk: (index) => bytes.subarray(slotOffsets[index], slotOffsets[index] + lengths[index]),
    release,
  }
}
