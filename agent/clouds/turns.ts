/** One at a time for each key: calls about the same machine. */
import { withHostLock } from './host-lock.ts'

/** How long a process waits for another that starts or stops the same machine, before it takes that one for hung. */
const PATIENCE_MS = 5_000

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

/**
 * Turns for starting and stopping machines of the cloud at `place`, among all processes of this host. They wait for no other
 * turns: power is taken whatever else is under way.
 */
export function createPowerTurns(place: string): Turns {
  const inTurn = createTurns()
  return async (key, signal, work) =>
    inTurn(key, signal, async () =>
      withHostLock(`${place}\0${key}`, { patienceMs: PATIENCE_MS, signal }, work),
    )
}
