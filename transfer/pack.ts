/**
 * Puts the wanted chunks of a window into data frames, compressed where it pays: a stage of send().
 *
 * Neighbouring chunks that are both worth compressing (or both not) travel in one frame of up to DATA_FRAME_BYTES,
 * because zstd finds more in a mebibyte than in 64 KiB, and large writes cost the line less.
 */
import { entryCount, entryLength } from '../protocol/manifest.ts'
import { DATA_FRAME_BYTES } from '../protocol/limits.ts'
import { compressFrame, looksCompressible } from './compress.ts'
import type { CompressionControl } from './compression-control.ts'
import type { LaneMessage } from '../protocol/lane-message.ts'
import type { WantedWindow } from './want.ts'

/** What a window became: its frames in order, made as they are asked for. */
export interface PackedWindow {
  readonly wanted: WantedWindow
  /** Bytes of the chunks that travel, before compression. */
  readonly sentBytes: number
  /** `payload` is valid until the window is released and the next frame is asked for. */
  frames(): Generator<DataFrame>
}

export interface DataFrame {
  readonly message: Extract<LaneMessage, { kind: 'data' }>
  readonly payload: Uint8Array
  /** CPU time of compressing, in ms. */
  readonly compressMs: number
}

/** Entries [first, first + count) of a window, all wanted. */
interface Run {
  readonly first: number
  readonly count: number
  readonly rawBytes: number
  readonly compress: boolean
}

/** The stage. The control is asked once a frame. */
export function pack(control: Pick<CompressionControl, 'earn' | 'shouldCompress'>) {
  return async function* (windows: AsyncIterable<WantedWindow>): AsyncGenerator<PackedWindow> {
    for await (const wanted of windows) {
      let sentBytes = 0
      const { entries } = wanted.window
      for (let i = 0; i < entryCount(entries); i++) if (wanted.wants(i)) sentBytes += entryLength(entries, i)
      control.earn(wanted.window.dataBytes - sentBytes)
      yield { wanted, sentBytes, frames: () => frames(wanted, () => control.shouldCompress()) }
    }
  }
}

function* frames(wanted: WantedWindow, shouldCompress: () => boolean): Generator<DataFrame> {
  for (const run of runs(wanted, shouldCompress)) {
    const { first, count, rawBytes } = run
    const raw = gather(wanted, run)
    const before = run.compress ? performance.now() : 0
    const encoded = run.compress ? compressFrame(raw) : undefined
    yield {
      message: {
        kind: 'data',
        window: wanted.number,
        first,
        count,
        codec: encoded ? 'zstd' : 'raw',
        rawBytes,
      },
      payload: encoded ?? raw,
      compressMs: run.compress ? performance.now() - before : 0,
    }
  }
}

function* runs(wanted: WantedWindow, shouldCompress: () => boolean): Generator<Run> {
  const { entries } = wanted.window
  const total = entryCount(entries)
  let first = 0
  while (first < total) {
    if (!wanted.wants(first)) {
      first++
      continue
    }
    const may = shouldCompress()
    const compress = may && looksCompressible(wanted.window.chunk(first))
    let rawBytes = entryLength(entries, first)
    let count = 1
    while (first + count < total && wanted.wants(first + count)) {
      const length = entryLength(entries, first + count)
      if (rawBytes + length > DATA_FRAME_BYTES) break
      if (may && looksCompressible(wanted.window.chunk(first + count)) !== compress) break
      rawBytes += length
      count++
    }
    yield { first, count, rawBytes, compress }
    first += count
  }
}

/** The bytes of a run: a view where its chunks touch in memory, else a copy. */
function gather({ window }: WantedWindow, { first, count, rawBytes }: Run): Uint8Array {
  const from = window.position(first)
  const touches =
    window.position(first + count - 1) + window.chunk(first + count - 1).length - from === rawBytes
  if (touches) return window.bytes.subarray(from, from + rawBytes)
  const copy = Buffer.allocUnsafe(rawBytes)
  for (let i = 0, at = 0; i < count; i++) {
    const chunk = window.chunk(first + i)
    copy.set(chunk, at)
    at += chunk.length
  }
  return copy
}
