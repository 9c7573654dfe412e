/**
 * The guard of one relocation at its target: a process of its own that lives on when the agent dies, and lets no machine
 * run without a lease. `node guard.ts FOLDER`; what it reads and writes there is in guard-files.ts. It ends when the agent
 * lifts it; asked to end otherwise, it holds the machines first.
 */
import { existsSync } from 'node:fs'
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openCloud } from '../clouds/open-cloud.ts'
import { isAlive, processFacts } from '../clouds/processes.ts'
import { readOrder, readWatching, readWord, writeWatching, type GuardWord } from './guard-files.ts'
import { killWriters } from './guard-kill.ts'
import { guardMachine } from './guard-machine.ts'
import { bootNow } from './lease-clock.ts'

const folder = process.argv[2] ?? ''
const stopping = new AbortController()

async function watch(): Promise<void> {
  const order = await readOrder(folder)
  const facts = await processFacts(process.pid)
  if (!order || !facts) throw new TypeError(`'${folder}' holds no order for a guard`)
  await using cloud = await openCloud(order.cloud, order.clouds)
  const { pid, started, boot } = facts
  await writeWatching(folder, { pid, started, boot })
  await Promise.all(
    order.machines.map(({ name, disks }) =>
      guardMachine({
        cloud,
        name,
        word,
        now: bootNow,
        abandoned: async () => !existsSync(folder),
        kill: async () => log(`Killed ${(await killWriters(disks)).join(', ') || 'nothing'}`),
        log,
        signal: stopping.signal,
      }),
    ),
  )
}

/**
 * What holds now. Where another guard watches this one is lifted: an agent that was killed as it started one has, when it is
 * back, started another, and whoever lifts a guard knows of the last alone.
 */
async function word(): Promise<GuardWord> {
  const last = await readWatching(folder)
  if (last && last.pid !== process.pid && (await isAlive(last))) return { lifted: true }
  return await readWord(folder)
}

function log(what: string): void {
  appendFile(join(folder, 'guard.log'), `${new Date().toISOString()} ${what}\n`, { mode: 0o600 }).catch(
    () => {},
  )
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stopping.abort())
process.on('uncaughtException', (error) => log(`Unexpected: ${error.stack ?? error.message}`))

if (import.meta.main) {
  await watch()
  process.exit(0)
}
