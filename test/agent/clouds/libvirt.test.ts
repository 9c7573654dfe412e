import { randomBytes } from 'node:crypto'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { Cloud, Machine, MachineDisk } from '../../../agent/clouds/cloud.ts'
import { openLibvirtCloud } from '../../../agent/clouds/libvirt.ts'
import { type CloudStage, DISK_BYTES, testCloud } from '../../conformance/cloud.ts'
import { run } from '../../helpers/programs.ts'
import { type LibvirtLab, noLibvirtLab, openLibvirtLab } from '../../lab/libvirt.ts'

/** Machines that run at the same time. */
const MOST_STAGES = 3

const skip = noLibvirtLab()

testCloud('libvirt', { open: openStage, live: true, oneAtATime: true, skip })

interface LibvirtStage extends CloudStage {
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
