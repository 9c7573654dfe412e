import { open, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest from 'ava'
import { replayJournal } from '../../../transfer/guest/guest-tool.ts'
import { checkExt, debugfs, makeExt, noMke2fs } from '../../helpers/guest-image.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const MiB = 2 ** 20
const skip = noMke2fs()
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`

for (const offset of [0, MiB]) {
  test(`replayJournal() brings a journal to its places at offset ${offset}, once${why}`, async (t) => {
    const folder = await tempDir(t)
    const [image, content] = [join(folder, 'disk.raw'), join(folder, 'content')]
    await mkdir(content)
    await writeFile(join(content, 'hostname'), 'old\n'.repeat(250))
    await makeExt(image, { offset, folder: content, options: ['-t', 'ext4', '-b', '1024'] })
    const block = Number((await debugfs(image, ['bmap hostname 0'], offset)).split('\n').at(1))
    await writeFile(`${image}.new`, Buffer.alloc(1024, 'new\n'))
    await debugfs(image, ['jo -c -v 3', `jw -b ${block} ${image}.new`, 'jc'], offset)
    const before = await readFile(image)
    await using disk = await open(image, 'r+')
    await replayJournal({ fd: disk.fd, offset, name: 'vda1' })
    const at = offset + block * 1024
    t.is((await readFile(image)).toString('latin1', at, at + 8), 'new\nnew\n')
    t.is(before.toString('latin1', at, at + 8), 'old\nold\n')
    await checkExt(image, offset)
    // What was edited since stays.
    await debugfs(image, ['rm hostname'], offset)
    const edited = await readFile(image)
    await replayJournal({ fd: disk.fd, offset, name: 'vda1' })
    await checkExt(image, offset)
    t.false((await debugfs(image, ['ls -l /'], offset)).includes('hostname'))
    t.is((await readFile(image)).length, edited.length)
  })
}
