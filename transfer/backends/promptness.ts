/**
 * Tells whether a disk answers at once, by how long the calls of one descriptor take.
 *
 * Lanes of several jobs share a thread. What is in the page cache, or goes there, is cheapest to read and write in the
 * thread that needs it. But a call that waits for a disk holds up every lane of its thread, those of other jobs too: beside a
 * job whose disk took 0.1 s for each call, another took 212 s for a gigabyte instead of 5. So once a call was
 * slow, those that follow are made by Node's threads, until many in a row were quick.
 */

/** From here on, milliseconds, a call waited for its disk. Copies take less than one, and turns on busy cores some. */
export const SLOW_MS = 20
/** Quick calls in a row that make a disk prompt again: it costs others one slow call to find that it is not. */
export const QUICK_CALLS = 64

/** Of one descriptor, in one thread. */
export class Promptness {
  readonly #nowMs: () => number
  #quickCalls = QUICK_CALLS

  /** `nowMs` tells the time. */
  constructor(nowMs = () => performance.now()) {
    this.#nowMs = nowMs
  }

  /** Whether the next call may be made in the calling thread. A disk is prompt until it was not. */
  get prompt(): boolean {
    return this.#quickCalls >= QUICK_CALLS
  }

  /** Makes `call` in this thread, and notes how long it takes. */
  run(call: () => void): void {
    const from = this.#nowMs()
    call()
    this.#note(this.#nowMs() - from)
  }

  /** The same of a call that is made elsewhere. */
  async watch(call: () => Promise<void>): Promise<void> {
    const from = this.#nowMs()
    await call()
    this.#note(this.#nowMs() - from)
  }

  #note(tookMs: number): void {
    this.#quickCalls = tookMs < SLOW_MS ? this.#quickCalls + 1 : 0
  }
}
