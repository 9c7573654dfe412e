import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { access, readdir, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import type { Cloud, DiskSnapshot } from '../../../agent/clouds/cloud.ts'
import type { Machine, MachineDisk } from '../../../protocol/machine.ts'
import { openLibvirtCloud } from '../../../agent/clouds/libvirt.ts'
import { watchRoom } from '../../../agent/clouds/scratch-room.ts'
import { openSource } from '../../../transfer/open.ts'
import { type CloudStage, DISK_BYTES, testCloud } from '../../conformance/cloud.ts'
import { eventually } from '../../helpers/eventually.ts'
import { hasProgram, run } from '../../helpers/programs.ts'
import { tempDir } from '../../helpers/temp-dir.ts'
import { type LibvirtLab, noLibvirtLab, openLibvirtLab } from '../../lab/libvirt.ts'
import { freePort } from '../../helpers/free-port.ts'

/** Machines that run at the same time. */
const MOST_STAGES = 3

const skip = noLibvirtLab()

testCloud('libvirt', { open: openStage, live: true, oneAtATime: true, skip })

const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`
const MiB = 1 << 20

test(`libvirt snapshot() loses no write in five rounds with a new driver each${why}`, async (t) => {
  const { cloud, machine, write, reopen } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  const copies = new Map<string, { epoch: string; image: Buffer }>()
  let named = 0
  for (let round = 0; round <= 5; round++) {
    const driver = await reopen()
    // What the machine writes while nobody looks, and, in every other round, while an agent that dies looks.
    await scribble(write)
    if (round % 2 === 1) {
      await (await reopen()).snapshot('one', OWNER)
      await scribble(write)
    }
    if (round === 5) await driver.pause('one')
    await using shown = await driver.snapshot('one', OWNER)
    if (round < 5) await scribble(write)
    for (const disk of shown.disks) {
      const image = await contentOf(disk)
      const copy = copies.get(disk.disk)
      if (!copy) copies.set(disk.disk, { epoch: disk.epoch, image })
      else {
        t.is(disk.epoch, copy.epoch)
        for (const { start, end } of disk.dirty!) image.copy(copy.image, start, start, end)
        named += disk.dirty!.reduce((sum, { start, end }) => sum + end - start, 0)
      }
    }
  }
  await using last = await cloud.snapshot('one', randomBytes(16).toString('hex'))
  for (const disk of last.disks)
    t.true((await contentOf(disk)).equals(copies.get(disk.disk)!.image), disk.disk)
  t.true(named < 5 * 2 * DISK_BYTES, `${named} bytes were named`)
})

test(`libvirt define() refuses an image that is made of other files${why}`, async (t) => {
  const { cloud, machine } = await openStage(t)
  const one = await machine('one')
  const { path } = one.disks.find(({ format }) => format === 'qcow2')!
  await run('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-b', '/etc/passwd', '-F', 'raw', path, '1M'])
  await t.throwsAsync(cloud.define(one), { code: 'CLOUD_FAILED', message: /other files/ })
  t.deepEqual(await cloud.machines(), [])
})

test(`libvirt snapshot() has another epoch after QEMU was killed${why}`, async (t) => {
  const { cloud, machine, write, lab, leftovers } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  const first = await epochsOf(cloud)
  // Once through a stop in order, after which the bitmaps lie in the images, and once without.
  await cloud.stop('one', { graceMs: 0 })
  await cloud.start('one')
  t.deepEqual(await epochsOf(cloud), first, 'bitmaps outlive a stop')
  for (let time = 0; time < 2; time++) {
    const before = await epochsOf(cloud)
    await write('one', 'vda', { start: 0, end: MiB }, 1)
    await lab.killMachines()
    await eventually(async () => (await cloud.state('one')) === 'stopped' || undefined)
    await cloud.start('one')
    await using shown = await cloud.snapshot('one', OWNER)
    t.true(shown.disks.every((disk, i) => disk.dirty === undefined && disk.epoch !== before[i]))
  }
  await cloud.release(OWNER)
  t.deepEqual(await leftovers('one'), [])
  await cloud.stop('one', { graceMs: 0 })
  t.deepEqual(await bitmapsIn(await cloud.machine('one')), [])
})

test(`libvirt release() removes bitmaps from the images of a stopped machine${why}`, async (t) => {
  const { cloud, machine, leftovers } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  await epochsOf(cloud)
  await cloud.stop('one', { graceMs: 0 })
  t.is((await bitmapsIn(await cloud.machine('one'))).length, 2)
  await cloud.release(OWNER)
  t.deepEqual(await bitmapsIn(await cloud.machine('one')), [])
  t.deepEqual(await leftovers('one'), [])
})

test(`libvirt snapshot() tracks qcow2 disks only, and shows raw ones whole each time${why}`, async (t) => {
  const { cloud, machine, write, lab } = await openStage(t)
  const one = await machine('one')
  const path = join(lab.images, 'plain.raw')
  await writeFile(path, randomBytes(MiB))
  const raw = { ...one.disks[1], path, format: 'raw' as const, sizeBytes: MiB }
  await cloud.define({ ...one, disks: [one.disks[0], raw] })
  await cloud.start('one')
  const [tracked, untracked] = await epochsOf(cloud)
  await write('one', 'vdb', { start: 0, end: 4096 }, 7)
  await using shown = await cloud.snapshot('one', OWNER)
  const [vda, vdb] = shown.disks
  t.deepEqual([vda.epoch, vda.dirty], [tracked, []])
  t.not(vdb.epoch, untracked)
  t.is(vdb.dirty, undefined)
  t.true((await contentOf(vdb)).subarray(0, 4096).every((byte) => byte === 7))
})

test(`libvirt snapshot() leaves the backup of another program alone${why}`, async (t) => {
  const { cloud, machine, lab } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  const job = join(lab.images, 'job.xml')
  await writeFile(
    job,
    `<domainbackup mode='pull'><server transport='unix' socket='${job}.s'/></domainbackup>`,
  )
  await lab.virsh('backup-begin', 'one', job)
  const error = await t.throwsAsync(cloud.snapshot('one', OWNER), {
    code: 'CLOUD_FAILED',
    message: /Another backup/,
  })
  t.regex((error as unknown as { hint: string }).hint, /domjobabort one/)
  await cloud.release(OWNER)
  t.regex(await lab.virsh('backup-dumpxml', 'one'), /job\.xml\.s/)
})

test(`libvirt snapshot() wants room for what the machine overwrites${why}`, async (t) => {
  const { cloud, machine, lab, leftovers } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  const small = await tempDir(t)
  await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small])
  t.teardown(() => run('umount', ['--lazy', small]))
  const cramped = await openLibvirtCloud({ uri: lab.uri, images: small, accel: 'tcg' })
  const error = await t.throwsAsync(cramped.snapshot('one', OWNER), { code: 'CLOUD_FAILED', message: /free/ })
  t.regex((error as unknown as { hint: string }).hint, /images/)
  await cramped.release(OWNER)
  t.deepEqual(await leftovers('one'), [])
})

anyTest('watchRoom() ends a snapshot once, when there is too little room', async (t) => {
  const ended = Promise.withResolvers<void>()
  let ends = 0
  const answers = [300 * MiB, 255 * MiB, 0, 0]
  const unwatch = watchRoom(
    async () => answers.shift()!,
    2 ** 40,
    async () => {
      ends++
      ended.resolve()
    },
  )
  await ended.promise
  unwatch()
  t.is(ends, 1)
  t.is(answers.length, 2)
})

test(`libvirt snapshot() can be disposed after its machine was stopped${why}`, async (t) => {
  const { cloud, machine, leftovers } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  const shown = await cloud.snapshot('one', OWNER)
  await cloud.stop('one', { graceMs: 0 })
  await shown[Symbol.asyncDispose]()
  await cloud.start('one')
  t.true((await epochsOf(cloud)).every((epoch) => epoch !== ''))
  await cloud.release(OWNER)
  t.deepEqual(await leftovers('one'), [])
})

test(`libvirt start() forwards ports of user networks${why}`, async (t) => {
  const { cloud, machine } = await openStage(t)
  const port = await freePort()
  const forwards = [{ hostAddress: '127.0.0.1', hostPort: port, guestPort: 80 }]
  const nic = { id: 'front', mac: '52:54:00:00:00:0a', model: 'virtio', network: 'user', forwards } as const
  const plain = { ...nic, id: 'back', mac: '52:54:00:00:00:0b', forwards: [] }
  const one = {
    ...(await machine('one')),
    nics: [nic, plain],
    extra: { libvirt: { rng: true, guestAgent: true } },
  }
  await cloud.define(one)
  t.deepEqual(await cloud.machine('one'), one)
  await cloud.start('one')
  t.deepEqual(await cloud.machine('one'), one, 'while it runs too')
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
})

test(`libvirt undefine() removes no disk that another machine has too${why}`, async (t) => {
  const { cloud, machine } = await openStage(t)
  const one = await machine('one')
  await cloud.define(one)
  await cloud.define({ ...one, name: 'two' })
  await t.throwsAsync(cloud.undefine('one', { disks: true }), { code: 'CLOUD_FAILED', message: /two too/ })
  for (const disk of one.disks) await t.notThrowsAsync(access(disk.path))
  await cloud.undefine('two', { disks: false })
  await cloud.undefine('one', { disks: true })
  t.deepEqual(await cloud.machines(), [])
})

test(`libvirt tells names from ids, and knows no machine that would be gone once stopped${why}`, async (t) => {
  const { cloud, machine, lab } = await openStage(t)
  const one = await machine('one')
  await cloud.define(one)
  await cloud.start('one')
  await cloud.define({ ...(await machine('2')), name: (await lab.virsh('domid', 'one')).trim() })
  t.is(await cloud.state('1'), 'stopped')
  t.is(await cloud.state('one'), 'running')
  await lab.virsh('undefine', 'one')
  await t.throwsAsync(cloud.state('one'), { code: 'MACHINE_UNKNOWN' })
  t.deepEqual(await cloud.machines(), ['1'])
})

test(`libvirt snapshot() refuses a machine that sleeps with its memory saved${why}`, async (t) => {
  const { cloud, machine, lab } = await openStage(t)
  await cloud.define(await machine('one'))
  await cloud.start('one')
  await lab.virsh('managedsave', 'one')
  t.is(await cloud.state('one'), 'stopped')
  await t.throwsAsync(cloud.snapshot('one', OWNER), { code: 'CLOUD_FAILED', message: /memory saved/ })
})

test(`libvirt pause() and stop() keep the host's next boot from starting a machine${why}`, async (t) => {
  const { cloud, machine, lab } = await openStage(t)
  const one = await machine('one')
  await cloud.define(one)
  const starts = async () => /^Autostart: +enable/m.test(await lab.virsh('dominfo', 'one'))
  await cloud.start('one')
  await cloud.pause('one')
  await cloud.resume('one')
  t.false(await starts())
  await lab.virsh('autostart', 'one')
  await cloud.pause('one')
  t.false(await starts())
  await cloud.resume('one')
  t.true(await starts())
  await cloud.stop('one', { graceMs: 0 })
  t.false(await starts())
  await cloud.stop('one', { graceMs: 0 })
  t.deepEqual(await cloud.machine('one'), one)
  await cloud.start('one')
  t.true(await starts())
})

