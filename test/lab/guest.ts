/**
 * A real guest: Debian's kernel, GRUB on the disk, busybox and a shop in two tiers (a web front and redis) whose state is on
 * a second disk, and which reads objects from a store elsewhere. Laid out as a Debian, so that what reads and edits guests
 * has something to read and edit. Building it needs no root. What it answers under /cgi-bin/ is in guest/root/srv/www.
 *
 * By itself: `node test/lab/guest.ts FOLDER` leaves root.raw and data.raw there.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { access, mkdir, open, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Machine, MachineNic } from '../../protocol/machine.ts'
import { hasProgram, run } from '../helpers/programs.ts'
import { guestKernel } from './guest-kernel.ts'
import { fillGuestRoot, GUEST_PROGRAMS, makeGuestRoot } from './guest-root.ts'

const MiB = 2 ** 20
const SECTOR = 512
/** Where the one partition begins; GRUB lies before it. */
const PARTITION_OFFSET = MiB
const GRUB_FOLDER = '/usr/lib/grub/i386-pc'
const BOOT_CODE_BYTES = 440
const INIT = new URL('guest/initrd-init', import.meta.url).pathname

export interface GuestStore {
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
  readonly accessKey: string
  readonly secretKey: string
}

export interface GuestOptions {
  readonly hostname?: string
  /** Size of the machine's disk; 256 MiB. */
  readonly rootBytes?: number
  /** Data that is put on it besides the system's 60 MiB; 0. */
  readonly fillBytes?: number
  /** Size of the volume; 512 MiB. */
  readonly dataBytes?: number
  readonly store?: GuestStore
}

/** Two raw images. */
export interface GuestImages {
  readonly root: string
  readonly data: string
  readonly rootBytes: number
  readonly dataBytes: number
}

/** Why a guest cannot be built or run here, or undefined. */
export function guestMissing(): string | undefined {
  const programs = [
    ...'busybox mke2fs sfdisk grub-mkimage apt-get dpkg-deb ldd qemu-system-x86_64'.split(' '),
    ...GUEST_PROGRAMS,
  ]
  const missing = programs.find((program) => !hasProgram(program))
  if (missing) return `needs ${missing}`
  return existsSync(join(GRUB_FOLDER, 'boot.img')) ? undefined : 'needs grub-pc-bin'
}

/** Builds both disks in `folder`. Throws when the kernel cannot be had. */
export async function buildGuest(folder: string, options: GuestOptions = {}): Promise<GuestImages> {
  const { hostname = 'shop', rootBytes = 256 * MiB, fillBytes = 0, dataBytes = 512 * MiB, store } = options
  const [root, data, tree] = [join(folder, 'root.raw'), join(folder, 'data.raw'), join(folder, 'tree')]
  const [rootUuid, dataUuid] = [randomUUID(), randomUUID()]
  const busybox = (await run('sh', ['-c', 'command -v busybox'])).stdout.trim()
  const kernel = await guestKernel(busybox, INIT)
  try {
    await mkdir(join(tree, 'root'), { recursive: true })
    await makeGuestRoot(join(tree, 'root'), busybox, {
      ROOT_UUID: rootUuid,
      DATA_UUID: dataUuid,
      HOSTNAME: hostname,
      MACHINE_ID: randomBytes(16).toString('hex'),
      S3_ENDPOINT: store?.endpoint ?? 'http://10.0.2.2:9000',
      S3_BUCKET: store?.bucket ?? 'shop',
      S3_REGION: store?.region ?? 'us-east-1',
      S3_ACCESS_KEY: store?.accessKey ?? 'none',
      S3_SECRET_KEY: store?.secretKey ?? 'none',
    })
    await writeFile(join(tree, 'root/boot', `vmlinuz-${kernel.version}`), await readFile(kernel.vmlinuz))
    await writeFile(join(tree, 'root/boot', `initrd.img-${kernel.version}`), kernel.initrd)
    await writeFile(join(tree, 'root/boot/grub/grub.cfg'), grubMenu(kernel.version, rootUuid))
    await fillGuestRoot(join(tree, 'root'), fillBytes)
    await makeRootDisk(root, rootBytes, rootUuid, join(tree, 'root'))
    for (const name of ['redis', 'files', 'load']) await mkdir(join(tree, 'data', name), { recursive: true })
    await makeFileSystem(data, {
      sizeBytes: dataBytes,
      uuid: dataUuid,
      label: 'shopdata',
      tree: join(tree, 'data'),
    })
  } finally {
    await rm(tree, { recursive: true, force: true })
  }
  return { root, data, rootBytes, dataBytes }
}

