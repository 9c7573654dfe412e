/** Both pipes of the engine in this thread, over lanes in memory: a whole transfer without workers, sockets or jobs. */
import type { FluidError } from '../../protocol/errors.ts'
import { RangeSet, type Range } from '../../protocol/extent.ts'
import { WINDOWS_PER_LANE } from '../../protocol/limits.ts'
import { createRoot } from '../../protocol/manifest.ts'
import type { ChunkIndex, Scope } from '../../transfer/chunk-index.ts'
import { createChunkerPool } from '../../transfer/chunker-pool.ts'
import { CHUNKING_FASTCDC_64K } from '../../transfer/chunker.ts'
import { createCompressionControl, type CompressionMode } from '../../transfer/compression-control.ts'
import { createBases } from '../../transfer/bases.ts'
import { createHeldChunks } from '../../transfer/held-chunks.ts'
import type { JournalRecord } from '../../transfer/journal-record.ts'
import { receive, send } from '../../transfer/pipeline.ts'
import { createRecentTable, openRecentTable } from '../../transfer/recent-chunks.ts'
import type { Sink } from '../../transfer/sink.ts'
import type { Source } from '../../transfer/source.ts'
import { windows as planWindows } from '../../transfer/window.ts'
import { openMemoryLanes, type MemoryLanes } from './memory-lane.ts'
import { CHUNKING } from './reference-manifest.ts'

const chunkers = createChunkerPool()

export interface MemoryTransfer {
  readonly source: Source
  readonly sink: Sink
  readonly lanes?: number
  readonly compression?: CompressionMode
  readonly index?: { readonly chunks: ChunkIndex; readonly scopes: readonly Scope[] }
  readonly done?: RangeSet
  /** Chunks are compared with what lies at their place, and in the file at this path when there is one. */
  readonly older?: { readonly previous?: string }
  /** That the sender keeps in memory for each lane; WINDOWS_PER_LANE unless given. */
  readonly windows?: number
  /** Of the first chunks of each lane, that the sender sends before they are wanted; none unless given. */
  readonly unaskedBytes?: number
  /** That the receiver takes; as many unless given. */
  readonly takenUnaskedBytes?: number
  /** Sees what the receiver tells to be written. */
  onPlaced?(window: Range): void
  /** Sees each pair of lanes before anything is sent on it. */
  onLanes?(lanes: MemoryLanes): void
}

/** What each side heard, in the order of the volume. */
export interface Transferred {
  readonly scanned: JournalRecord[]
  readonly placed: JournalRecord[]
  /** Payload that travelled, as either side counts it. */
  readonly sentBytes: number
  readonly receivedBytes: number
}

/** Moves the source into the sink; rejects with what went wrong, rather than with the lane that broke of it. */
export async function transfer(options: MemoryTransfer): Promise<Transferred> {
  const { source, sink, lanes = 1, compression = 'auto', index, older, done = new RangeSet() } = options
  const { onLanes, windows = WINDOWS_PER_LANE, unaskedBytes = 0, takenUnaskedBytes = unaskedBytes } = options
  const recent = openRecentTable(createRecentTable(4096))
  const scanned: JournalRecord[] = []
  const placed: JournalRecord[] = []
  let sentBytes = 0
  let receivedBytes = 0
  const plan = planWindows([...done.complement(source.sizeBytes)], (from) => source.extents(from))
  const { signal } = new AbortController()

  async function lane(): Promise<void> {
    await using pair = await openMemoryLanes()
    onLanes?.(pair)
    using loan = chunkers.borrow(windows, CHUNKING_FASTCDC_64K)
    const bases = older && createBases()
    await using held = createHeldChunks(sink, recent, index, bases && { bases, previous: older?.previous })
    const sending = send(
      shared(plan),
      {
        lane: pair.sender,
        source,
        chunker: loan.chunker,
        windows,
        compression: createCompressionControl({ mode: compression }),
        unaskedBytes,
        pace: () => 0,
        onSent: ({ start, end, entries, ...window }) => {
          scanned.push({ start, end, entries })
          sentBytes += window.sentBytes
        },
      },
      signal,
    )
    const receiving = receive(
      {
        lane: pair.receiver,
        sink,
        sizeBytes: source.sizeBytes,
        held,
        bases,
        recent,
        unaskedBytes: takenUnaskedBytes,
        onAnnounced: () => {},
        onPlaced: (window) => {
          options.onPlaced?.(window)
          placed.push({ start: window.start, end: window.end, entries: window.entries })
          receivedBytes += window.receivedBytes
        },
      },
      signal,
    )
    // As a lane worker does: who fails closes its lane, and the other side sees that.
    const closing = [
      sending.catch(async (error: unknown) => {
        await pair.sender[Symbol.asyncDispose]()
        throw error
      }),
      receiving.catch(async (error: unknown) => {
        await pair.receiver[Symbol.asyncDispose]()
        throw error
      }),
    ]
    const failed = (await Promise.allSettled(closing)).filter((outcome) => outcome.status === 'rejected')
    if (failed.length > 0) throw causeOf(failed)
  }

  const outcomes = await Promise.allSettled(Array.from({ length: lanes }, lane))
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  const inOrder = (records: JournalRecord[]) => records.sort((a, b) => a.start - b.start)
  return {
    scanned: inOrder(scanned),
    placed: inOrder(placed),
    sentBytes,
    receivedBytes,
  }
}

function causeOf(failed: readonly PromiseRejectedResult[]): unknown {
  return (failed.find(({ reason }) => (reason as FluidError).code !== 'LANE_FAILED') ?? failed[0]).reason
}

/** The root of a volume from the windows one side heard. */
export function rootOfRecords(sizeBytes: number, records: readonly JournalRecord[]): Uint8Array {
  const root = createRoot(sizeBytes, CHUNKING)
  for (const { entries } of records) root.update(entries)
  return root.digest()
}

/** Windows that several lanes take from, none of which ends them for the others. */
async function* shared<T>(items: AsyncGenerator<T>): AsyncGenerator<T> {
  for (;;) {
    const { done, value } = await items.next()
    if (done) return
    yield value
  }
}
