/** A real guest in one QEMU cloud, an empty cloud beside it, an agent in each, and what outside clients ask of the guest. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { openQemuCloud } from '../../agent/clouds/qemu.ts'
import { buildGuest, guestMachine, type GuestImages, type GuestStore } from '../lab/guest.ts'
import { startPair } from './agent-process.ts'
import { tempDir } from './temp-dir.ts'
import { freePort } from './free-port.ts'

export interface GuestStageOptions {
  /** Where the guest fetches objects. */
  readonly store?: GuestStore
  /** More of service.toml, under its one machine. */
  readonly machine?: string
  /** Object stores of this host that the agents may ask, address:port. */
  readonly stores?: readonly string[]
}

/** Undefined when no guest can be built here, which the test's log says. The guest runs and answers. */
export async function openGuestStage(
  t: ExecutionContext,
  { store, machine = '', stores = [] }: GuestStageOptions = {},
) {
  const folder = await tempDir(t)
  const images = await guestImages(t, folder, store)
  if (!images) return undefined
  const ports = [await freePort(), await freePort()] as const
  const folders = [join(folder, 'here'), join(folder, 'there')]
  const clouds = await Promise.all(
    folders.map((machines) => openQemuCloud({ machines, accel: 'tcg', bridges: [] })),
  )
  for (const cloud of clouds)
    t.teardown(async () => {
      for (const name of await cloud.machines()) await cloud.stop(name, { graceMs: 0 })
    })
  const [here, there] = clouds
  await here.define(guestMachine('shop', images, { httpPort: ports[0] }))
  await here.start('shop')
  const pair = await startPair(t)
  for (const [i, agent] of [pair.alpine, pair.boreal].entries()) {
    await agent.stop()
    await agent.append(`[clouds.qemu]\nmachines = ${JSON.stringify(folders[i])}\naccel = "tcg"\n`)
    await agent.nameStores(stores)
    await agent.start()
  }
  await pair.boreal.tell('policy', 'set', 'alpine', '--relocate', 'qemu')
  const file = join(folder, 'service.toml')
  await writeFile(
    file,
    `name = "shop"
cutover = { max_downtime = "10s", gate = "5m" }
[[machine]]
name = "shop"
${machine}
[machine.target]
forwards = ["127.0.0.1:${ports[1]}:80"]
[[health]]
http = "http://127.0.0.1:${ports[1]}/cgi-bin/ready"
status = 200
`,
  )
  await eventuallyAsk(ports[0], 'ready')
  return { ...pair, here, there, ports, file, images, folder }
}

/** Writes numbered records to whichever place answers, one after the other, until it is stopped. */
export function startClient(ports: readonly number[]) {
  const acknowledged: number[] = []
  let silentMs = 0
  let stopped = false
  const running = (async () => {
    let lastAt = performance.now()
    for (let number = 1; !stopped; number++) {
      const said = await Promise.any(ports.map((port) => ask(port, `record?n=${number}`, 2_000))).catch(
        () => '',
      )
      if (said === `ok ${number}\n`) {
        acknowledged.push(number)
        silentMs = Math.max(silentMs, performance.now() - lastAt)
        lastAt = performance.now()
      } else number--
      await delay(50)
    }
  })()
  return {
    acknowledged,
    async until(count: number) {
      while (acknowledged.length < count) await delay(50)
    },
    async stop() {
      stopped = true
      await running
      return { silentMs: Math.round(silentMs) }
    },
  }
}

/** Undefined when none can be built here, which the test's log says. */
export async function guestImages(
  t: ExecutionContext,
  folder: string,
  store?: GuestStore,
): Promise<GuestImages | undefined> {
  try {
    await mkdir(join(folder, 'g'))
    return await buildGuest(join(folder, 'g'), { store })
  } catch (error) {
    t.log(`skipped: no guest can be built here: ${String(error)}`)
    t.pass()
    return undefined
  }
}

/** What the guest says under /cgi-bin/. Throws when it says no, or nothing. */
export async function ask(port: number, path: string, timeoutMs = 20_000): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/cgi-bin/${path}`, {
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`)
  return await answer.text()
}

/** The same, as soon as it answers. */
export async function eventuallyAsk(port: number, path: string): Promise<string> {
  for (;;) {
    const text = await ask(port, path, 5_000).catch(() => undefined)
    if (text !== undefined) return text
    await delay(100)
  }
}
