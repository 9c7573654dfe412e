/**
 * A real guest that serves and writes all the time leaves one QEMU cloud for another, live. What an outside client was told
 * is kept is there afterwards. Times are printed, not asserted: they are this machine's.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import ava, { type ExecutionContext } from 'ava'
import { openQemuCloud } from '../../agent/clouds/qemu.ts'
import { startPair } from '../helpers/agent-process.ts'
import { untilState } from '../helpers/relocation-pair.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { buildGuest, guestMachine, guestMissing, type GuestImages } from '../lab/guest.ts'

const skip = guestMissing()
const test = skip === undefined ? ava.serial : ava.serial.skip
const why = skip === undefined ? '' : ` (${skip})`

test(`relocate --live moves a guest under load, and no acknowledged record is lost${why}`, async (t) => {
  t.timeout(600_000)
  const stage = await openStage(t)
  if (!stage) return
  const { alpine, here, there, ports, file } = stage
  const client = startClient(ports)
  await client.until(5)
  const job = (await alpine.tell('relocate', file, '--to', 'boreal', '--live', '--detach')).job as string
  const report = await untilState(alpine, job, 'live', 'rolled-back', 'failed')
  t.is(
    report.state,
    'live',
    `${JSON.stringify(report.error)}\n${await alpine.log()}\n${await stage.boreal.log()}`,
  )
  await client.until(client.acknowledged.length + 5)
  const { silentMs } = await client.stop()
  t.is(await here.state('shop'), 'paused')
  t.is(await there.state('shop'), 'running')
  const kept = (await get(ports[1], 'records')).split('\n').filter(Boolean).map(Number)
  const lost = client.acknowledged.filter((number) => !kept.includes(number))
  t.deepEqual(lost, [], 'Every acknowledged record is there')
  t.log(
    JSON.stringify({
      rounds: report.round,
      acknowledged: client.acknowledged.length,
      clientSilentSeconds: silentMs / 1000,
      downtimeSeconds: report.downtimeSeconds,
      pauseToDataSeconds: report.pauseToDataSeconds,
      startToHealthySeconds: report.startToHealthySeconds,
      timings: report.timings,
      wireBytes: report.wireBytes,
      seconds: report.seconds,
    }),
  )

  // And back, since it was never finalized: the guest here goes on where it stood.
  t.like(await alpine.tell('rollback', job), { state: 'rolled-back', sourceRuns: true })
  t.is(await here.state('shop'), 'running')
  t.deepEqual(await there.machines(), [])
  t.regex(await eventuallyGet(ports[0], 'records'), /1/)
})

async function openStage(t: ExecutionContext) {
  const folder = await tempDir(t)
  const images = await guestImages(t, folder)
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
[machine.target]
forwards = ["127.0.0.1:${ports[1]}:80"]
[[health]]
http = "http://127.0.0.1:${ports[1]}/cgi-bin/ready"
status = 200
`,
  )
  await eventuallyGet(ports[0], 'ready')
  // The guest's own load: it writes on by itself.
  await get(ports[0], 'load?kib=512')
  return { ...pair, here, there, ports, file }
}

/** Writes numbered records to whichever place answers, one after the other, until it is stopped. */
function startClient(ports: readonly number[]) {
  const acknowledged: number[] = []
  let silentMs = 0
  let stopped = false
  const running = (async () => {
    let lastAt = performance.now()
    for (let number = 1; !stopped; number++) {
      const said = await Promise.any(ports.map((port) => get(port, `record?n=${number}`, 2_000))).catch(
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

async function guestImages(t: ExecutionContext, folder: string): Promise<GuestImages | undefined> {
  try {
    await mkdir(join(folder, 'g'))
    return await buildGuest(join(folder, 'g'))
  } catch (error) {
    t.log(`skipped: no guest can be built here: ${String(error)}`)
    t.pass()
    return undefined
  }
}

async function get(port: number, path: string, timeoutMs = 20_000): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/cgi-bin/${path}`, {
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`)
  return await answer.text()
}

async function eventuallyGet(port: number, path: string): Promise<string> {
  for (;;) {
    const text = await get(port, path, 5_000).catch(() => undefined)
    if (text !== undefined) return text
    await delay(100)
  }
}

async function freePort(): Promise<number> {
  return await new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
