/** Events on their way to one reader, in order; what bounds them is the stream that they come from. */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_RELOCATION_UNREAD_BYTES } from '../../protocol/limits.ts'

export interface EventQueue<T> {
  /** Throws LIMIT_EXCEEDED when the reader is too far behind. */
  put(event: T): void
  /** No more events: the reader gets those before, then `error`. */
  fail(error: unknown): void
  /** The next event. Throws TIMEOUT, what fail() was given, and the signal's reason. */
  next(timeoutMs: number): Promise<T>
}

/** Most of what one event counts for beside its text. */
const EVENT_BYTES = 256

/** A queue that ends with `signal`. */
export function createEventQueue<T>(signal: AbortSignal): EventQueue<T> {
  const events: { readonly event: T; readonly bytes: number }[] = []
  let waitingBytes = 0
  let failure: { readonly error: unknown } | undefined
  let wake = Promise.withResolvers<void>()
  const stir = () => {
    wake.resolve()
    wake = Promise.withResolvers()
  }
  signal.addEventListener('abort', stir, { once: true })

  return {
    put(event) {
      const bytes = EVENT_BYTES + JSON.stringify(event).length
      waitingBytes += bytes
      if (waitingBytes > MAX_RELOCATION_UNREAD_BYTES)
        throw new FluidError('LIMIT_EXCEEDED', 'The target tells more than is read')
      events.push({ event, bytes })
      stir()
    },
    fail(error) {
      failure ??= { error }
      stir()
    },
    async next(timeoutMs) {
      const late = Promise.withResolvers<void>()
      let isLate = false
      const timer = setTimeout(() => {
        isLate = true
        late.resolve()
      }, timeoutMs)
      try {
        for (;;) {
          const first = events.shift()
          if (first) {
            waitingBytes -= first.bytes
            return first.event
          }
          if (failure) throw failure.error
          signal.throwIfAborted()
          if (isLate) throw new FluidError('TIMEOUT', `Nothing new came within ${timeoutMs} ms`)
          await Promise.race([wake.promise, late.promise])
        }
      } finally {
        clearTimeout(timer)
      }
    },
  }
}
