/** The worker threads of an agent: lanes of all jobs share them, each lane in the thread that carries fewest. */
import { availableParallelism } from 'node:os'
import { MessageChannel, Worker, type Transferable } from 'node:worker_threads'
import { FluidError } from '../protocol/errors.ts'
import { FEW_CORES } from './backends/write-turns.ts'
import type { FromLane, LaneJob, OpenLane, ToLane } from './lane-job.ts'

/**
 * Of a thread's heap, what was just allocated: V8 makes two halves of a third each. What lanes allocate dies at once, and
 * their windows lie outside of it. Left alone V8 lets the halves grow past the room until the next full collection, and
 * then makes full collections one after the other; small halves also stay in the processor's cache.
 */
const YOUNG_GENERATION_MB = 3

/** The main thread's end of a lane. */
export interface LaneHandle {
  send(message: ToLane): void
  /** Tells the lane to stop; `closed` follows. */
  abort(): void
  /** Resolves once the lane is closed, whatever the reason; the last report says it. */
  readonly closed: Promise<void>
}

/** Opens lanes in worker threads; started as needed, ended with the pool. */
export class LanePool implements AsyncDisposable {
  readonly #cores: number
  readonly #workers: {
    readonly worker: Worker
    /** Resolves when the thread has loaded its modules, or has ended. */
    readonly loaded: Promise<void>
    lanes: number
    readonly lost: Set<(error: Error) => void>
  }[] = []
  #disposed = false

  /** At most one thread for each of `cores`. */
  constructor(cores = availableParallelism()) {
    this.#cores = cores
  }

  /** Opens a lane for `job`; `onReport` hears everything it says, `closed` last, exactly once. */
  open(job: LaneJob, onReport: (message: FromLane) => void): LaneHandle {
    if (this.#disposed) throw new FluidError('INTERRUPTED', 'Opening a lane in a pool that is closed')
    const slot = this.#leastLoaded(this.#threadsFor(job))
    const { port1, port2 } = new MessageChannel()
    slot.lanes++
    const closed = new Promise<void>((resolve) => {
      const close = (message: Extract<FromLane, { type: 'closed' }>) => {
        if (!slot.lost.delete(lost)) return
        slot.lanes--
        port1.close()
        onReport(message)
        resolve()
      }
      const lost = (error: Error) =>
        close({
          type: 'closed',
          wireSentBytes: 0,
          wireReceivedBytes: 0,
          error: { code: 'LANE_FAILED', message: `The worker thread of the lane ended: ${error.message}` },
        })
      slot.lost.add(lost)
      port1.on('message', (message: FromLane) => {
        if (message.type === 'closed') close(message)
        else onReport(message)
      })
    })
    const open: OpenLane = { job, port: port2 }
    const transfer: Transferable[] = [port2]
    if (job.role !== 'scan' && job.lane.kind === 'port') transfer.push(job.lane.port)
    slot.worker.postMessage(open, transfer)
    const send = (message: ToLane) => port1.postMessage(message)
    return { send, abort: () => send({ type: 'abort' }), closed }
  }

  /**
   * Starts a first thread for lanes that are about to come: it takes longer than all else that opening one nearby does.
   * The others start with their lanes, since too many at once hold up the first.
   */
  warm(): void {
    if (!this.#disposed && this.#workers.length === 0) this.#start()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    await Promise.all(this.#workers.map((slot) => this.#end(slot)))
  }

  /**
   * How many threads a lane may be in one of. Where the other end is on this machine each has half of the cores: threads that
   * take turns at one push each other's data out of its caches. Receiving lanes leave a core alone: they have others write
   * into one file, whose lock lets only one thread in, and the kernel needs a core for the network; but not on few cores,
   * where they write themselves (write-turns.ts). Lanes that mostly read and digest what is there take all.
   */
  #threadsFor(job: LaneJob): number {
    const cores = this.#cores
    if (job.role === 'scan' || job.rereads) return cores
    if (job.lane.kind !== 'port' && job.lane.sameMachine) return Math.ceil(cores / 2)
    return job.role === 'receive' && cores > FEW_CORES ? cores - 1 : cores
  }

  /** The thread of the first `threads` that carries fewest lanes. */
  #leastLoaded(threads: number) {
    const slots = this.#workers.slice(0, threads)
    const idle = slots.find(({ lanes }) => lanes === 0)
    if (idle) return idle
    if (slots.length < threads) return this.#start()
    return slots.reduce((least, slot) => (slot.lanes < least.lanes ? slot : least))
  }

  /** A thread that ends while it loads a native module takes the whole process along (koffi aborts it). */
  async #end({ worker, loaded }: { worker: Worker; loaded: Promise<void> }): Promise<void> {
    worker.ref()
    await loaded
    await worker.terminate()
  }

  #start() {
    const worker = new Worker(new URL('lane-worker.ts', import.meta.url), {
      name: 'lanes',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    })
    const { promise: loaded, resolve } = Promise.withResolvers<void>()
    for (const event of ['message', 'error', 'exit'] as const) worker.once(event, () => resolve())
    const slot = { worker, loaded, lanes: 0, lost: new Set<(error: Error) => void>() }
    this.#workers.push(slot)
    const end = (error: Error) => {
      const at = this.#workers.indexOf(slot)
      if (at !== -1) this.#workers.splice(at, 1)
      for (const lost of Array.from(slot.lost)) lost(error)
    }
    worker.on('error', end)
    worker.on('exit', (code) => end(new Error(`exit code ${code}`)))
    worker.unref()
    return slot
  }
}
