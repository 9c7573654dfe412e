import { copyFile, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { createDiskReader } from '../../../transfer/guest/disk-reader.ts'
import { openExtVolume, type ExtVolume } from '../../../transfer/guest/ext-volume.ts'
import { openWritableGuest } from '../../../transfer/guest/open-writable-guest.ts'
import { fileUrl, openSource } from '../../../transfer/open.ts'
import { makeFolderTree } from '../../helpers/folder-tree.ts'
import { checkExt, debugfs, makeExt, noMke2fs } from '../../helpers/guest-image.ts'
import { noLoopDevices, run } from '../../helpers/programs.ts'
import { sameTree } from '../../helpers/same-tree.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = noMke2fs()
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`
const noMounts = skip ?? noLoopDevices()
const mounted = noMounts === undefined ? anyTest : anyTest.skip
const whyNoMounts = noMounts === undefined ? '' : ` (${noMounts})`

/** Kinds of journals: their tags, checksums and block numbers differ. */
const JOURNALS: Readonly<Record<string, { options: readonly string[]; open: string }>> = {
  'checksums of version 3': { options: ['-t', 'ext4'], open: 'jo -c -v 3' },
  'checksums of version 2': { options: ['-t', 'ext4', '-O', '^64bit'], open: 'jo -c -v 2' },
  'no checksums, 64 bit': { options: ['-t', 'ext4', '-O', '^metadata_csum'], open: 'jo' },
  'no checksums, 32 bit': { options: ['-t', 'ext3', '-b', '1024'], open: 'jo' },
}

for (const [name, { options, open: command }] of Object.entries(JOURNALS)) {
  test(`openExtVolume() sees what a journal holds, with ${name}${why}`, async (t) => {
    const image = await journaled(t, options)
    const block = await blockOf(image)
    const blockBytes = 1024
    const escaped = Buffer.alloc(blockBytes, 'later')
    // What begins like a block of the journal is kept there with zeros in the place of that.
    escaped.writeUInt32BE(0xc03b_3998)
    await writeFile(`${image}.1`, Buffer.alloc(blockBytes, 'first'))
    await writeFile(`${image}.2`, escaped)
    await debugfs(image, [command, `jw -b ${block} ${image}.1`, `jw -b ${block} ${image}.2`, 'jc'])
    await withVolume(image, async (volume) => {
      t.is(volume.journal, 'replayed')
      t.deepEqual((await fileIn(volume, 'hostname')).subarray(0, 1000), escaped.subarray(0, 1000))
    })
    // e2fsprogs sees the same.
    await run('e2fsck', ['-y', '-E', 'journal_only', image])
    await withVolume(image, async (volume) => {
      t.is(volume.journal, 'clean')
      t.deepEqual((await fileIn(volume, 'hostname')).subarray(0, 1000), escaped.subarray(0, 1000))
    })
  })

  test(`openExtVolume() leaves out what a journal revokes, with ${name}${why}`, async (t) => {
    const image = await journaled(t, options)
    const block = await blockOf(image)
    await writeFile(`${image}.1`, Buffer.alloc(1024, 'first'))
    await debugfs(image, [command, `jw -b ${block} ${image}.1`, `jw -r ${block}`, 'jc'])
    await withVolume(image, async (volume) => {
      t.is(volume.journal, 'replayed')
      t.is((await fileIn(volume, 'hostname'))[0], 'o'.charCodeAt(0))
    })
  })
}

test(`openExtVolume() stops before a transaction that was not committed${why}`, async (t) => {
  const image = await journaled(t, ['-t', 'ext4', '-b', '1024'])
  const block = await blockOf(image)
  await writeFile(`${image}.1`, Buffer.alloc(1024, 'first'))
  await writeFile(`${image}.2`, Buffer.alloc(1024, 'later'))
  await debugfs(image, ['jo -c -v 3', `jw -b ${block} ${image}.1`, `jw -b ${block} -c ${image}.2`, 'jc'])
  await withVolume(image, async (volume) => t.is((await fileIn(volume, 'hostname'))[0], 'f'.charCodeAt(0)))
})

test(`openExtVolume() says that the end of a damaged journal is lost${why}`, async (t) => {
  const image = await journaled(t, ['-t', 'ext4', '-b', '1024'])
  const block = await blockOf(image)
  const later = Buffer.alloc(1024, 'later')
  await writeFile(`${image}.1`, Buffer.alloc(1024, 'first'))
  await writeFile(`${image}.2`, later)
  await debugfs(image, ['jo -c -v 3', `jw -b ${block} ${image}.1`, `jw -b ${block} ${image}.2`, 'jc'])
  const bytes = await readFile(image)
  bytes[bytes.indexOf(later) + 100] ^= 1
  await writeFile(image, bytes)
  await withVolume(image, async (volume) => {
    t.is(volume.journal, 'stale')
    t.regex(volume.note ?? '', /checksum/)
    t.is((await fileIn(volume, 'hostname'))[0], 'f'.charCodeAt(0))
  })
  const disks = [{ id: 'vda', path: image, format: 'raw' }] as const
  await t.throwsAsync(openWritableGuest(disks), { message: /Cannot edit vda .* journal is lost/ })
})

mounted(
  `openExtVolume() reads a copy of a mounted file system as it would be after a power cut${whyNoMounts}`,
  async (t) => {
    const folder = await tempDir(t)
    const [image, copy, mount, content] = ['disk.raw', 'copy.raw', 'mount', 'content'].map((name) =>
      join(folder, name),
    )
    await mkdir(content)
    await mkdir(mount)
    await makeExt(image, { sizeMiB: 64 })
    await run('mount', ['-o', 'loop', image, mount])
    const unmount = async () => void (await run('umount', [mount]).catch(() => {}))
    t.teardown(unmount)
    // Files come, go, and change their names; then the system is told to keep them, and the disk is copied as it is.
    await makeFolderTree(mount)
    await run('sync', ['-f', mount])
    await rm(join(mount, 'size-70001'))
    await rename(join(mount, 'size-4096'), join(mount, 'size-renamed'))
    await writeFile(join(mount, 'late'), 'x'.repeat(10_000))
    await using late = await open(join(mount, 'late'), 'r+')
    await late.sync()
    await copyFile(image, copy)
    await run('cp', ['-a', `${mount}/.`, content])
    await rm(join(content, 'lost+found'), { recursive: true })
    await withVolume(copy, async (volume) => {
      t.is(volume.journal, 'replayed')
      t.false(volume.needsCheck, 'the journal is enough')
      await sameTree(t, volume, content)
    })
    {
      await using guest = await openWritableGuest([{ id: 'vda', path: copy, format: 'raw' }])
      await guest.write('/etc/hostname', Buffer.from('moved\n'))
      await guest.sync()
    }
    await checkExt(copy)
    await writeFile(join(content, 'etc', 'hostname'), 'moved\n')
    await withVolume(copy, async (volume) => {
      t.is(volume.journal, 'clean')
      await sameTree(t, volume, content)
    })
  },
)

/** A file system with /hostname of one block in it, and a root that can be opened. */
async function journaled(t: ExecutionContext, options: readonly string[]): Promise<string> {
  const folder = await tempDir(t)
  const content = join(folder, 'content')
  await mkdir(join(content, 'etc'), { recursive: true })
  await writeFile(join(content, 'hostname'), 'old\n'.repeat(250))
  await writeFile(join(content, 'etc', 'passwd'), 'root\n')
  const image = join(folder, 'disk.raw')
  const blocks = options.includes('-b') ? options : [...options, '-b', '1024']
  await makeExt(image, { folder: content, options: [...blocks, '-J', 'size=2'] })
  return image
}

async function blockOf(image: string): Promise<number> {
  return Number(
    /^(\d+)/m.exec((await debugfs(image, ['blocks /hostname'])).replaceAll(/^debugfs.*$/gm, ''))?.[1],
  )
}

async function withVolume(image: string, use: (volume: ExtVolume) => Promise<unknown>): Promise<void> {
  await using source = await openSource(fileUrl(image))
  await use(await openExtVolume(createDiskReader(source)))
}

async function fileIn(volume: ExtVolume, name: string): Promise<Buffer> {
  const entry = (await volume.entries(await volume.inode(2))).find((found) => found.name === name)
  return volume.content(await volume.inode(entry?.inode ?? 0), 1e6)
}
