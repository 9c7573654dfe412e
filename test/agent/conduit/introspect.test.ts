import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest from 'ava'
import type { Cloud } from '../../../agent/clouds/cloud.ts'
import { introspect } from '../../../agent/conduit/introspect.ts'
import { parseServiceFile } from '../../../agent/conduit/service-file.ts'
import { fileUrl } from '../../../transfer/open.ts'
import { makeGuestDisk } from '../../helpers/guest-disk.ts'
import { debugfs, noMke2fs } from '../../helpers/guest-image.ts'
import { tempDir, type Owner } from '../../helpers/temp-dir.ts'

const skip = noMke2fs()
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`

const MIB = 1024 * 1024

/** A cloud with one stopped machine, whose file system has lost the end of its journal. */
async function cloudOfDamaged(t: Owner): Promise<Cloud> {
  const folder = await tempDir(t)
  const image = join(folder, 'web.raw')
  const files = {
    '/etc/os-release': 'ID=debian\n',
    '/etc/hostname': 'web\n',
    '/etc/passwd': 'root:x:0:0::/:\n',
  }
  await makeGuestDisk(image, folder, files)
  const block = Buffer.alloc(1024, 'journal')
  await writeFile(`${image}.1`, block)
  await debugfs(image, ['jo -c', `jw -b 15000 ${image}.1`, 'jc'])
  const bytes = await readFile(image)
  bytes[bytes.indexOf(block) + 9] ^= 1
  await writeFile(image, bytes)
  const sizeBytes = bytes.length
  const disk = {
    id: 'vda',
    path: image,
    format: 'raw',
    sizeBytes,
    boot: true,
    bus: 'virtio',
    readOnly: false,
  }
  return {
    kind: 'local',
    supports: { live: false, pause: true, formats: ['raw'], firmware: ['bios'] },
    machines: async () => ['web'],
    machine: async () => ({
      name: 'web',
      architecture: 'x86_64',
      vcpus: 1,
      memoryBytes: MIB,
      firmware: 'bios',
      chipset: 'q35',
      disks: [disk],
      nics: [],
      extra: { start: ['/bin/true'] },
    }),
    state: async () => 'stopped',
    snapshot: async () => ({
      disks: [{ disk: 'vda', sizeBytes, url: fileUrl(image), epoch: 'e' }],
      async [Symbol.asyncDispose]() {},
    }),
    release: async () => {},
    async [Symbol.asyncDispose]() {},
  } as unknown as Cloud
}

test(`introspect() refuses a guest that cannot be edited only when a step would edit it${why}`, async (t) => {
  const cloud = await cloudOfDamaged(t)
  const clouds = { kinds: ['local'] as const, cloud: async () => cloud, async [Symbol.asyncDispose]() {} }
  const look = async (more: string) => {
    const service = parseServiceFile(`[[machine]]\nname = "web"\n${more}`)
    return await introspect(clouds, service, { live: false, signal: AbortSignal.timeout(60_000) })
  }
  const asItIs = await look('')
  t.deepEqual(asItIs.reasons, [])
  t.regex(asItIs.machines[0].guest?.uneditable ?? '', /journal is lost/)
  const changed = await look('[machine.adapt]\nhostname = "web-2"\n')
  t.deepEqual(
    changed.reasons.map(({ code }) => code),
    ['GUEST_UNSUPPORTED'],
  )
  t.regex(changed.reasons[0].message, /^web: its files cannot be changed there: vda: .*journal is lost/)
})

anyTest('introspect() refuses a machine that its cloud would not start again', async (t) => {
  const path = join(await tempDir(t), 'web.qcow2')
  const head = Buffer.alloc(4096)
  head.write('QFI\xfb', 'latin1')
  head.writeUInt32BE(3, 4)
  head.writeBigUInt64BE(256n, 8) // where the name of its backing file would be
  await writeFile(path, head)
  const cloud = {
    kind: 'qemu',
    supports: { live: true, pause: true, formats: ['qcow2'], firmware: ['bios'] },
    machines: async () => ['web'],
    machine: async () => ({ name: 'web', disks: [{ id: 'vda', path, format: 'qcow2', readOnly: false }] }),
    state: async () => 'stopped',
    async [Symbol.asyncDispose]() {},
  } as unknown as Cloud
  const clouds = { kinds: ['qemu'] as const, cloud: async () => cloud, async [Symbol.asyncDispose]() {} }
  const service = parseServiceFile('[[machine]]\nname = "web"\n')
  const { reasons } = await introspect(clouds, service, { live: false, signal: AbortSignal.timeout(60_000) })
  t.deepEqual(
    reasons.map(({ code, hint }) => [code, hint]),
    [['CLOUD_FAILED', 'Flatten the image first: qemu-img convert']],
  )
})
