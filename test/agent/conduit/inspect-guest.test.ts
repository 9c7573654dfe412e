import { mkdir, open, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import type { GuestReport } from '../../../agent/conduit/guest-report.ts'
import { inspectGuest } from '../../../agent/conduit/inspect-guest.ts'
import type { FileSystemKind } from '../../../transfer/guest/file-system.ts'
import { openGuest } from '../../../transfer/guest/open-guest.ts'
import { fileUrl, openSource } from '../../../transfer/open.ts'
import { makeGuestDisk } from '../../helpers/guest-disk.ts'
import { debugfs, makeExt, makeTable, noMke2fs, noSfdisk } from '../../helpers/guest-image.ts'
import { hasProgram, nbdkit, run } from '../../helpers/programs.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = noMke2fs() ?? noSfdisk()
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`
const without = (...programs: string[]) => {
  const missing = skip ?? (programs.every(hasProgram) ? undefined : `needs ${programs.join(', ')}`)
  return {
    test: missing === undefined ? anyTest : anyTest.skip,
    why: missing === undefined ? '' : ` (${missing})`,
  }
}

const MiB = 1024 * 1024
const ROOT_UUID = '11111111-2222-4333-8444-555555555555'
const DATA_UUID = '99999999-2222-4333-8444-555555555555'
const GUEST = {
  '/etc/os-release': 'ID=debian\nPRETTY_NAME="Debian"\nVERSION_ID="12"\n',
  '/etc/hostname': 'web-1\n',
  '/etc/passwd': 'root:x:0:0::/root:/bin/sh\n',
  '/etc/fstab': `UUID=${ROOT_UUID} / ext4 errors=remount-ro 0 1\nLABEL=data /srv/data ext4 nofail 0 2\n/dev/vdb2 none swap sw 0 0\nnas:/export /mnt nfs ro 0 0\n`,
  '/etc/app.env': 'DATABASE_URL=postgres://app:pw@db.lan/shop\n',
  '/srv/data/hidden': 'below the mount',
}
const BIOS = { firmware: 'bios', disks: [] } as const
const UEFI = { firmware: 'uefi', disks: [] } as const

test(`inspectGuest() finds a guest over two disks, by what its fstab says${why}`, async (t) => {
  const { disks } = await twoDisks(t)
  const report = await inspect(disks, UEFI)
  t.deepEqual(report.objections, [])
  t.is(report.root, 'vda2')
  t.is(report.os?.id, 'debian')
  t.is(report.hostname, 'web-1')
  t.deepEqual(
    report.fstab.map(({ path, volume }) => [path, volume]),
    [
      ['/', 'vda2'],
      ['/srv/data', 'vdb1'],
      ['none', 'vdb2'],
      ['/mnt', undefined],
    ],
  )
  t.deepEqual(
    report.disks.map(({ id, table, volumes }) => [
      id,
      table,
      volumes.map(({ name, fileSystem, mount }) => [name, fileSystem, mount]),
    ]),
    [
      [
        'vda',
        'gpt',
        [
          ['vda1', 'vfat', undefined],
          ['vda2', 'ext4', '/'],
        ],
      ],
      [
        'vdb',
        'mbr',
        [
          ['vdb1', 'ext4', '/srv/data'],
          ['vdb2', 'swap', undefined],
        ],
      ],
    ],
  )
  t.deepEqual(
    report.references.map(({ value }) => value),
    ['postgres://app:<hidden>@db.lan/shop'],
  )
  t.false(JSON.stringify(report).includes('pw@'))
})

test(`openGuest() reads what is mounted, not what lies below it${why}`, async (t) => {
  const { disks } = await twoDisks(t)
  await using stack = new AsyncDisposableStack()
  const sources = []
  for (const { id, url } of disks) sources.push({ id, source: stack.use(await openSource(url)) })
  await using guest = await openGuest(sources)
  t.deepEqual(await guest.list('/srv/data'), ['lost+found', 'orders'])
  t.is(Buffer.from((await guest.read('/srv/data/orders')) ?? []).toString(), '42')
  t.is(await guest.read('/srv/data/hidden'), undefined)
})

test(`inspectGuest() reads over NBD as it reads a file${why}`, async (t) => {
  if (!hasProgram('nbdkit')) return t.pass('needs nbdkit')
  const { disks, images } = await twoDisks(t)
  const urls = await Promise.all(images.map((image) => nbdkit(t, ['--readonly', 'file', image])))
  const overNbd = await inspect(
    urls.map((url, index) => ({ id: disks[index].id, url })),
    UEFI,
  )
  t.deepEqual(overNbd, await inspect(disks, UEFI))
})

test(`inspectGuest() objects to a disk that its firmware would find nothing on${why}`, async (t) => {
  const image = await wholeDisk(t)
  const disks = [{ id: 'vda', url: fileUrl(image) }]
  t.deepEqual(
    (await inspect(disks, BIOS)).objections.map(({ message }) => message.slice(0, 27)),
    ['Disk vda has no boot code ('],
  )
  t.regex((await inspect(disks, UEFI)).objections[0].message, /EFI system partition/)
  // A service that no firmware starts needs none.
  const local = { ...BIOS, extra: { start: ['/bin/true'] } }
  t.deepEqual((await inspect(disks, local)).objections, [])
  // Boot code is enough; a boot loader's files alone are not.
  await using file = await open(image, 'r+')
  await file.write(
    Buffer.concat([Buffer.from([0xeb]), Buffer.alloc(509), Buffer.from([0x55, 0xaa])]),
    0,
    512,
    0,
  )
  t.deepEqual((await inspect(disks, BIOS)).objections, [])
  const withGrub = await wholeDisk(t, { '/boot/grub/grub.cfg': 'menuentry' })
  const [lame] = (await inspect([{ id: 'vda', url: fileUrl(withGrub) }], BIOS)).objections
  t.regex(lame.message, /no boot code \(the guest has \/boot\/grub\/grub.cfg\)/)
})

const luks = without('cryptsetup')
luks.test(`inspectGuest() objects to a root in LUKS${luks.why}`, async (t) => {
  const image = await blank(t, 24)
  await run('sh', [
    '-c',
    'printf secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "$1" -',
    'sh',
    image,
  ])
  await objectsTo(t, image, 'luks', /vda.*encrypted \(LUKS\)/)
})

const xfs = without('mkfs.xfs')
xfs.test(`inspectGuest() objects to a root on xfs, and to what it does not know${xfs.why}`, async (t) => {
  const image = await blank(t, 320)
  await run('mkfs.xfs', ['-q', image], { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } })
  await objectsTo(t, image, 'xfs', /vda.*xfs/)
  const other = await blank(t, 2)
  await writeFile(other, Buffer.alloc(2 * MiB, 'what is this? '))
  await objectsTo(t, other, 'unknown', /vda.*nothing is known/)
})

test(`inspectGuest() objects to LVM, RAID and empty disks${why}`, async (t) => {
  const lvm = Buffer.alloc(2 * MiB)
  lvm.write('LABELONE', 512)
  lvm.writeUInt32LE(32, 512 + 20)
  lvm.write('LVM2 001', 512 + 24)
  lvm.write('abcdefABCDefghEFGHijklIJKLmnopMN', 512 + 32)
  const raid = Buffer.alloc(2 * MiB)
  raid.writeUInt32LE(0xa92b_4efc, 4096)
  raid.writeUInt32LE(1, 4100)
  for (const [bytes, kind, message] of [
    [lvm, 'lvm', /LVM/],
    [raid, 'raid', /RAID/],
    [Buffer.alloc(2 * MiB), 'empty', /No root file system.*empty/],
  ] as const) {
    const image = await blank(t, 2)
    await writeFile(image, bytes)
    await objectsTo(t, image, kind, message)
  }
})

test(`inspectGuest() says that files cannot be changed where the end of the journal is lost${why}`, async (t) => {
  const image = await wholeDisk(t, { '/boot/grub/grub.cfg': 'menuentry' })
  const disks = [{ id: 'vda', url: fileUrl(image) }]
  t.is((await inspect(disks, BIOS)).uneditable, undefined)
  const block = Buffer.alloc(1024, 'journal')
  await writeFile(`${image}.1`, block)
  await debugfs(image, ['jo -c', `jw -b 15000 ${image}.1`, 'jc'])
  const bytes = await readFile(image)
  bytes[bytes.indexOf(block) + 9] ^= 1
  await writeFile(image, bytes)
  // No firmware starts it, so that it needs no boot loader.
  const report = await inspect(disks, { ...BIOS, extra: { start: ['/bin/true'] } })
  t.regex(report.uneditable ?? '', /vda: the end of its journal is lost/)
  t.deepEqual(report.objections, [])
  t.true(report.notes.some((note) => note.includes('journal is lost')))
})

test(`inspectGuest() stops when aborted${why}`, async (t) => {
  const image = await wholeDisk(t)
  const reason = new Error('enough')
  const disks = [{ id: 'vda', url: fileUrl(image) }]
  await t.throwsAsync(inspectGuest(disks, BIOS, { signal: AbortSignal.abort(reason) }), { is: reason })
})

async function objectsTo(
  t: ExecutionContext,
  image: string,
  kind: FileSystemKind,
  message: RegExp,
): Promise<void> {
  const report = await inspect([{ id: 'vda', url: fileUrl(image) }], BIOS)
  t.is(report.disks[0].volumes[0].fileSystem, kind)
  t.is(report.objections.length, 1)
  t.is(report.objections[0].code, 'GUEST_UNSUPPORTED')
  t.regex(report.objections[0].message, message)
  t.is(report.root, undefined)
}

async function inspect(
  disks: readonly { id: string; url: string }[],
  machine: Parameters<typeof inspectGuest>[1],
): Promise<GuestReport> {
  return inspectGuest(disks, machine, { signal: AbortSignal.timeout(60_000) })
}

async function blank(t: ExecutionContext, sizeMiB: number): Promise<string> {
  const image = join(await tempDir(t), 'disk.raw')
  await writeFile(image, '')
  await truncate(image, sizeMiB * MiB)
  return image
}

async function wholeDisk(t: ExecutionContext, more: Record<string, string> = {}): Promise<string> {
  const folder = await tempDir(t)
  const image = join(folder, 'disk.raw')
  await makeGuestDisk(image, folder, { ...GUEST, ...more })
  return image
}

/** vda: GPT, an EFI system partition and the root; vdb: MBR, data and swap. */
async function twoDisks(
  t: ExecutionContext,
): Promise<{ disks: { id: string; url: string }[]; images: string[] }> {
  const folder = await tempDir(t)
  const [vda, vdb] = ['vda', 'vdb'].map((name) => join(folder, `${name}.raw`))
  await mkdir(join(folder, 'content'))
  await writeFile(join(folder, 'content', 'orders'), '42')
  for (const [image, script] of [
    [vda, 'label: gpt\nstart=2048, size=4096, type=uefi\nstart=8192, type=linux\n'],
    [vdb, 'label: dos\nstart=2048, size=16384, type=83\nstart=20480, size=4096, type=82\n'],
  ]) {
    await writeFile(image, '')
    await truncate(image, 24 * MiB)
    await makeTable(image, script)
  }
  await makeGuestDisk(vda, folder, GUEST, { offset: 4 * MiB, options: ['-t', 'ext4', '-U', ROOT_UUID] })
  await makeExt(vdb, {
    offset: MiB,
    sizeMiB: 8,
    folder: join(folder, 'content'),
    options: ['-t', 'ext4', '-L', 'data', '-U', DATA_UUID],
  })
  await using file = await open(vda, 'r+')
  // The first sector of a FAT32, as mkfs.vfat makes it.
  const fat = Buffer.alloc(512)
  fat.writeUInt8(0xeb, 0)
  fat.write('FAT32   ', 82)
  fat.writeUInt32LE(0x1234_abcd, 67)
  fat.writeUInt16LE(0xaa55, 510)
  await file.write(fat, 0, 512, MiB)
  await using second = await open(vdb, 'r+')
  await second.write('SWAPSPACE2', 10 * MiB + 4086)
  return {
    disks: [
      { id: 'vda', url: fileUrl(vda) },
      { id: 'vdb', url: fileUrl(vdb) },
    ],
    images: [vda, vdb],
  }
}
