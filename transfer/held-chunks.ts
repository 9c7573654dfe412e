/**
 * Fills a window from what this machine already holds, before anything is asked for.
 *
 * Looked at in this order: the sink itself at the very place (staged before a restart, or the old version on a device),
 * elsewhere in this stream, files known to the index, and the place in the version that is replaced. Every candidate is
 * read and digested; only what matches is used, so a stale hint costs a re-send. Of what lies at a chunk's place and does
 * not match, parts may: see bases.ts. Neighbours are read and written together.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { FluidError } from '../protocol/errors.ts'
import { WINDOW_BYTES } from '../protocol/limits.ts'
import { digestPosition, entryLength, entryOffset } from '../protocol/manifest.ts'
import { openReads, type Reads } from './backends/reads.ts'
import type { Bases } from './bases.ts'
import { travellingRanges } from './block-sums.ts'
import type { ChunkIndex, Scope } from './chunk-index.ts'
import { DirectMemory } from './direct-memory.ts'
import { hasDigest } from './hasher.ts'
import { createLookupSampling } from './lookup-sampling.ts'
import type { OpenWindow } from './open-window.ts'
import type { RecentChunks } from './recent-chunks.ts'
import type { Sink } from './sink.ts'
import { firstEntryFrom, firstEntryTouching, missingRanges } from './window-ranges.ts'

/** Files of the index kept open by one lane. */
const OPEN_FILES = 16
/** Bytes read, digested and written together: what the second-level cache holds from one to the next. */
const RUN_BYTES = 512 * 1024

export interface HeldChunks extends AsyncDisposable {
  /** Marks what it could fill as no longer missing; zeros what the window says is a hole. Keeps bases of the rest. */
  fill(window: OpenWindow): Promise<void>
  /**
   * Whole chunks [first, first + count) of which `bytes` hold what travelled: the other parts are what lies at their place.
   * A view, valid until the next call. Throws LANE_FAILED when that cannot be read any more.
   */
  complete(window: OpenWindow, first: number, count: number, bytes: Uint8Array): Promise<Uint8Array>
}

/** Where a chunk may lie: in the sink itself (file 0), in the version before (file -1) or in an indexed file. */
interface Candidate {
  readonly entry: number
  readonly file: number
  readonly offset: number
  /** Where the index knows it from. */
  readonly scope?: Scope
}

/** A file of the index, or the version before. */
interface OpenFile extends Reads {
  readonly fd: number
}

const SINK = 0
const PREVIOUS = -1

/** What a sender that can compare blocks lets us use. */
export interface OlderVersion {
  readonly bases: Pick<Bases, 'pay' | 'keep'>
  /** Path of the version that is replaced, where the sink does not begin with it. */
  readonly previous?: string
}

