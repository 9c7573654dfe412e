/**
 * Puts the wanted chunks of a window into data frames, compressed where it pays: a stage of send().
 *
 * Neighbouring chunks that are both worth compressing (or both not) travel in one frame of up to DATA_FRAME_BYTES,
 * because zstd finds more in a mebibyte than in 64 KiB, and large writes cost the line less.
 */
import { entryCount } from '../protocol/manifest.ts'
import { DATA_FRAME_BYTES } from '../protocol/limits.ts'
import { travellingBytes, travellingRanges } from './block-sums.ts'
import { createFrameEncoder, FRAME_MEMORY_BYTES, looksCompressible, type CompressFrame } from './compress.ts'
import type { CompressionControl } from './compression-control.ts'
import type { LaneMessage } from '../protocol/lane-message.ts'
import type { WantedWindow } from './want.ts'

/** What a window became: its frames in order, made as they are asked for. */
export interface PackedWindow {
  readonly wanted: WantedWindow
  /** Bytes of the chunks that travel, before compression. */
  readonly sentBytes: number
  /** Their payloads are valid until they are released, and the window is. */
  frames(): Generator<DataFrame>
}

export interface DataFrame {
  readonly message: Extract<LaneMessage, { kind: 'data' }>
  readonly payload: Uint8Array
  /** CPU time of compressing, in ms. */
  readonly compressMs: number
  /** Call it once, when the lane has taken the payload: its memory is used again. A frame that never left is let go. */
  release(): void
}

/** Entries [first, first + count) of a window, all wanted. */
interface Run {
  readonly first: number
  readonly count: number
  readonly rawBytes: number
  readonly compress: boolean
}

/** What the frames of one lane are made with. */
interface Press {
  readonly control: Pick<CompressionControl, 'shouldCompress' | 'level'>
  readonly compress: CompressFrame
  /** For frames that do not lie ready in their window: each use of it is for one frame. */
  readonly memory: FrameMemory
}

/** The stage. The control is asked once a frame. */
export function pack(control: Pick<CompressionControl, 'earn' | 'shouldCompress' | 'level'>) {
  const press: Press = {
    control,
    compress: createFrameEncoder(),
    memory: createFrameMemory(),
  }
  return async function* (windows: AsyncIterable<WantedWindow>): AsyncGenerator<PackedWindow> {
    for await (const wanted of windows) {
      let sentBytes = wanted.unaskedBytes
      const { entries } = wanted.window
      for (let i = 0; i < entryCount(entries); i++)
        if (wanted.wants(i)) sentBytes += travellingBytes(entries, i, wanted.parts)
      control.earn(wanted.window.dataBytes - sentBytes)
      yield { wanted, sentBytes, frames: () => frames(wanted, press) }
    }
  }
}

function* frames(wanted: WantedWindow, press: Press): Generator<DataFrame> {
  for (const run of runs(wanted, press.control)) {
    const { first, count, rawBytes } = run
    const message = { kind: 'data', window: wanted.number, first, count, rawBytes } as const
    const raw = gather(wanted, run, press.memory)
    if (!run.compress) {
      yield { message: { ...message, codec: 'raw' }, compressMs: 0, ...raw }
      continue
    }
    const before = performance.now()
    const encoded = encode(raw, press)
    const compressMs = performance.now() - before
    yield { message: { ...message, codec: encoded ? 'zstd' : 'raw' }, compressMs, ...(encoded ?? raw) }
  }
}

/** Bytes of a frame, and how to give their memory back. */
type Lent = Pick<DataFrame, 'payload' | 'release'>

/** The shorter form of `raw`, which is released then. */
function encode(raw: Lent, { control, compress, memory }: Press): Lent | undefined {
  const into = memory.take()
  const payload = compress(raw.payload, into, control.level)
  if (!payload) {
    memory.give(into)
    return undefined
  }
  raw.release()
  return { payload, release: () => memory.give(into) }
}

function* runs(wanted: WantedWindow, control: Press['control']): Generator<Run> {
  const { entries } = wanted.window
  const total = entryCount(entries)
  // The chunk that ends a run is the first of the next one: it is not probed twice.
  let probed = -1
  let compressible = false
  const probe = (index: number) => {
    if (probed !== index) compressible = looksCompressible(wanted.window.chunk(index))
    probed = index
    return compressible
  }
  let first = 0
  while (first < total) {
    if (!wanted.wants(first)) {
      first++
      continue
    }
    const may = control.shouldCompress()
    const compress = may && probe(first)
    let rawBytes = travellingBytes(entries, first, wanted.parts)
    let count = 1
    while (first + count < total && wanted.wants(first + count)) {
      const length = travellingBytes(entries, first + count, wanted.parts)
      if (rawBytes + length > DATA_FRAME_BYTES) break
      if (may && probe(first + count) !== compress) break
      rawBytes += length
      count++
    }
    yield { first, count, rawBytes, compress }
    first += count
  }
}

/** The bytes of a run: a view where its chunks are whole and touch in memory, else a copy. */
function gather({ window, parts }: WantedWindow, { first, count, rawBytes }: Run, memory: FrameMemory): Lent {
  const from = window.position(first)
  const touches =
    window.position(first + count - 1) + window.chunk(first + count - 1).length - from === rawBytes
  if (touches) return { payload: window.bytes.subarray(from, from + rawBytes), release() {} }
  const copy = memory.take()
  for (let i = 0, at = 0; i < count; i++) {
    const chunk = window.chunk(first + i)
    for (const { start, end } of travellingRanges(window.entries, first + i, parts)) {
      copy.set(chunk.subarray(start, end), at)
      at += end - start
    }
  }
  return { payload: copy.subarray(0, rawBytes), release: () => memory.give(copy) }
}

/** Room for one frame each; there are never more than were in use at once. */
interface FrameMemory {
  take(): Uint8Array
  give(memory: Uint8Array): void
}

function createFrameMemory(): FrameMemory {
  const free: Uint8Array[] = []
  return {
    take: () => free.pop() ?? Buffer.allocUnsafeSlow(FRAME_MEMORY_BYTES),
    give: (memory) => void free.push(memory),
  }
}
