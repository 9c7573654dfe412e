/**
 * The worker thread in which lanes live: opens each lane it is told to, runs its pipe, reports on the lane's own port.
 * Nothing here decides; the main thread hands out windows (outbound.ts) and makes what is placed durable (inbound.ts).
 */
import { flushCompileCache } from 'node:module'
import { parentPort, type MessagePort } from 'node:worker_threads'
import { asFluidError } from '../protocol/errors.ts'
import { MAX_UNNOTED_WINDOWS } from '../protocol/limits.ts'
import { openChunkIndex } from './chunk-index.ts'
import { createBases } from './bases.ts'
import { createChunkerPool } from './chunker-pool.ts'
import { createCompressionControl } from './compression-control.ts'
import { RaiseTurns } from './compression-level.ts'
import { createHeldChunks } from './held-chunks.ts'
import type { Lane } from './lane.ts'
import type { FromLane, OpenLane, ReceiveJob, ScanJob, SendJob, ToLane } from './lane-job.ts'
import { openLane } from './lanes/open-lane.ts'
import { openSink, openSource } from './open.ts'
import { openPacer } from './pacer.ts'
import { receive, send } from './pipeline.ts'
import { openRecentTable } from './recent-chunks.ts'
import { createSlotPool, scan } from './scan.ts'
import { addStage, takeStageTimes } from './stage-clock.ts'
import { openStateLevel } from './state-level.ts'
import type { Window } from './window.ts'

/** How often a lane tells its byte counters, and looks at its line. */
const COUNTERS_INTERVAL_MS = 100

/** One lane's conversation with the main thread. */
interface LanePort {
  readonly signal: AbortSignal
  /** Windows as the main thread hands them out, until it says finish. */
  windows(): AsyncGenerator<Window>
  report(message: FromLane): void
  /** Reports a placed window. Resolves when another may follow: the main thread keeps up. Throws the signal's reason. */
  place(message: Extract<FromLane, { type: 'placed' }>): Promise<void>
}

const chunkers = createChunkerPool()
const raiseTurns = new RaiseTurns()

parentPort!.on('message', ({ job, port }: OpenLane) => {
  void run(job, port)
})
// Everything is loaded: from now on the thread can be ended.
parentPort!.postMessage('loaded')

async function run(job: OpenLane['job'], port: MessagePort): Promise<void> {
  let lane: Lane | undefined
  const conversation = converse(port, () => lane?.expectLosses?.())
  let failure: unknown
  const wire = () => ({
    wireSentBytes: lane?.wire.sentBytes ?? 0,
    wireReceivedBytes: lane?.wire.receivedBytes ?? 0,
  })
  const counting = setInterval(
    () => conversation.report({ type: 'counters', line: lane?.observeLine?.(), ...wire() }),
    COUNTERS_INTERVAL_MS,
  )
  try {
    if (job.role === 'scan') await runScan(job, conversation)
    else {
      lane = await openLane(job.lane, { signal: conversation.signal })
      conversation.report({ type: 'opened', path: lane.path })
      if (job.role === 'send') await runSend(job, lane, conversation)
      else await runReceive(job, lane, conversation)
    }
  } catch (error) {
    failure = error
  }
  clearInterval(counting)
  const fault = failure === undefined ? undefined : asFluidError(failure, 'UNEXPECTED')
  if (fault && lane) await say(lane, fault.message)
  await lane?.[Symbol.asyncDispose]()
  // What was compiled by now, for the next thread and the next agent: a worker has no orderly end. Does nothing again.
  flushCompileCache()
  if (lane) {
    addStage('wait-line', lane.waited.writeMs)
    // A sender always waits for answers; what it lacks one for is counted as wait-want.
    if (job.role === 'receive') addStage('wait-frame', lane.waited.readMs)
  }
  conversation.report({
    type: 'closed',
    ...wire(),
    stages: takeStageTimes(),
    error: fault && { code: fault.code, message: fault.message, offset: fault.details.offset },
  })
  port.close()
}

