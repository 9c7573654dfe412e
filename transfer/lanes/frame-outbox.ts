/**
 * The writing half of a lane over a socket: frames in order, one at a time in the kernel's hands, however many are queued.
 *
 * A payload goes to the socket from the caller's memory. One write at a time on purpose: Node gathers writes that
 * queue in the socket into one fresh buffer, which costs more than the encryption. The kernel's send buffer keeps
 * the line busy between two.
 */
import { LANE_END } from './frame-inbox.ts'

/** Payloads up to this many bytes are copied behind their header, so that both share one TLS record. */
const SMALL_PAYLOAD_BYTES = 15 * 1024

/**
 * Where the bytes go, in order; `done` is called when the kernel has them, or with an error. Without it more is written at once.
 */
export interface ByteWriter {
  write(bytes: Uint8Array, done?: (error?: Error | null) => void): unknown
  /** No more follow. */
  end(done?: () => void): unknown
}

interface Job {
  readonly head: Uint8Array
  readonly payload: Uint8Array | undefined
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Owned by the lane that owns the writer. */
export class FrameOutbox {
  readonly #writer: ByteWriter
  readonly #jobs: Job[] = []
  #failure: { readonly error: unknown } | undefined
  #ended: PromiseWithResolvers<void> | undefined
  #waitedMs = 0
  #blockedSince: number | undefined

  constructor(writer: ByteWriter) {
    this.#writer = writer
  }

  /** Milliseconds in which the kernel did not take what was ready, the present wait included. */
  get waitedMs(): number {
    return this.#blockedSince === undefined
      ? this.#waitedMs
      : this.#waitedMs + performance.now() - this.#blockedSince
  }

  /** True while frames wait for the kernel. */
  get owes(): boolean {
    return this.#jobs.length > 0
  }

  /** Resolves when the kernel has the whole frame: its memory is free again. */
  write(head: Uint8Array, payload: Uint8Array | undefined): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure.error)
    if (this.#ended) return Promise.reject(new TypeError('The lane was ended; nothing more can be written'))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#jobs.push({ head, payload, resolve, reject })
    if (this.#jobs.length === 1) this.#send()
    return promise
  }

  /** Half-closes behind the last frame; resolves when the kernel has everything. */
  end(): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure.error)
    if (this.#ended) return this.#ended.promise
    const ended = Promise.withResolvers<void>()
    this.write(LANE_END, undefined).catch(() => {}) // A failure reaches fail(), which rejects the end.
    this.#ended = ended
    return ended.promise
  }

  fail(error: unknown): void {
    if (this.#failure) return
    this.#failure = { error }
    this.#unblocked()
    for (const job of this.#jobs.splice(0)) job.reject(error)
    // Without a reader of its own, a failed end is told by the frames and writes that fail.
    this.#ended?.promise.catch(() => {})
    this.#ended?.reject(error)
  }

  #send(): void {
    const job = this.#jobs[0]
    const { head, payload } = job
    const done = (error?: Error | null) => {
      if (error || this.#failure) return // 'error' or 'close' on the socket reaches fail()
      this.#unblocked()
      this.#jobs.shift()
      if (this.#jobs.length > 0) this.#send()
      else if (this.#ended) this.#finish()
      job.resolve()
    }
    if (!payload || payload.length === 0) {
      this.#writer.write(head, done)
    } else if (payload.length <= SMALL_PAYLOAD_BYTES) {
      this.#writer.write(Buffer.concat([head, payload]), done)
    } else {
      this.#writer.write(head)
      this.#writer.write(payload, done)
    }
    // A write the kernel takes whole is done before this runs: its time was ours (encryption), not the line's.
    setImmediate(() => {
      if (this.#jobs[0] === job && !this.#failure) this.#blockedSince ??= performance.now()
    })
  }

  #unblocked(): void {
    if (this.#blockedSince === undefined) return
    this.#waitedMs += performance.now() - this.#blockedSince
    this.#blockedSince = undefined
  }

  #finish(): void {
    this.#writer.end(() => this.#ended?.resolve())
  }
}
