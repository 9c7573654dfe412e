import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest from 'ava'
import { createDiskReader } from '../../../transfer/guest/disk-reader.ts'
import { detectFileSystem } from '../../../transfer/guest/file-system.ts'
import { fileUrl, openSource } from '../../../transfer/open.ts'
import { hasProgram, run } from '../../helpers/programs.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const MiB = 1024 * 1024
const SBIN = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }

/** What makes each, with the label `data`; blkid is asked what it sees. */
const MAKERS: readonly (readonly [kind: string, command: string, args: readonly string[]])[] = [
  ['ext2', 'mke2fs', ['-q', '-F', '-t', 'ext2', '-L', 'data']],
  ['ext3', 'mke2fs', ['-q', '-F', '-t', 'ext3', '-L', 'data']],
  ['ext4', 'mke2fs', ['-q', '-F', '-t', 'ext4', '-L', 'data']],
  ['xfs', 'mkfs.xfs', ['-q', '-L', 'data']],
  ['swap', 'mkswap', ['-q', '-L', 'data']],
  ['vfat', 'mkfs.vfat', ['-n', 'data']],
  ['btrfs', 'mkfs.btrfs', ['-q', '-L', 'data']],
  ['ntfs', 'mkfs.ntfs', ['-q', '-F', '-L', 'data']],
]

for (const [kind, command, args] of MAKERS) {
  const skip = [command, 'blkid'].find((program) => !hasProgram(program))
  const test = skip === undefined ? anyTest : anyTest.skip
  test(`detectFileSystem() sees of ${kind} what blkid sees${skip === undefined ? '' : ` (needs ${skip})`}`, async (t) => {
    const image = join(await tempDir(t), 'disk.raw')
    await writeFile(image, '')
    await truncate(image, 320 * MiB)
    await run(command, [...args, image], { env: SBIN })
    const { stdout } = await run('blkid', ['-p', '-o', 'export', image], { env: SBIN })
    const said = new Map(stdout.split('\n').map((line) => line.split('=') as [string, string]))
    await using source = await openSource(fileUrl(image))
    const found = await detectFileSystem(createDiskReader(source))
    t.deepEqual([found.kind, found.uuid], [said.get('TYPE'), said.get('UUID')?.toLowerCase()])
    if (kind !== 'ntfs') t.is(found.label, said.get('LABEL'))
  })
}
