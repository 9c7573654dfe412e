import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import type { Cloud } from '../../../agent/clouds/cloud.ts'
import type { Machine } from '../../../protocol/machine.ts'
import { openQemuCloud } from '../../../agent/clouds/qemu.ts'
import { openQmp, type Qmp } from '../../../agent/clouds/qmp.ts'
import { openQcow2 } from '../../../transfer/backends/qemu-image.ts'
import { type CloudStage, contentOf, DISK_BYTES, testCloud } from '../../conformance/cloud.ts'
import { eventually } from '../../helpers/eventually.ts'
import { hasProgram, run } from '../../helpers/programs.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const missing = ['qemu-system-x86_64', 'qemu-img', 'qemu-nbd'].find((program) => !hasProgram(program))
const skip = missing && `needs ${missing}`

testCloud('qemu', { open: openStage, live: true, skip })

const withQemu = skip === undefined ? test : test.skip

withQemu('qemu stop() needs no monitor', async (t) => {
  const { cloud, machine, folder } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  const held = await Promise.all([0, 1, 2].map((index) => openQmp([join(folder, `qmp${index}`)])))
  await cloud.stop('one', { graceMs: 0 })
  t.is(await cloud.state('one'), 'stopped')
  for (const qmp of held) await qmp[Symbol.asyncDispose]()
})

withQemu('qemu start() finds a QEMU whose agent died while it started it', async (t) => {
  const { cloud, machine, folder, reopen } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  const { mark } = JSON.parse(await readFile(join(folder, 'service.json'), 'utf8')) as { mark: string }
  // As it is until QEMU is in the background.
  await writeFile(join(folder, 'service.json'), JSON.stringify({ mark }))
  const next = await reopen()
  t.is(await next.state('one'), 'running')
  await next.start('one')
  await next.stop('one', { graceMs: 0 })
  t.is(await next.state('one'), 'stopped')
})

withQemu('qemu snapshot() loses no write when its agent is killed at any moment', async (t) => {
  const { cloud, machine, machines, write } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  const owner = 'd'.repeat(32)
  const copies = await (async () => {
    await using first = await cloud.snapshot('one', owner)
    return new Map(
      await Promise.all(first.disks.map(async (disk) => [disk.disk, await contentOf(disk)] as const)),
    )
  })()
  const module = new URL('../../../agent/clouds/qemu.ts', import.meta.url).href
  const config = JSON.stringify({ machines, accel: 'tcg', bridges: [] })
  // An agent that takes snapshots without an end, and reads none of them.
  const script = `const { openQemuCloud } = await import('${module}'); const cloud = await openQemuCloud(${config}); for (;;) { await cloud.snapshot('one', '${owner}'); console.log('.') }`
  for (let kill = 0; kill < 5; kill++) {
    const agent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(agent.stdout, 'data')
    await write!('one', 'vda', { start: kill << 19, end: (kill << 19) + 4096 }, 0x10 + kill)
    await write!('one', 'vdb', { start: kill << 18, end: (kill << 18) + 512 }, 0x20 + kill)
    const waitMs = Math.random() * 100
    t.log(`killed after ${waitMs} ms`)
    await delay(waitMs)
    agent.kill('SIGKILL')
    await once(agent, 'exit')
  }
  const next = await openQemuCloud({ machines, accel: 'tcg', bridges: [] })
  await next.pause('one')
  await using shown = await next.snapshot('one', owner)
  for (const disk of shown.disks) {
    const image = await contentOf(disk)
    const copy = copies.get(disk.disk)!
    // Of another epoch all of it would be read: equal at any rate.
    for (const { start, end } of disk.dirty ?? [{ start: 0, end: disk.sizeBytes }])
      image.copy(copy, start, start, end)
    t.true(copy.equals(image), `${disk.disk} in epoch ${disk.epoch}`)
    t.not(disk.dirty, undefined)
  }
})

withQemu('qemu start() says what QEMU said, and leaves nothing running', async (t) => {
  const { cloud, machine } = await openStage(t)
  const one = await machine('one')
  await cloud.define(one)
  await using other = await openQcow2(one.disks[1].path, { lanes: 1 })
  await t.throwsAsync(cloud.start('one'), { code: 'CLOUD_FAILED', message: /lock/ })
  t.is(await cloud.state('one'), 'stopped')
  t.truthy(other.url)
})

