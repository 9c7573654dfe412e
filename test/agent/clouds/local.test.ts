import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Cloud } from '../../../agent/clouds/cloud.ts'
import type { Machine } from '../../../protocol/machine.ts'
import { openLocalCloud } from '../../../agent/clouds/local.ts'
import { processFacts } from '../../../agent/clouds/processes.ts'
import { type CloudStage, DISK_BYTES, testCloud } from '../../conformance/cloud.ts'
import { eventually } from '../../helpers/eventually.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = process.platform === 'linux' ? undefined : 'needs /proc'

testCloud('local', { open: async (t) => openStage(t), live: false, skip })

const onLinux = skip === undefined ? test : test.skip

onLinux(
  'local start() gives the service its name and disks, and stop() asks it with its own command',
  async (t) => {
    const { cloud, machine, folder } = await openStage(t, {
      service: 'echo "$FLUIDCLOUD_MACHINE $FLUIDCLOUD_DISK_VDA $*" > "$0.said"; exec sleep 1000',
      ask: `kill $(cat "$1")`,
    })
    const said = join(folder, 'service.said')
    const one = await machine('one')
    await cloud.define({ ...one, extra: { start: [join(folder, 'service'), 'a', 'b c'] } })
    await cloud.start('one')
    const text = await eventually(async () => (await readFile(said, 'utf8').catch(() => '')) || undefined)
    t.is(text, `one ${one.disks[0].path} a b c\n`)
  },
)

onLinux('local stop() waits for a service that ends when asked', async (t) => {
  const { cloud, machine, folder } = await openStage(t, {
    service: `trap 'echo bye > "$0.bye"; exit' TERM; echo > "$0.ready"; while :; do sleep 0.01; done`,
  })
  await cloud.define(await machine('one'))
  await cloud.start('one')
  await eventually(async () => readFile(join(folder, 'service.ready')).catch(() => undefined))
  await cloud.stop('one', { graceMs: 60_000 })
  t.is(await readFile(join(folder, 'service.bye'), 'utf8'), 'bye\n')
  t.is(await cloud.state('one'), 'stopped')
})

onLinux('local stop() asks with extra.stop, and ends what does not listen', async (t) => {
  const { cloud, machine, folder } = await openStage(t, {
    service: `trap '' TERM; while :; do sleep 0.01; done`,
    ask: 'echo "$FLUIDCLOUD_MACHINE $1" > "$0.asked"',
  })
  const asked = { start: [join(folder, 'service')], stop: [join(folder, 'ask'), 'x'] }
  await cloud.define({ ...(await machine('one')), extra: asked })
  await cloud.start('one')
  await cloud.stop('one', { graceMs: 100 })
  t.is(await readFile(join(folder, 'ask.asked'), 'utf8'), 'one x\n')
  t.is(await cloud.state('one'), 'stopped')
})

onLinux('local pause() and stop() reach what left its session, and nothing of others', async (t) => {
  const { cloud, machine, folder } = await openStage(t, {
    service: `setsid sh -c 'echo $$ > "$1.pid"; while :; do sleep 0.01; done' x "$0" & exit 0`,
  })
  const other = spawn('sleep', ['1000'], { detached: true })
  t.teardown(() => other.kill('SIGKILL'))
  await once(other, 'spawn')
  await cloud.define(await machine('one'))
  await cloud.start('one')
  const pid = Number(
    await eventually(
      async () => (await readFile(join(folder, 'service.pid'), 'utf8').catch(() => '')) || undefined,
    ),
  )
  await cloud.pause('one')
  t.is((await processFacts(pid))?.state, 'T')
  t.is(await cloud.state('one'), 'paused')
  await cloud.stop('one', { graceMs: 0 })
  t.is(await processFacts(pid), undefined)
  t.not(await processFacts(other.pid!), undefined)
})

onLinux('local takes a process that only has the id of an old service for none of it', async (t) => {
  const { cloud, machine, machines } = await openStage(t, {})
  const other = spawn('sleep', ['1000'], { detached: true })
  t.teardown(() => other.kill('SIGKILL'))
  await once(other, 'spawn')
  await cloud.define(await machine('one'))
  const facts = (await processFacts(other.pid!))!
  await mkdir(join(machines, '.run', 'one'), { recursive: true })
  const record = {
    mark: 'x'.repeat(36),
    leader: { pid: facts.pid, started: facts.started - 1, boot: facts.boot },
  }
  await writeFile(join(machines, '.run', 'one', 'service.json'), JSON.stringify(record))
  t.is(await cloud.state('one'), 'stopped')
  await cloud.stop('one', { graceMs: 0 })
  t.not(await processFacts(facts.pid), undefined)
})

onLinux('local runs only programs that the owner of the host has listed', async (t) => {
  const { cloud, machine } = await openStage(t, {})
  const one = await machine('one')
  for (const extra of [
    { start: ['/bin/sh', '-c', 'true'] },
    { start: one.extra!.start, stop: ['/bin/sh'] },
    { start: 'sleep' },
    { start: [] },
  ])
    await t.throwsAsync(cloud.define({ ...one, extra }), { code: 'CLOUD_FAILED' })
  t.deepEqual(await cloud.machines(), [])
})

onLinux('local refuses a description with a key that it does not know', async (t) => {
  const { cloud, machines } = await openStage(t, {})
  await writeFile(join(machines, 'one.toml'), 'vcpu = 1\n')
  const error = await t.throwsAsync(cloud.machine('one'), {
    code: 'CONFIG_INVALID',
    message: /one: Unknown key vcpu/,
  })
  t.regex((error as unknown as { hint: string }).hint, /vcpus/)
})

interface LocalStage extends CloudStage {
  readonly folder: string
  readonly machines: string
}

async function openStage(
  t: ExecutionContext,
  scripts: { service?: string; ask?: string } = {},
): Promise<LocalStage> {
  const folder = await tempDir(t)
  const machines = join(folder, 'machines')
  const programs = [join(folder, 'service'), join(folder, 'ask')]
  const open = async (): Promise<Cloud> => openLocalCloud({ machines, programs })
  await writeScript(programs[0], scripts.service ?? 'sleep 1000 & wait')
  await writeScript(programs[1], scripts.ask ?? 'true')
  const cloud = await open()
  t.teardown(async () => {
    for (const name of await cloud.machines()) await cloud.stop(name, { graceMs: 0 }).catch(() => {})
  })
  return {
    folder,
    machines,
    cloud,
    reopen: open,
    async machine(name): Promise<Machine> {
      const disks = ['vda', 'vdb', 'seed'].map((id) => ({
        id,
        path: join(folder, `${name}-${id}.raw`),
        format: 'raw' as const,
        sizeBytes: DISK_BYTES,
        boot: false,
        bus: 'virtio' as const,
        readOnly: id === 'seed',
      }))
      for (const { path } of disks) await writeFile(path, randomBytes(DISK_BYTES))
      return {
        name,
        architecture: 'x86_64',
        vcpus: 1,
        memoryBytes: 64 << 20,
        firmware: 'bios',
        chipset: 'q35',
        disks,
        nics: [],
        extra: { start: [programs[0]] },
      }
    },
    leftovers: async () => [],
  }
}

async function writeScript(path: string, body: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\n${body}\n`)
  await chmod(path, 0o755)
}
