/**
 * Reads what is left of an extent step by step, some steps ahead of the one that is cut: of a source that has to be waited for, such
 * as an NBD server or a slow disk. One at a time it gives a step in each of its latencies, whatever else it could. What is at
 * hand is read when its turn comes, into a cache where it is cut and digested next.
 */
import type { Extent } from '../protocol/extent.ts'
import type { Source } from './source.ts'

/** Steps that are asked for ahead, at most. */
const STEPS_AHEAD = 7

export class ReadAhead {
  readonly #source: Source
  readonly #extent: Extent
  readonly #target: Uint8Array
  readonly #stepBytes: number
  /** Of steps that were begun and not taken, oldest first; undefined is there. */
  readonly #begun: (Promise<void> | undefined)[] = []
  #begunBytes = 0

  /** Begins to read all of `extent` into `target`, which is as long, in steps of `stepBytes`. */
  constructor(source: Source, extent: Extent, target: Uint8Array, stepBytes: number) {
    this.#source = source
    this.#extent = extent
    this.#target = target
    this.#stepBytes = stepBytes
    this.#goAhead()
  }

  /** The next step: in memory once the promise resolves, or now without one. Rejects as Source.read() does. */
  next(): Promise<void> | undefined {
    if (this.#begun.length === 0) this.#begin()
    const step = this.#begun.shift()
    if (step) this.#goAhead()
    return step
  }

  /** Resolves when nothing is read into the target any more; to be awaited whatever happened. */
  async settle(): Promise<void> {
    for (const step of this.#begun) await step?.catch(() => {})
  }

  /** Until a step is there at once: then there is nothing to wait for. */
  #goAhead(): void {
    let waits = true
    while (waits && this.#begun.length < STEPS_AHEAD && this.#begunBytes < this.#extent.length)
      waits = this.#begin()
  }

  /** True when the step has to be waited for. */
  #begin(): boolean {
    const from = this.#begunBytes
    this.#begunBytes = Math.min(from + this.#stepBytes, this.#extent.length)
    const target = this.#target.subarray(from, this.#begunBytes)
    const step = this.#read(target, this.#extent.offset + from)
    this.#begun.push(step)
    return step !== undefined
  }

  #read(target: Uint8Array, offset: number): Promise<void> | undefined {
    try {
      const reading = this.#source.read(target, offset)
      if (!reading) return undefined
      reading.catch(() => {}) // Heard of when its turn comes.
      return reading
    } catch (error) {
      const failed = Promise.reject(error)
      failed.catch(() => {})
      return failed
    }
  }
}
