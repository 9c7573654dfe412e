/** One at a time for each key: calls about the same machine. */

export type Turns = <T>(key: string, signal: AbortSignal | undefined, work: () => Promise<T>) => Promise<T>

/** Runs `work` after all that was given before it for the same key has settled, unless `signal` is aborted by then. */
export function createTurns(): Turns {
  const last = new Map<string, Promise<unknown>>()
  return async (key, signal, work) => {
    const before = last.get(key) ?? Promise.resolve()
    const turn = before.then(async () => {
      signal?.throwIfAborted()
      return work()
    })
    const settled = turn.catch(() => {})
    last.set(key, settled)
    try {
      return await turn
    } finally {
      if (last.get(key) === settled) last.delete(key)
    }
  }
}
