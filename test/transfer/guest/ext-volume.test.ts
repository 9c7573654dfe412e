import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest from 'ava'
import { fileUrl, openSource } from '../../../transfer/open.ts'
import { createDiskReader } from '../../../transfer/guest/disk-reader.ts'
import { openExtVolume } from '../../../transfer/guest/ext-volume.ts'
import { makeFolderTree } from '../../helpers/folder-tree.ts'
import { makeExt, noMke2fs } from '../../helpers/guest-image.ts'
import { sameTree } from '../../helpers/same-tree.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = noMke2fs()
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`

const LAYOUTS: Readonly<Record<string, readonly string[]>> = {
  ext2: ['-t', 'ext2'],
  'ext2 with blocks of 1 KiB': ['-t', 'ext2', '-b', '1024'],
  'ext2 without entry types': ['-t', 'ext2', '-O', '^filetype,^dir_index'],
  'ext2 of revision 0': ['-t', 'ext2', '-r', '0', '-O', 'none'],
  ext3: ['-t', 'ext3', '-b', '1024'],
  ext4: ['-t', 'ext4'],
  'ext4 with blocks of 1 KiB': ['-t', 'ext4', '-b', '1024'],
  'ext4 with blocks of 64 KiB': ['-t', 'ext4', '-b', '65536'],
  'ext4 with 32 bit and no checksums': ['-t', 'ext4', '-O', '^64bit,^metadata_csum'],
  'ext4 without extents': ['-t', 'ext4', '-b', '1024', '-O', '^extent,^64bit'],
  'ext4 with inline data': ['-t', 'ext4', '-O', 'inline_data', '-I', '512'],
  'ext4 with small groups and meta_bg': [
    '-t',
    'ext4',
    '-b',
    '1024',
    '-g',
    '1024',
    '-O',
    'meta_bg,^resize_inode',
  ],
  'ext4 with clusters': ['-t', 'ext4', '-O', 'bigalloc'],
  'ext4 without flex_bg': ['-t', 'ext4', '-O', '^flex_bg', '-b', '1024', '-g', '2048'],
}

for (const [name, options] of Object.entries(LAYOUTS)) {
  test(`openExtVolume() reads all of ${name} as it was put in${why}`, async (t) => {
    const folder = await tempDir(t)
    const content = join(folder, 'content')
    await mkdir(content)
    // mke2fs loses the hole at the end of a file when it may write inline data.
    await makeFolderTree(content, { trailingHole: !options.includes('inline_data') })
    const image = join(folder, 'disk.raw')
    await makeExt(image, { folder: content, sizeMiB: 24, options })
    await using source = await openSource(fileUrl(image))
    const volume = await openExtVolume(createDiskReader(source))
    t.is(volume.journal, 'clean')
    await sameTree(t, volume, content)
  })
}