anyTest('openLibvirtCloud() says what is missing', async (t) => {
  const config = { images: '/nowhere', accel: 'tcg' } as const
  if (hasProgram('virsh')) {
    const uri = 'qemu+unix:///system?socket=/nowhere/sock'
    const error = await t.throwsAsync(openLibvirtCloud({ ...config, uri }), { code: 'CLOUD_FAILED' })
    t.regex((error as unknown as { hint: string }).hint, /libvirtd/)
  }
  const path = process.env.PATH
  process.env.PATH = '/nowhere'
  // Before it waits for anything, the program is looked for.
  const opening = openLibvirtCloud({ ...config, uri: 'qemu:///system' })
  process.env.PATH = path
  const error = await t.throwsAsync(opening, { code: 'CLOUD_FAILED', message: /Cannot run virsh/ })
  t.regex((error as unknown as { hint: string }).hint, /libvirt-clients/)
})

const OWNER = 'c0ffee'.padEnd(32, '0')

async function scribble(write: NonNullable<CloudStage['write']>): Promise<void> {
  for (const disk of ['vda', 'vdb', 'vda']) {
    const [at, length, value] = randomBytes(3)
    const start = at * (DISK_BYTES / 256)
    await write('one', disk, { start, end: Math.min(DISK_BYTES, start + 512 * (1 + length)) }, value)
  }
}

