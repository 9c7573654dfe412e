/** iroh-blobs through its binding for Node, where someone has installed it: it is no dependency of ours. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Contender } from '../contender.ts'
import { measure } from '../meter.ts'
import { freePort } from '../../helpers/free-port.ts'
import { disposable, keepEnd, runToEnd, start } from '../processes.ts'
import { prepareTarget } from './ssh.ts'

const NODE = fileURLToPath(new URL('./iroh-node.ts', import.meta.url))
const MODULE = '@number0/iroh'
const DONE_TIMEOUT_MS = 600_000

export const iroh: Contender = {
  name: 'iroh',
  needs: [],
  missing: () => (found() === undefined ? `the package ${MODULE} 0.35` : undefined),
  traits: { verified: true, encrypted: true, resumable: true },
  slow: true,
  async move({ source, folder, line }) {
    const { sender, receiver } = line
    const target = await prepareTarget(folder)
    const port = await freePort()
    const args = (address: string, store: string, ...rest: string[]): string[] => [
      '--disable-warning=ExperimentalWarning',
      NODE,
      found()!,
      `${address}:${store === 'provider' ? port : 0}`,
      join(folder, store),
      ...rest,
    ]
    const child = start(sender, process.execPath, args(sender.address, 'provider', 'provide', source))
    await using _provider = disposable(child)
    const next = linesOf(child)
    await next()
    const { figures } = await measure(line, async () => {
      child.kill('SIGUSR2')
      const ticket = await next()
      await runToEnd(receiver, process.execPath, args(receiver.address, 'getter', 'get', target, ticket))
    })
    return { ...figures, target }
  },
}

/** Gives the next line the process prints; rejects when it ends before. */
function linesOf(child: ChildProcess): () => Promise<string> {
  const log = keepEnd(child)
  const lines = createInterface({ input: child.stdout! })
  return async () => {
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(DONE_TIMEOUT_MS)])
    const line = once(lines, 'line', { signal }).then(([text]) => String(text))
    const end = once(lines, 'close', { signal }).then(() => Promise.reject(new Error(`iroh ended: ${log()}`)))
    try {
      return await Promise.race([line, end])
    } finally {
      over.abort()
      await Promise.allSettled([line, end])
    }
  }
}

/** Its file, also in a folder of NODE_PATH. */
function found(): string | undefined {
  try {
    return createRequire(import.meta.url).resolve(MODULE)
  } catch {
    return undefined
  }
}
