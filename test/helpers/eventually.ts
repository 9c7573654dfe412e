/** Waiting for work that nobody announces, without guessing how long it takes. */
import { setTimeout } from 'node:timers/promises'

/** Far more than anything here takes, so that a wait in vain is a failed test with a name, not a run that stands still. */
const WAIT_TIMEOUT_MS = 180_000

export interface EventuallyOptions {
  /** Between two looks. */
  readonly pollMs?: number
  /** More to say of a wait in vain. */
  readonly explain?: () => Promise<string>
}

/** What `read` gives once it gives anything; throws after WAIT_TIMEOUT_MS. */
export async function eventually<T>(
  read: () => Promise<T | undefined> | T | undefined,
  { pollMs = 5, explain }: EventuallyOptions = {},
): Promise<T> {
  const until = performance.now() + WAIT_TIMEOUT_MS
  const waiting = new Error(`Nothing came within ${WAIT_TIMEOUT_MS / 1000} s of: ${read.toString()}`)
  for (;;) {
    const found = await read()
    if (found !== undefined) return found
    if (performance.now() > until) {
      if (explain) waiting.message += `\n${await explain()}`
      throw waiting
    }
    await setTimeout(pollMs)
  }
}