withQemu('qemu gives disks of every bus, both chipsets, and UEFI where it is installed', async (t) => {
  const { cloud, machine } = await openStage(t)
  for (const chipset of ['q35', 'pc'] as const) {
    const one = await machine(chipset)
    const spread = (['scsi', 'sata', 'ide'] as const).map((bus, index) => ({ ...one.disks[index], bus }))
    const nics = one.nics.map((nic) => ({ ...nic, model: 'e1000' as const }))
    const firmware = cloud.supports.firmware.at(-1)!
    // What another cloud had to say of it is kept for the way back, and is not for this one.
    const made = {
      ...one,
      chipset,
      disks: spread,
      nics,
      firmware,
      extra: { libvirt: { cpu: 'host', old: [1, 2] } },
    }
    await cloud.define({ ...made, memoryBytes: 128 << 20 })
    t.deepEqual((await cloud.machine(chipset)).extra, made.extra)
    await cloud.start(chipset)
    await using shown = await cloud.snapshot(chipset, 'a'.repeat(32))
    t.is(shown.disks.length, 2)
  }
})

withQemu('qemu refuses what it cannot give', async (t) => {
  const { cloud, machine } = await openStage(t)
  const one = await machine('one')
  const [nic] = one.nics
  const forward = { hostAddress: '127.0.0.1', hostPort: 1, guestPort: 1 }
  for (const wrong of [
    { ...one, nics: [{ ...nic, network: 'br0' }] },
    { ...one, nics: [{ ...nic, forwards: [{ ...forward, hostAddress: '::1' }] }] },
    { ...one, disks: one.disks.map((disk) => ({ ...disk, serial: 'x'.repeat(21) })) },
    { ...one, name: '../one' },
    { ...one, disks: [{ ...one.disks[0], sizeBytes: 2 * DISK_BYTES }] },
  ])
    await t.throwsAsync(cloud.define(wrong), { code: 'CLOUD_FAILED' })
  t.deepEqual(await cloud.machines(), [])
})

