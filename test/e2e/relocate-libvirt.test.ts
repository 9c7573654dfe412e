/**
 * A real guest leaves one libvirt for another, live and back, then for plain QEMU, cold and for good. As on a host of Debian
 * the QEMUs of both run as a user of their own. Each step is a command of one of the two owners.
 */
import { chmod, chown, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava, { type ExecutionContext } from 'ava'
import { openLibvirtCloud } from '../../agent/clouds/libvirt.ts'
import { openQemuCloud } from '../../agent/clouds/qemu.ts'
import { ask, eventuallyAsk, guestImages, startClient } from '../helpers/guest-stage.ts'
import { startPair } from '../helpers/agent-process.ts'
import { freePort } from '../helpers/free-port.ts'
import { run } from '../helpers/programs.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { guestMachine, guestMissing } from '../lab/guest.ts'
import { LIBVIRT_QEMU_ID, noLibvirtLab, openLibvirtLab } from '../lab/libvirt.ts'

const skip = guestMissing() ?? noLibvirtLab()
const test = skip === undefined ? ava.serial : ava.serial.skip
const why = skip === undefined ? '' : ` (${skip})`

test(`relocate moves a machine of libvirt to another live and back, and to plain QEMU for good${why}`, async (t) => {
  t.timeout(600_000)
  const stage = await openStage(t)
  if (!stage) return
  const { alpine, boreal, here, there, thereToo, ports, file, arrived } = stage
  const plan = await alpine.tell('relocate', file, '--to', 'boreal', '--live', '--dry-run')
  t.like(plan, { type: 'plan', feasible: true, live: true }, JSON.stringify(plan))
  await ask(ports[0], 'load?kib=256')
  const client = startClient(ports)
  await client.until(3)
  const live = await alpine.tell('relocate', file, '--to', 'boreal', '--live')
  t.like(live, { state: 'live', sourceRuns: false }, JSON.stringify(live))
  await client.until(client.acknowledged.length + 2)
  await client.stop()
  t.is(await here.state('shop'), 'paused')
  t.is(await there.state('shop'), 'running')
  t.deepEqual(await missing(client.acknowledged, ports[1]), [])

  t.like(await alpine.tell('rollback', live.job as string), { state: 'rolled-back', sourceRuns: true })
  t.is(await here.state('shop'), 'running')
  t.deepEqual(await there.machines(), [])
  t.deepEqual(await filesIn(arrived), [])
  await ask(ports[0], 'load?kib=0')
  t.is(await ask(ports[0], 'record?n=7777'), 'ok 7777\n')

  await boreal.tell('policy', 'set', 'alpine', '--relocate', 'qemu')
  const cold = await alpine.tell('relocate', file, '--to', 'boreal')
  t.like(cold, { state: 'live', rounds: 1, sourceRuns: false }, JSON.stringify(cold))
  t.is(await here.state('shop'), 'stopped')
  t.is(await thereToo.state('shop'), 'running')
  t.regex(await ask(ports[1], 'hit'), /^host=shop-boreal /)
  t.deepEqual(await missing([7777], ports[1]), [])
  t.like(await alpine.tell('finalize', cold.job as string), { state: 'finalized' })
  t.deepEqual(await here.machines(), [])
  t.deepEqual(await filesIn(stage.images), [])
  for (const [kind, { seconds, downtimeSeconds, startToHealthySeconds, timings }] of Object.entries({
    live,
    cold,
  }))
    t.log(JSON.stringify({ kind, seconds, downtimeSeconds, startToHealthySeconds, timings }))
})

async function openStage(t: ExecutionContext) {
  const folder = await tempDir(t)
  const built = await guestImages(t, folder)
  if (!built) return undefined
  const labs = await Promise.all([
    openLibvirtLab(t, { user: 'libvirt-qemu' }),
    openLibvirtLab(t, { user: 'libvirt-qemu' }),
  ])
  const ports = [await freePort(), await freePort()] as const
  const clouds = await Promise.all(
    labs.map(({ uri, images }) => openLibvirtCloud({ uri, images, accel: 'tcg' })),
  )
  const [here, there] = clouds
  const qcow2 = async (name: 'root' | 'data') => {
    const image = join(labs[0].images, `${name}.qcow2`)
    await run('qemu-img', ['convert', '-O', 'qcow2', built[name], image])
    return image
  }
  const images = { ...built, root: await qcow2('root'), data: await qcow2('data') }
  await here.define(guestMachine('shop', images, { httpPort: ports[0], format: 'qcow2' }))
  await here.start('shop')
  const arrived = join(labs[1].images, 'arrived')
  await mkdir(arrived)
  await chown(arrived, 0, LIBVIRT_QEMU_ID)
  await chmod(arrived, 0o2770)
  const machines = join(folder, 'machines')
  const thereToo = await openQemuCloud({ machines, accel: 'tcg', bridges: [] })
  t.teardown(async () => {
    for (const name of await thereToo.machines()) await thereToo.stop(name, { graceMs: 0 })
  })
  const pair = await startPair(t, { ticket: ['--into', arrived], boreal: { config: 'file_mode = "0660"' } })
  for (const [i, agent] of [pair.alpine, pair.boreal].entries()) {
    await agent.stop()
    const { uri, images: at } = labs[i]
    await agent.append(`[clouds.libvirt]\nuri = ${JSON.stringify(uri)}\nimages = ${JSON.stringify(at)}\n`)
    if (agent === pair.boreal) await agent.append(`[clouds.qemu]\nmachines = ${JSON.stringify(machines)}\n`)
    await agent.start()
  }
  await pair.boreal.tell('policy', 'set', 'alpine', '--relocate', 'libvirt')
  const file = join(folder, 'service.toml')
  await writeFile(
    file,
    `cutover = { gate = "5m" }
[[machine]]
name = "shop"
adapt = { hostname = "shop-boreal" }
[machine.target]
forwards = ["127.0.0.1:${ports[1]}:80"]
[[health]]
http = "http://127.0.0.1:${ports[1]}/cgi-bin/ready"
`,
  )
  await eventuallyAsk(ports[0], 'ready')
  return { ...pair, here, there, thereToo, ports, file, arrived, images: labs[0].images }
}

/** Those of `numbers` that the guest does not have. */
async function missing(numbers: readonly number[], port: number): Promise<number[]> {
  const kept = new Set((await ask(port, 'records')).split('\n').filter(Boolean).map(Number))
  return numbers.filter((number) => !kept.has(number))
}

async function filesIn(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => name)
}
