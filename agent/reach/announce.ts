/** Announces this agent in the directory, as soon as somebody is there to be told; from then on the directory renews it. */
import { setTimeout as delay } from 'node:timers/promises'
import { BROKER_RETRY_CAP_MS, BROKER_RETRY_MS } from '../../protocol/limits.ts'
import type { Directory, DirectoryName } from '../mesh/directory.ts'

/** Begins at once; goes on until it is announced, or disposed. */
export function announceAs(name: DirectoryName, directory: Directory): AsyncDisposable {
  const closing = new AbortController()
  const { signal } = closing

  async function announce(): Promise<void> {
    for (let waitMs = BROKER_RETRY_MS; ; waitMs = Math.min(2 * waitMs, BROKER_RETRY_CAP_MS)) {
      try {
        return await directory.announce(name, { signal })
      } catch {
        await delay(waitMs, undefined, { signal, ref: false })
      }
    }
  }

  const announcing = announce().catch(() => {})
  return {
    async [Symbol.asyncDispose]() {
      closing.abort()
      await announcing
    },
  }
}
