/** Waiting for a change of what can be watched: jobs, relocations. */
import { PROGRESS_INTERVAL_MS } from '../protocol/limits.ts'

export interface Watchable {
  /** Calls `watcher` after every change, until disposed. */
  watch(watcher: () => void): Disposable
}

/** Resolves at the next change of one of them, after `ms`, or when the signal aborts. */
export function changed(
  watchables: readonly Watchable[],
  signal: AbortSignal,
  ms = PROGRESS_INTERVAL_MS,
): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      for (const watch of watches) watch[Symbol.dispose]()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const watches = watchables.map((each) => each.watch(done))
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