/** The guest as a machine; its port 80 is at `httpPort` of 127.0.0.1. */
export function guestMachine(
  name: string,
  images: GuestImages,
  { httpPort, format = 'raw' }: { httpPort: number; format?: 'raw' | 'qcow2' },
): Machine {
  const disk = { format, bus: 'virtio', readOnly: false } as const
  const nic: MachineNic = {
    id: 'net0',
    mac: '52:54:00:5e:00:01',
    model: 'virtio',
    network: 'user',
    forwards: [{ hostAddress: '127.0.0.1', hostPort: httpPort, guestPort: 80 }],
  }
  return {
    name,
    architecture: 'x86_64',
    vcpus: 1,
    memoryBytes: 256 * MiB,
    firmware: 'bios',
    chipset: 'q35',
    disks: [
      { id: 'vda', path: images.root, sizeBytes: images.rootBytes, boot: true, ...disk },
      { id: 'vdb', path: images.data, sizeBytes: images.dataBytes, boot: false, ...disk },
    ],
    nics: [nic],
  }
}

async function makeRootDisk(path: string, sizeBytes: number, uuid: string, tree: string): Promise<void> {
  await writeFile(path, '')
  await truncate(path, sizeBytes)
  const table = join(tree, '..', 'partitions')
  await writeFile(table, `label: dos\nstart=${PARTITION_OFFSET / SECTOR}, type=83, bootable\n`)
  await run('sh', ['-c', 'exec sfdisk -q "$0" < "$1"', path, table], { env: withSbin() })
  await makeFileSystem(path, { sizeBytes, uuid, label: 'shoproot', tree, offset: PARTITION_OFFSET })
  await installGrub(path, uuid, join(tree, '..'))
}

async function makeFileSystem(
  path: string,
  options: { sizeBytes: number; uuid: string; label: string; tree: string; offset?: number },
): Promise<void> {
  const { sizeBytes, uuid, label, tree, offset = 0 } = options
  const exists = await access(path).then(
    () => true,
    () => false,
  )
  if (!exists) {
    await writeFile(path, '')
    await truncate(path, sizeBytes)
  }
  // Features that the GRUB of Debian 12 does not read are left out.
  const features = '^metadata_csum_seed,^orphan_file'
  await run(
    'mke2fs',
    [
      '-q',
      '-t',
      'ext4',
      '-b',
      '4096',
      '-O',
      features,
      '-U',
      uuid,
      '-L',
      label,
      '-d',
      tree,
      '-E',
      `root_owner=0:0,offset=${offset},lazy_itable_init=0,nodiscard`,
      path,
      `${Math.floor((sizeBytes - offset) / 1024)}k`,
    ],
    { env: withSbin() },
  )
}

/**
 * Puts GRUB before the first partition, as grub-install does, without needing the disk as a device: its first sector reads
 * on from sector 1, where the rest of it lies in one piece.
 */
async function installGrub(path: string, uuid: string, folder: string): Promise<void> {
  const [config, core] = [join(folder, 'early.cfg'), join(folder, 'core.img')]
  await writeFile(config, `search.fs_uuid ${uuid} root\nset prefix=($root)/boot/grub\n`)
  await run('grub-mkimage', [
    '-O',
    'i386-pc',
    '-d',
    GRUB_FOLDER,
    '-o',
    core,
    '-c',
    config,
    '-p',
    '/boot/grub',
    ...'biosdisk part_msdos ext2 normal linux search search_fs_uuid serial terminal'.split(' '),
    'configfile',
  ])
  const image = await readFile(core)
  if (SECTOR + image.length > PARTITION_OFFSET) throw new Error(`GRUB has ${image.length} bytes`)
  const disk = await open(path, 'r+')
  try {
    await disk.write(
      (await readFile(join(GRUB_FOLDER, 'boot.img'))).subarray(0, BOOT_CODE_BYTES),
      0,
      undefined,
      0,
    )
    await disk.write(image, 0, image.length, SECTOR)
  } finally {
    await disk.close()
  }
}

function grubMenu(version: string, uuid: string): string {
  return `serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
search --no-floppy --fs-uuid --set=root ${uuid}
menuentry 'Debian GNU/Linux' {
\tlinux /boot/vmlinuz-${version} root=UUID=${uuid} ro console=ttyS0 quiet tsc=reliable mitigations=off random.trust_cpu=on
\tinitrd /boot/initrd.img-${version}
}
`
}

function withSbin(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2)
  if (!folder) throw new Error('Give the folder that the disks are to be in')
  console.log(await buildGuest(folder))
}