async function contentOf({ url, sizeBytes }: DiskSnapshot): Promise<Buffer> {
  await using source = await openSource(url)
  const image = Buffer.alloc(sizeBytes)
  await source.read(image, 0)
  return image
}

/** Takes a snapshot and disposes it. */
async function epochsOf(cloud: Cloud): Promise<string[]> {
  await using shown = await cloud.snapshot('one', OWNER)
  return shown.disks.map(({ epoch }) => epoch)
}

async function bitmapsIn({ disks }: Machine): Promise<string[]> {
  const found: string[] = []
  for (const { path } of disks) {
    const info = JSON.parse((await run('qemu-img', ['info', '--output=json', path])).stdout)
    found.push(...(info['format-specific'].data.bitmaps ?? []).map(({ name }: { name: string }) => name))
  }
  return found
}

interface LibvirtStage extends CloudStage {
  write: NonNullable<CloudStage['write']>
  readonly lab: LibvirtLab
}

async function openStage(t: ExecutionContext): Promise<LibvirtStage> {
  await seat(t)
  const lab = await openLibvirtLab(t)
  const { images, virsh } = lab
  const open = async (): Promise<Cloud> => openLibvirtCloud({ uri: lab.uri, images, accel: 'tcg' })
  return {
    lab,
    cloud: await open(),
    reopen: open,
    async machine(name): Promise<Machine> {
      const disks: MachineDisk[] = []
      for (const id of ['vda', 'vdb', 'seed']) disks.push(await makeDisk(images, name, id))
      return {
        name,
        architecture: 'x86_64',
        vcpus: 1,
        memoryBytes: 64 << 20,
        firmware: 'bios',
        chipset: 'q35',
        disks,
        nics: [],
      }
    },
    async write(name, disk, { start, end }, value) {
      const aliases = /<alias name='(virtio-disk\d+)'\/>/g
      const nth = [...(await virsh('dumpxml', name)).matchAll(aliases)].map(([, alias]) => alias)
      const device = `/machine/peripheral/${nth[disk === 'vda' ? 0 : 1]}/virtio-backend`
      const command = `qemu-io -d ${device} "write -P ${value} ${start} ${end - start}"`
      const said = (await virsh('qemu-monitor-command', name, '--hmp', command)).trim()
      if (said !== '') throw new Error(said)
    },
    async leftovers(name) {
      const found = (await virsh('checkpoint-list', name, '--name')).split('\n').filter(Boolean)
      found.push(...(await readdir(images)).filter((file) => file.startsWith('.')))
      if ((await virsh('domstate', name)).trim() === 'shut off') return found
      await virsh('backup-dumpxml', name).then(
        (job) => found.push(job),
        () => {},
      )
      const nodes = JSON.parse(
        await virsh('qemu-monitor-command', name, '{"execute":"query-named-block-nodes"}'),
      ) as { return: { 'node-name': string; 'dirty-bitmaps'?: { name: string }[] }[] }
      for (const { 'node-name': node, 'dirty-bitmaps': bitmaps = [] } of nodes.return)
        for (const bitmap of bitmaps) found.push(`${node} ${bitmap.name}`)
      return found
    },
  }
}

async function makeDisk(images: string, name: string, id: string): Promise<MachineDisk> {
  const [raw, path] = [join(images, `${name}-${id}.raw`), join(images, `${name}-${id}.qcow2`)]
  await writeFile(raw, randomBytes(DISK_BYTES))
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path])
  await rm(raw)
  return {
    id,
    path,
    format: 'qcow2',
    sizeBytes: DISK_BYTES,
    boot: id === 'vda',
    bus: 'virtio',
    readOnly: id === 'seed',
    ...(id === 'vdb' ? { serial: 'data-1' } : {}),
  }
}

const waiting: (() => void)[] = []
let seated = 0

/** Waits for a seat, and gives it up when the test has ended. */
async function seat(t: ExecutionContext): Promise<void> {
  if (seated >= MOST_STAGES) await new Promise<void>((resolve) => waiting.push(resolve))
  else seated++
  t.teardown(() => {
    const next = waiting.shift()
    if (next) next()
    else seated--
  })
}
