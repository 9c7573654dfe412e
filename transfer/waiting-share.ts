/** Says for what share of its time a receiving lane waited for bytes, lately; each WANT tells it the sender. */
import type { Lane } from './lane.ts'

/**
 * Windows are often announced in pairs: between the two nothing is waited for, and the second answer would say until the next
 * one that the receiver is short of time. On a line of 200 Mb/s senders then sent nearly twice the bytes.
 */
const EVENED_MS = 50

export class WaitingShare {
  readonly #lane: Pick<Lane, 'waited'>
  readonly #nowMs: () => number
  #since: { readonly atMs: number; readonly waitedMs: number }
  #share = 1

  /** `nowMs` tells the time. */
  constructor(lane: Pick<Lane, 'waited'>, nowMs = () => performance.now()) {
    this.#lane = lane
    this.#nowMs = nowMs
    this.#since = this.#look()
  }

  /** From 0 to 1, of the last EVENED_MS at least; 1 before there were as many. */
  now(): number {
    const now = this.#look()
    const elapsedMs = now.atMs - this.#since.atMs
    if (elapsedMs >= EVENED_MS) {
      this.#share = Math.min(1, (now.waitedMs - this.#since.waitedMs) / elapsedMs)
      this.#since = now
    }
    return this.#share
  }

  #look() {
    return { atMs: this.#nowMs(), waitedMs: this.#lane.waited.readMs }
  }
}