withQemu('qemu define() refuses an image that is made of other files', async (t) => {
  const { cloud, machine } = await openStage(t)
  const one = await machine('one')
  const { path } = one.disks[1]
  await run('qemu-img', [
    'create',
    '-q',
    '-u',
    '-f',
    'qcow2',
    '-b',
    '/etc/passwd',
    '-F',
    'raw',
    path,
    `${DISK_BYTES}`,
  ])
  await t.throwsAsync(cloud.define(one), { code: 'CLOUD_FAILED', message: /other files/ })
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${path}.x`, path, `${DISK_BYTES}`])
  await t.throwsAsync(cloud.define(one), { code: 'CLOUD_FAILED', message: /other files/ })
  t.deepEqual(await cloud.machines(), [])
})

withQemu('qemu start() refuses an image that names other files since it was defined', async (t) => {
  const { cloud, machine } = await openStage(t)
  const one = await machine('one')
  await cloud.define(one)
  const { path } = one.disks[1]
  await run('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-b', '/etc/passwd', '-F', 'raw', path, '1M'])
  await t.throwsAsync(cloud.start('one'), { code: 'CLOUD_FAILED', message: /other files/ })
  t.is(await cloud.state('one'), 'stopped')
})

withQemu('qemu release() of a machine that was stopped removes what is left on the disk', async (t) => {
  const { cloud, machine, leftovers } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  const owner = 'b'.repeat(32)
  await cloud.snapshot('one', owner)
  await cloud.stop('one', { graceMs: 0 })
  t.not((await leftovers('one')).length, 0)
  await cloud.release(owner)
  t.deepEqual(await leftovers('one'), [])
})

const withMounts = process.getuid?.() === 0 ? withQemu : test.skip

withMounts(
  'qemu snapshot() wants room for what the machine overwrites, and is ended without it (needs root)',
  async (t) => {
    const { cloud, machine, machines, folder, write, leftovers } = await openStage(t)
    const files = join(machines, '.run')
    await run('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', files])
    t.teardown(async () => {
      // What it knows of its processes lies in there.
      await cloud.stop('one', { graceMs: 0 }).catch(() => {})
      await run('umount', ['--lazy', files])
    })
    await cloud.define(await machine('one'))
    await cloud.start('one')
    const owner = 'e'.repeat(32)
    await (await cloud.snapshot('one', owner))[Symbol.asyncDispose]()
    await write!('one', 'vda', { start: 0, end: 4096 }, 1)
    const shown = await cloud.snapshot('one', owner)
    await writeFile(join(files, 'other'), Buffer.alloc(9 << 20))
    await eventually(async () => !(await readdir(folder)).some((name) => name.startsWith('fc')) || undefined)
    await shown[Symbol.asyncDispose]()
    const bitmaps = (left: readonly string[]) => left.filter((name) => !/-(active|frozen)-/.test(name))
    t.deepEqual(bitmaps(await leftovers('one')), [], 'nothing but what was written is kept')
    const error = await t.throwsAsync(cloud.snapshot('one', owner), { code: 'CLOUD_FAILED', message: /free/ })
    t.regex((error as unknown as { hint: string }).hint, /clouds\.qemu/)
    // Held it overwrites nothing, and what the one that was ended told is told again.
    await cloud.pause('one')
    await using last = await cloud.snapshot('one', owner)
    t.is(last.disks[0].dirty?.[0]?.start, 0)
    t.is((await contentOf(last.disks[0]))[0], 1)
    await cloud.resume('one')
  },
)

interface QemuStage extends CloudStage {
  /** The run folder of machine `one`. */
  readonly folder: string
  readonly machines: string
}

async function openStage(t: ExecutionContext): Promise<QemuStage> {
  const folder = await tempDir(t)
  const machines = join(folder, 'm')
  const open = async (): Promise<Cloud> => openQemuCloud({ machines, accel: 'tcg', bridges: [] })
  const cloud = await open()
  t.teardown(async () => {
    for (const name of await cloud.machines()) await cloud.stop(name, { graceMs: 0 })
  })
  const at = (name: string) => join(machines, '.run', name)
  const monitored = async <T>(name: string, work: (qmp: Qmp) => Promise<T>): Promise<T> => {
    await using qmp = await openQmp([join(at(name), 'qmp2')])
    return await work(qmp)
  }
  return {
    folder: at('one'),
    machines,
    cloud,
    reopen: open,
    machine: async (name) => makeMachine(folder, name),
    write: async (name, disk, { start, end }, value) =>
      monitored(name, async (qmp) => {
        const index = ['vda', 'vdb'].indexOf(disk)
        const command = `qemu-io -d disk-${index}/virtio-backend "write -P ${value} ${start} ${end - start}"`
        const said = await qmp.execute('human-monitor-command', { 'command-line': command })
        if (said !== '') throw new Error(String(said))
      }),
    leftovers: async (name) => {
      const files = (await readdir(at(name)).catch(() => [])).filter((file) => /^fc|^nbd$/.test(file))
      if ((await cloud.state(name)) === 'stopped') return files
      return monitored(name, async (qmp) => {
        const nodes = (await qmp.execute('query-named-block-nodes', { flat: true })) as {
          'node-name': string
          'dirty-bitmaps'?: { name: string }[]
        }[]
        const exported = (await qmp.execute('query-block-exports')) as { id: string }[]
        const jobs = (await qmp.execute('query-block-jobs')) as { device: string }[]
        return [
          ...files,
          ...nodes.map((node) => node['node-name']).filter((node) => !/^[df]\d$/.test(node)),
          ...nodes.flatMap((node) => (node['dirty-bitmaps'] ?? []).map((bitmap) => bitmap.name)),
          ...exported.map(({ id }) => id),
          ...jobs.map(({ device }) => device),
        ]
      })
    },
  }
}

/** A raw disk, a qcow2 one, and a read-only one. */
async function makeMachine(folder: string, name: string): Promise<Machine> {
  const disks = (['vda', 'vdb', 'seed'] as const).map((id) => ({
    id,
    path: join(folder, `${name}-${id}`),
    format: id === 'vdb' ? ('qcow2' as const) : ('raw' as const),
    sizeBytes: DISK_BYTES,
    boot: id === 'vda',
    bus: 'virtio' as const,
    readOnly: id === 'seed',
    ...(id === 'vda' ? { serial: 'system' } : {}),
  }))
  for (const { path, format } of disks) {
    await writeFile(format === 'raw' ? path : `${path}.raw`, randomBytes(DISK_BYTES))
    if (format === 'qcow2')
      await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', `${path}.raw`, path])
  }
  return {
    name,
    architecture: 'x86_64',
    vcpus: 1,
    memoryBytes: 32 << 20,
    firmware: 'bios',
    chipset: 'q35',
    disks,
    nics: [{ id: 'net0', mac: '52:54:00:00:00:01', model: 'virtio', network: 'user', forwards: [] }],
  }
}