async function runSend(job: SendJob, lane: Lane, port: LanePort): Promise<void> {
  await using source = await openSource(job.sourceUrl)
  const loan = chunkers.borrow(job.windows, job.chunking)
  const pacers = job.pacers.map((shared) => openPacer(shared))
  await send(
    prefetching(port.windows(), (window) => {
      for (const { offset, length } of window.extents) source.prefetch(offset, length)
    }),
    {
      lane,
      source,
      chunker: loan.chunker,
      windows: job.windows,
      compression: createCompressionControl({
        mode: job.compression,
        near: lane.observeLine?.().near,
        mayRaise: () => raiseTurns.take(),
      }),
      unaskedBytes: job.unaskedBytes,
      pace: (bytes) => pacers.reduce((waitMs, pacer) => Math.max(waitMs, pacer.take(bytes)), 0),
      onSent: (window) => port.report({ type: 'sent', ...window }),
    },
    port.signal,
  )
  // Not lent again after a failure: what this lane had under way may still read into the slots.
  loan[Symbol.dispose]()
}

async function runReceive(job: ReceiveJob, lane: Lane, port: LanePort): Promise<void> {
  await using sink = await openSink(job.sinkUrl)
  const recent = openRecentTable(job.recent)
  await using db =
    job.scopes.length > 0 ? await openStateLevel(job.statePath, { createIfMissing: false }) : undefined
  const bases = job.comparesBlocks ? createBases() : undefined
  const index = db && { chunks: openChunkIndex(db), scopes: job.scopes }
  await using held = createHeldChunks(sink, recent, index, bases && { bases, previous: job.previous })
  await receive(
    {
      lane,
      sink,
      sizeBytes: job.sizeBytes,
      held,
      bases,
      recent,
      unaskedBytes: job.unaskedBytes,
      onAnnounced: ({ start, end, missingCount }) =>
        port.report({ type: 'announced', start, end, missing: missingCount > 0 }),
      onPlaced: ({ start, end, entries, receivedBytes }) =>
        port.place({ type: 'placed', start, end, entries, receivedBytes }),
    },
    port.signal,
  )
}

async function runScan(job: ScanJob, port: LanePort): Promise<void> {
  await using source = await openSource(job.sourceUrl)
  using loan = chunkers.borrow(1, job.chunking)
  for await (const window of scan(source, loan.chunker, createSlotPool(1), port.signal)(port.windows())) {
    port.report({ type: 'scanned', start: window.start, end: window.end, entries: window.entries })
    window.release()
  }
}

/** Tells the peer why the lane ends, if it still listens. */
async function say(lane: Lane, message: string): Promise<void> {
  try {
    await Promise.race([
      lane.write({ kind: 'error', code: 0, message }),
      new Promise((done) => setTimeout(done, 200)),
    ])
  } catch {
    // The lane is gone; the peer will see that.
  }
}

function converse(port: MessagePort, onLosses: () => void): LanePort {
  const abort = new AbortController()
  const queue: Window[] = []
  let finished = false
  let unnoted = 0
  let wake: (() => void) | undefined
  port.on('message', (message: ToLane) => {
    if (message.type === 'abort')
      abort.abort(asFluidError(new Error('The job stopped this lane'), 'INTERRUPTED'))
    else if (message.type === 'finish') finished = true
    else if (message.type === 'line-loses') onLosses()
    else if (message.type === 'noted') unnoted -= message.windows
    else queue.push(message)
    wake?.()
  })
  port.on('close', () => {
    abort.abort(asFluidError(new Error('The job is gone'), 'INTERRUPTED'))
    wake?.()
  })
  const report = (message: FromLane) => port.postMessage(message)
  return {
    signal: abort.signal,
    report,
    async place(message) {
      report(message)
      unnoted++
      while (unnoted >= MAX_UNNOTED_WINDOWS) {
        abort.signal.throwIfAborted()
        await new Promise<void>((resolve) => (wake = resolve))
      }
    },
    async *windows() {
      report({ type: 'next' })
      for (;;) {
        abort.signal.throwIfAborted()
        const window = queue.shift()
        if (window) {
          // One window is always on its way while this one is worked on.
          report({ type: 'next' })
          yield window
        } else if (finished) return
        else await new Promise<void>((resolve) => (wake = resolve))
      }
    },
  }
}

/** Calls `prefetch` for each window as soon as it is known. */
async function* prefetching(
  windows: AsyncIterable<Window>,
  prefetch: (window: Window) => void,
): AsyncGenerator<Window> {
  for await (const window of windows) {
    prefetch(window)
    yield window
  }
}
