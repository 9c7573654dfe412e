/** Waiting for work that nobody announces, without guessing how long it takes. */
import { setTimeout } from 'node:timers/promises'

/** What `read` gives once it gives anything; ava's own timeout ends a wait in vain. */
export async function eventually<T>(read: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (;;) {
    const found = await read()
    if (found !== undefined) return found
    await setTimeout(5)
  }
}
