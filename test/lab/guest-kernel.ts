/** Debian's kernel for clouds and the first file system of the guest, fetched once and kept outside the repository. */
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import { run } from '../helpers/programs.ts'

const META_PACKAGE = 'linux-image-cloud-amd64'
/** Drivers of every bus and card the clouds give, and what a power button needs; those of them that the kernel has as modules. */
const MODULES = [
  ...'virtio_pci virtio_blk virtio_net virtio_scsi virtio-rng sd_mod ahci ata_piix'.split(' '),
  ...'e1000 crc32c_generic crc32c-intel ext4 evdev button'.split(' '),
]

export interface GuestKernel {
  /** As in 6.1.0-18-cloud-amd64. */
  readonly version: string
  readonly vmlinuz: string
  /** The cpio archive, not compressed: emulated processors are slow at it. */
  readonly initrd: Buffer
}

/** Where what was fetched is kept. */
export function labCache(): string {
  return process.env.FLUIDCLOUD_LAB_CACHE ?? join(homedir(), '.cache', 'fluidcloud-lab')
}

/** Fetches the package if it is not kept yet. Throws when it cannot be had. */
export async function guestKernel(busybox: string, init: string): Promise<GuestKernel> {
  const folder = await kernelFolder()
  const [version] = await readdir(join(folder, 'lib', 'modules'))
  const modules = await modulesIn(join(folder, 'lib', 'modules', version))
  const files: CpioEntry[] = [
    ...'bin dev proc sys newroot modules'.split(' ').map((name) => ({ name, mode: 0o040755 })),
    { name: 'dev/console', mode: 0o020600, device: [5, 1] },
    { name: 'bin/busybox', mode: 0o100755, content: await readFile(busybox) },
    { name: 'init', mode: 0o100755, content: await readFile(init) },
  ]
  // insmod goes by the order of names.
  for (const [index, path] of modules.entries())
    files.push({
      name: `modules/${String(index).padStart(2, '0')}-${basename(path)}`,
      mode: 0o100644,
      content: await readFile(path),
    })
  return { version, vmlinuz: join(folder, 'boot', `vmlinuz-${version}`), initrd: cpio(files) }
}

async function kernelFolder(): Promise<string> {
  const { stdout } = await run('apt-cache', ['depends', META_PACKAGE])
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1]
  const version = name && /Candidate: (\S+)/.exec((await run('apt-cache', ['policy', name])).stdout)?.[1]
  const kept = (await readdir(labCache()).catch(() => [])).filter((entry) => entry.startsWith('linux-image-'))
  // Without apt's lists, what was fetched before will do.
  if (!name || !version) {
    if (kept.length === 0) throw new Error(`apt knows no ${META_PACKAGE}`)
    return join(labCache(), kept.toSorted().at(-1)!)
  }
  const folder = join(labCache(), `${name}_${version.replaceAll(/[^A-Za-z0-9.+-]/g, '_')}`)
  if (await isThere(folder)) return folder
  await mkdir(labCache(), { recursive: true })
  const staged = await mkdtemp(join(labCache(), '.new-'))
  try {
    await run('apt-get', ['-qq', 'download', name], { cwd: staged })
    const [deb] = await readdir(staged)
    await run('dpkg-deb', ['-x', join(staged, deb), join(staged, 'root')])
    await rename(join(staged, 'root'), folder).catch(async (error: unknown) => {
      // Another test was faster.
      if (!(await isThere(folder))) throw error
    })
  } finally {
    await rm(staged, { recursive: true, force: true })
  }
  return folder
}

/** Paths of the wanted modules and all that they depend on, each after what it depends on. */
async function modulesIn(folder: string): Promise<string[]> {
  const all = await readdir(folder, { recursive: true })
  const paths = new Map(
    all
      .filter((path) => path.endsWith('.ko'))
      .map((path) => [nameOf(basename(path, '.ko')), join(folder, path)]),
  )
  const ordered = new Set<string>()
  const add = async (name: string): Promise<void> => {
    const path = paths.get(nameOf(name))
    if (!path || ordered.has(path)) return
    const info = (await readFile(path)).toString('latin1')
    const depends = /\0depends=([^\0]*)\0/.exec(info)?.[1] ?? ''
    for (const needed of depends.split(',')) await add(needed)
    ordered.add(path)
  }
  for (const name of MODULES) await add(name)
  return [...ordered]
}

/** The kernel takes both for the same. */
function nameOf(module: string): string {
  return module.replaceAll('-', '_')
}

interface CpioEntry {
  readonly name: string
  readonly mode: number
  readonly content?: Buffer
  readonly device?: readonly [number, number]
}

/** The "newc" format: https://docs.kernel.org/driver-api/early-userspace/buffer-format.html */
function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = []
  const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])
  for (const [index, entry] of [...entries, { name: 'TRAILER!!!', mode: 0 } as CpioEntry].entries()) {
    const { name, mode, content = Buffer.alloc(0), device = [0, 0] } = entry
    const fields = [index + 1, mode, 0, 0, 1, 0, content.length, 0, 0, ...device, name.length + 1, 0]
    const head = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`
    parts.push(padded(Buffer.from(head)), padded(content))
  }
  return Buffer.concat(parts)
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
