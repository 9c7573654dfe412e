/**
 * One process of this host at a time: an agent and the guard it left behind may both start and stop a machine. The lock is a
 * listening socket without a file (a name in Linux's abstract namespace): the kernel gives it back when its holder dies.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

const RETRY_MS = 10

/**
 * Runs `work` while holding the lock of `key`. Whoever cannot have it within `patienceMs` goes on without: its holder hangs,
 * and must not keep a machine from being stopped.
 */
export async function withHostLock<T>(
  key: string,
  { patienceMs, signal }: { readonly patienceMs: number; readonly signal?: AbortSignal },
  work: () => Promise<T>,
): Promise<T> {
  const name = `\0fluidcloud-${createHash('sha256').update(key).digest('hex').slice(0, 40)}`
  const end = performance.now() + patienceMs
  let lock = await listen(name)
  while (!lock && performance.now() < end) {
    await delay(RETRY_MS, undefined, { signal })
    lock = await listen(name)
  }
  try {
    return await work()
  } finally {
    lock?.close()
  }
}

/** Undefined when another process has it. */
async function listen(name: string): Promise<Server | undefined> {
  // Nobody is served: whoever connects is hung up on.
  const server = createServer((socket) => socket.destroy())
  try {
    server.listen(name)
    await once(server, 'listening')
    return server
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined
    throw error
  }
}