export function createHeldChunks(
  sink: Sink,
  recent: RecentChunks,
  index?: { readonly chunks: ChunkIndex; readonly scopes: readonly Scope[] },
  older?: OlderVersion,
): HeldChunks {
  /** Made when something is held: most volumes are new here. */
  let memory: DirectMemory | undefined
  const scratch = () => (memory ??= new DirectMemory(WINDOW_BYTES))
  const sampling = createLookupSampling<Candidate>()
  const files = new Map<number, OpenFile>()
  let isOpen = true
  /** What could not be opened: not looked into again, nor looked up, by this lane. The index still knows it. */
  const gone = new Set<number>()
  /** Files of the index that are what the sink itself was before. */
  const former = new Map<number, boolean>()
  /** Digests of the window that do not lie where the index knows them: their positions. */
  const stale = new Map<Scope, number[]>()

  async function fill(window: OpenWindow): Promise<void> {
    const staged: Candidate[] = []
    for await (const { offset, length } of sink.written(window.start, window.end)) {
      await zeroGaps(window, offset, offset + length)
      for (let entry = firstEntryFrom(window, offset); entry < window.missing.length; entry++) {
        const at = entryOffset(window.entries, entry)
        if (at + entryLength(window.entries, entry) > offset + length) break
        if (entry >= window.unasked) staged.push({ entry, file: SINK, offset: at })
      }
    }
    await take(window, staged)
    if (window.missingCount === 0) return
    sink.prepare?.(missingRanges(window))
    try {
      await take(window, lookUp(window))
    } finally {
      forgetStale(window)
    }
  }

  function forgetStale({ entries }: OpenWindow): void {
    for (const [scope, positions] of stale)
      void index?.chunks.forget(scope, entries, positions).catch(() => {})
    stale.clear()
  }

  function noteStale(scope: Scope, entry: number): void {
    const positions = stale.get(scope)
    if (positions) positions.push(digestPosition(entry))
    else stale.set(scope, [digestPosition(entry)])
  }

  /** Makes the parts of [from, to) that no entry covers read as zeros. */
  async function zeroGaps(window: OpenWindow, from: number, to: number): Promise<void> {
    let at = from
    for (let entry = firstEntryTouching(window, from); entry <= window.missing.length; entry++) {
      const last = entry === window.missing.length
      const next = last ? to : Math.min(to, entryOffset(window.entries, entry))
      if (next > at) {
        const zeroing = sink.zero(at, next - at)
        if (zeroing) await zeroing
      }
      if (last || next >= to) return
      at = Math.max(at, next + entryLength(window.entries, entry))
    }
  }

  function lookUp(window: OpenWindow): Candidate[] {
    const candidates = new Map<number, Candidate>()
    const unknown: number[] = []
    for (let entry = window.unasked; entry < window.missing.length; entry++) {
      if (!window.missing[entry]) continue
      const candidate = locateInStream(window, entry)
      if (candidate) candidates.set(entry, candidate)
      else unknown.push(entry)
    }
    const indexed = index && sampling.among(unknown, (entry) => locateInIndex(window, entry))
    // Hardly the chunk itself, but maybe what it was.
    const looks = older?.previous !== undefined && older.bases.pay && !gone.has(PREVIOUS)
    for (const entry of unknown) {
      const candidate = indexed?.get(entry)
      if (candidate) candidates.set(entry, candidate)
      else if (looks)
        candidates.set(entry, { entry, file: PREVIOUS, offset: entryOffset(window.entries, entry) })
    }
    return [...candidates.values()].sort((a, b) => a.entry - b.entry)
  }

  function locateInStream({ entries }: OpenWindow, entry: number): Candidate | undefined {
    const offset = recent.find(entries, digestPosition(entry))
    if (offset === undefined || offset + entryLength(entries, entry) > sink.sizeBytes) return undefined
    return { entry, file: SINK, offset }
  }

  function locateInIndex({ entries }: OpenWindow, entry: number): Candidate | undefined {
    for (const scope of index?.scopes ?? []) {
      const location = index!.chunks.find(scope, entries, digestPosition(entry))
      if (!location || gone.has(location.file)) continue
      const file = isFormer(location.file) ? SINK : location.file
      // What lies at its own place was looked at before.
      if (file === SINK && location.offset === entryOffset(entries, entry)) noteStale(scope, entry)
      else return { entry, file, offset: location.offset, scope }
    }
    return undefined
  }

  function isFormer(file: number): boolean {
    if (sink.former === undefined) return false
    let is = former.get(file)
    if (is === undefined) former.set(file, (is = index!.chunks.pathOf(file) === sink.former))
    return is
  }

  /**
   * Reads runs of candidates that lie side by side both here and in the volume, and writes those that match. Where another
   * thread writes, one run is read and digested meanwhile, and each has a part of the scratch of its own until all are written.
   */
  async function take(window: OpenWindow, candidates: readonly Candidate[]): Promise<void> {
    const writes: Promise<void>[] = []
    memory?.reset()
    try {
      for (let first = 0; first < candidates.length;) {
        let bytes = entryLength(window.entries, candidates[first].entry)
        let last = first
        while (last + 1 < candidates.length && follows(window, candidates[last], candidates[last + 1])) {
          const more = entryLength(window.entries, candidates[last + 1].entry)
          if (bytes + more > RUN_BYTES) break
          bytes += more
          last++
        }
        const room = scratch().take(bytes, entryOffset(window.entries, candidates[first].entry))
        await takeRun(window, candidates.slice(first, last + 1), room, writes)
        // Where this one does, the next run goes over the one before, while that is in the processor's cache.
        if (writes.length === 0) memory?.reset()
        first = last + 1
      }
    } finally {
      // Nothing may still read the scratch when it is used again.
      await Promise.allSettled(writes)
    }
    await Promise.all(writes)
  }

  /** Reads a run into `bytes`, which are as long, and begins to write what matches. */
  async function takeRun(
    window: OpenWindow,
    run: readonly Candidate[],
    bytes: Uint8Array,
    writes: Promise<void>[],
  ): Promise<void> {
    const { entries } = window
    const [head] = run
    if (!(await readAt(head.file, bytes, head.offset))) return
    const inPlace = head.file === SINK && head.offset === entryOffset(entries, head.entry)
    // [from, at): verified bytes not written yet, which begin with entry `start`.
    let from = 0
    let start = 0
    let at = 0
    const flush = () => {
      if (at === from || inPlace) return
      const writing = sink.write(bytes.subarray(from, at), entryOffset(entries, run[start].entry))
      if (!writing) return
      writing.catch(() => {}) // Awaited once all are begun.
      writes.push(writing)
    }
    for (const [i, { entry, scope }] of run.entries()) {
      const length = entryLength(entries, entry)
      const matches = hasDigest(bytes.subarray(at, at + length), entries, digestPosition(entry))
      if (matches) {
        window.missing[entry] = 0
        window.missingCount--
        recent.put(entries, digestPosition(entry), entryOffset(entries, entry))
        at += length
      } else {
        if ((inPlace || head.file === PREVIOUS) && older?.bases.pay)
          older.bases.keep(window, entry, bytes.subarray(at, at + length), { inPlace })
        if (scope !== undefined) noteStale(scope, entry)
        flush()
        at += length
        from = at
        start = i + 1
      }
    }
    flush()
  }

  async function readAt(file: number, target: Uint8Array, offset: number): Promise<boolean> {
    try {
      const from = file === SINK ? sink : open(file)
      const reading = from?.read(target, offset)
      if (reading) await reading
      return from !== undefined
    } catch {
      // What cannot be read is not held: it is asked for, and nothing is lost.
      return false
    }
  }

  function open(file: number): OpenFile | undefined {
    // A lane that failed may still fill a window.
    if (!isOpen) return undefined
    const known = files.get(file)
    if (known !== undefined) return known
    if (gone.has(file)) return undefined
    const path = file === PREVIOUS ? older?.previous : index?.chunks.pathOf(file)
    // Only the version before is read once, and forward.
    const opened = path === undefined ? undefined : openIfThere(path, file === PREVIOUS ? 'former' : 'target')
    if (!opened) {
      gone.add(file)
      return undefined
    }
    if (files.size >= OPEN_FILES) {
      const [oldest, itsFile] = files.entries().next().value!
      files.delete(oldest)
      void close(itsFile)
    }
    files.set(file, opened)
    return opened
  }

  async function complete(
    window: OpenWindow,
    first: number,
    count: number,
    bytes: Uint8Array,
  ): Promise<Uint8Array> {
    let lengthBytes = 0
    for (let entry = first; entry < first + count; entry++) lengthBytes += entryLength(window.entries, entry)
    scratch().reset()
    const whole = scratch().take(lengthBytes, entryOffset(window.entries, first))
    let from = 0
    let at = 0
    for (let entry = first; entry < first + count; entry++) {
      const length = entryLength(window.entries, entry)
      const chunk = whole.subarray(at, at + length)
      at += length
      const offset = entryOffset(window.entries, entry)
      const file = window.bases.get(entry)?.inPlace ? SINK : PREVIOUS
      if (window.parts.has(entry) && !(await readAt(file, chunk, offset)))
        throw new FluidError('LANE_FAILED', 'The older version of a chunk cannot be read any more', {
          offset,
        })
      for (const { start, end } of travellingRanges(window.entries, entry, window.parts)) {
        chunk.set(bytes.subarray(from, from + end - start), start)
        from += end - start
      }
    }
    return whole
  }

  return {
    fill,
    complete,
    async [Symbol.asyncDispose]() {
      isOpen = false
      await Promise.all(Array.from(files.values(), close))
      files.clear()
    },
  }
}

function openIfThere(path: string, of: 'former' | 'target'): OpenFile | undefined {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    return { fd, ...openReads(fd, path, of) }
  } catch {
    return undefined
  }
}

/** Waits for what a lane that was stopped may still read. */
async function close({ fd, close }: OpenFile): Promise<void> {
  await close()
  closeSync(fd)
}

function follows(window: OpenWindow, a: Candidate, b: Candidate): boolean {
  const length = entryLength(window.entries, a.entry)
  return (
    b.entry === a.entry + 1 &&
    b.file === a.file &&
    b.offset === a.offset + length &&
    entryOffset(window.entries, b.entry) === entryOffset(window.entries, a.entry) + length
  )
}
