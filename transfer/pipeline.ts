/**
 * The two pipes of the engine, one on each side of a lane. Read this first.
 *
 * send():    windows -> scan -> want -> pack -> write
 * receive(): frames -> answer -> verify -> store -> report
 *
 * Both run in a lane worker; every byte they touch stays in that thread. Memory is bounded by the slots of the scan
 * (WINDOWS_PER_LANE windows at most) on one side and by the windows a receiver leaves open on the other.
 */
import { pipe } from 'it-pipe'
import type { CompressionControl } from './compression-control.ts'
import type { Chunker } from './chunker.ts'
import type { Lane } from './lane.ts'
import { pack } from './pack.ts'
import type { OpenWindow, OpenWindows } from './open-window.ts'
import { answer, placesIn, verify, type Answering } from './place.ts'
import type { RecentChunks } from './recent-chunks.ts'
import { createSlotPool, scan } from './scan.ts'
import type { Source } from './source.ts'
import { store } from './store.ts'
import { createExchange } from './want.ts'
import type { Window } from './window.ts'
import { writeFrames, type SentWindow } from './write-frames.ts'

/** What the sending side of a lane works with. */
export interface Sending {
  readonly lane: Lane
  readonly source: Source
  readonly chunker: Chunker
  /** Slots of the chunker; one of them is being filled. */
  readonly windows: number
  readonly compression: CompressionControl
  /** Of the first chunks, which the receiver takes before it wants them. */
  readonly unaskedBytes: number
  /** Milliseconds to wait before this many bytes may be sent. */
  pace(bytes: number): number
  onSent(window: SentWindow): void
}

/** Sends the `planned` windows over the lane until they end; every window is announced, wanted chunks travel. */
export async function send(
  planned: AsyncIterable<Window>,
  sending: Sending,
  signal: AbortSignal,
): Promise<void> {
  const { lane, source, chunker, windows, compression, unaskedBytes } = sending
  const exchange = createExchange(lane, { unaskedBytes })
  const slots = createSlotPool(windows)
  const answers = exchange.listen(lane.frames({ signal }))
  answers.catch(() => {})
  const sent = pipe(
    planned,
    scan(source, chunker, slots, signal),
    exchange.want(windows - 1),
    pack(compression),
    writeFrames(lane, exchange, compression, sending.pace, signal),
    (written) => drain(written, sending.onSent),
  )
  await Promise.race([sent, answers.then(() => sent)])
  await lane.write({ kind: 'bye' })
  await lane.end()
  await answers.catch(() => {})
}

/** What the receiving side of a lane works with. */
export interface Receiving extends Answering {
  readonly recent: RecentChunks
  /** Called when every chunk of a window is written (not yet durable); the next one waits until it resolves. */
  onPlaced(window: OpenWindow): void | Promise<void>
}

/** Receives windows from the lane until the sender ends it. */
export async function receive(receiving: Receiving, signal: AbortSignal): Promise<void> {
  const { lane, sink, held, recent } = receiving
  const open: OpenWindows = new Map()
  await pipe(
    lane.frames({ signal, placeOf: placesIn(open) }),
    answer(open, receiving),
    verify(open, held),
    store(open, sink, recent),
    (placed) => drain(placed, receiving.onPlaced),
  )
  await lane.end()
}

async function drain<T>(items: AsyncIterable<T>, take: (item: T) => void | Promise<void>): Promise<void> {
  for await (const item of items) await take(item)
}
