import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { openWritableGuest } from '../../../transfer/guest/open-writable-guest.ts'
import type { GuestContent } from '../../../transfer/migrators/memory-guest.ts'
import { testGuestFiles } from '../../conformance/guest-files.ts'
import { makeGuestDisk } from '../../helpers/guest-disk.ts'
import { checkExt, makeTable, noFuseImages, noMke2fs, noSfdisk } from '../../helpers/guest-image.ts'
import { run } from '../../helpers/programs.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const MiB = 1024 * 1024
// Before the first test is declared: ava takes none after a wait.
const noFuse = await noFuseImages()

for (const [name, options] of Object.entries({
  ext4: ['-t', 'ext4'],
  'ext4 with inline data': ['-t', 'ext4', '-O', 'inline_data', '-b', '1024'],
  ext3: ['-t', 'ext3', '-b', '1024'],
  ext2: ['-t', 'ext2'],
}))
  testGuestFiles(`openWritableGuest() on ${name}`, {
    skip: noMke2fs(),
    async create(t, contents) {
      const image = await wholeDisk(t, contents, options)
      t.teardown(() => checkExt(image))
      return { open: () => openWritableGuest([{ id: 'vda', path: image, format: 'raw' }]) }
    },
  })

testGuestFiles('openWritableGuest() on a partition', {
  skip: noMke2fs() ?? noSfdisk(),
  async create(t, contents) {
    const folder = await tempDir(t)
    const image = join(folder, 'a "strange" name?offset=0')
    const offset = 3 * MiB
    await writeFile(image, '')
    await truncate(image, 24 * MiB)
    await makeTable(image, 'label: gpt\nstart=2048, size=2048, type=uefi\nstart=6144\n')
    await makeGuestDisk(image, folder, contents, { offset })
    t.teardown(() => checkExt(image, offset))
    return { open: () => openWritableGuest([{ id: 'vda', path: image, format: 'raw' }]) }
  },
})

testGuestFiles('openWritableGuest() on qcow2', {
  skip: noMke2fs() ?? noFuse,
  async create(t, contents) {
    const image = await wholeDisk(t, contents, ['-t', 'ext4'])
    const qcow2 = `${image},x.qcow2`
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', image, qcow2])
    return { open: () => openWritableGuest([{ id: 'vda', path: qcow2, format: 'qcow2' }]) }
  },
})

async function wholeDisk(
  t: ExecutionContext,
  contents: Readonly<Record<string, GuestContent>>,
  options: readonly string[],
): Promise<string> {
  const folder = await tempDir(t)
  const image = join(folder, 'disk.raw')
  await makeGuestDisk(image, folder, contents, { options })
  return image
}
