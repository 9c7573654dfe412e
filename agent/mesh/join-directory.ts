/** Keeps an agent in the directory: it dials its first contacts when it starts, and again whenever it knows nobody. */
import { setTimeout as delay } from 'node:timers/promises'
import { multiaddr } from '@multiformats/multiaddr'
import { BOOTSTRAP_RETRY_CAP_MS, BOOTSTRAP_RETRY_MS } from '../../protocol/limits.ts'
import type { MeshNode } from './node.ts'

/** Begins at once and goes on until disposed. `contacts` are multiaddrs that end in /p2p/<peer ID>. */
export function joinDirectory(node: MeshNode, contacts: readonly string[]): AsyncDisposable {
  const closing = new AbortController()
  const { signal } = closing
  const own = node.peerId.toString()
  const addrs = contacts.filter((addr) => !addr.endsWith(`/p2p/${own}`)).map((addr) => multiaddr(addr))

  async function join(): Promise<void> {
    let wait = BOOTSTRAP_RETRY_MS
    for (let first = true; !signal.aborted; first = false) {
      const alone = node.services.directory?.size === 0
      if (first || alone) await Promise.allSettled(addrs.map((addr) => node.dial(addr, { signal })))
      await delay(wait, undefined, { signal, ref: false })
      wait = alone ? Math.min(2 * wait, BOOTSTRAP_RETRY_CAP_MS) : BOOTSTRAP_RETRY_CAP_MS
    }
  }

  const joined = addrs.length > 0 ? join().catch(() => {}) : Promise.resolve()
  return {
    async [Symbol.asyncDispose]() {
      closing.abort()
      await joined
    },
  }
}
