/**
 * Writes verified chunks: the last stage of receive(). What a disk writes is not waited for, up to WRITES_UNDER_WAY frames: meanwhile
 * the lane decrypts and digests the next.
 */
import { WRITES_UNDER_WAY } from '../protocol/limits.ts'
import { digestPosition, entryLength, entryOffset } from '../protocol/manifest.ts'
import type { OpenWindow, OpenWindows } from './open-window.ts'
import type { VerifiedChunks } from './place.ts'
import type { RecentChunks } from './recent-chunks.ts'
import type { Sink } from './sink.ts'
import { endStage, startStage, waitStage } from './stage-clock.ts'
import { stretches } from './window-ranges.ts'

/** Writes of a frame. */
interface Writing {
  readonly done: Promise<void>
  /** The window that they complete, those before them taken together. */
  readonly completes: OpenWindow | undefined
}

/** The stage: writes neighbours in one write, and passes on the windows of which all is written. */
export function store(open: OpenWindows, sink: Sink, recent: RecentChunks) {
  return async function* (items: AsyncIterable<VerifiedChunks>): AsyncGenerator<OpenWindow> {
    const source = items[Symbol.asyncIterator]()
    /** Oldest first. */
    const underWay: Writing[] = []
    let next: Promise<IteratorResult<VerifiedChunks>> | undefined

    /** Waits until no more than `most` are under way. */
    async function* settle(most: number): AsyncGenerator<OpenWindow> {
      while (underWay.length > most) {
        const [{ done, completes }] = underWay
        await waitStage('wait-write', done)
        underWay.shift()
        if (completes) yield completes
      }
    }

    try {
      for (;;) {
        next ??= source.next()
        const came = await (underWay.length > 0 ? Promise.race([next, underWay[0].done]) : next)
        if (!came) {
          yield* settle(underWay.length - 1)
          continue
        }
        next = undefined
        if (came.done) break
        const chunks = came.value
        const { window } = chunks
        yield* settle(WRITES_UNDER_WAY - 1)
        const done = write(chunks, sink, recent)
        const completes = window.missingCount > 0 ? undefined : window
        if (completes) open.delete(window.number)
        if (done) {
          done.catch(() => {}) // Heard of when its turn comes.
          underWay.push({ done, completes })
          // What cannot be kept is used up before more is asked for.
          if (chunks.keep) chunks.keep(done)
          else yield* settle(0)
        } else if (completes && underWay.length > 0) underWay.push({ done: Promise.resolve(), completes })
        else if (completes) yield completes
      }
      yield* settle(0)
    } finally {
      // Nothing may still be read when the lane goes. A frame that is waited for may never come.
      await Promise.allSettled(underWay.map(({ done }) => done))
      next?.catch(() => {})
      const ending = source.return?.()
      if (!next) await ending
    }
  }
}

/** Begins to write chunks, and what repeats them in their window; undefined when all is written. Ends when nothing is under way. */
function write(
  { window, first, count, bytes, receivedBytes }: VerifiedChunks,
  sink: Sink,
  recent: RecentChunks,
): Promise<void> | undefined {
  const { entries } = window
  const writes: Promise<void>[] = []
  const begin = (piece: Uint8Array, offset: number) => {
    const clock = startStage()
    const writing = attempted(() => sink.write(piece, offset))
    endStage('write', clock)
    if (!writing) return
    writing.catch(() => {}) // Awaited once all are begun.
    writes.push(writing)
  }
  for (const { from, to, offset } of stretches(window, first, count)) begin(bytes.subarray(from, to), offset)
  for (let i = first, at = 0; i < first + count; i++) {
    const length = entryLength(entries, i)
    window.missing[i] = 0
    window.missingCount--
    for (const repeat of window.repeats.get(i) ?? []) {
      begin(bytes.subarray(at, at + length), entryOffset(entries, repeat))
      window.missingCount--
    }
    at += length
  }
  window.receivedBytes += receivedBytes
  /** What is written may be found by others. */
  const note = () => {
    for (let i = first; i < first + count; i++)
      recent.put(entries, digestPosition(i), entryOffset(entries, i))
  }
  if (writes.length > 0) return settled(writes).then(note)
  note()
}

/** What fails at once fails no sooner than what was begun before has ended. */
function attempted(write: () => void | Promise<void>): void | Promise<void> {
  try {
    return write()
  } catch (error) {
    return Promise.reject(error)
  }
}

/** Like Promise.all(), but not before the last one has ended. */
async function settled(writes: readonly Promise<void>[]): Promise<void> {
  await Promise.allSettled(writes)
  await Promise.all(writes)
}
