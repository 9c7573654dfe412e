import { mkdir, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { openSource } from '../../transfer/open.ts'
import { prepareSource } from '../../transfer/prepared-source.ts'
import { hasProgram, loopDevice, nbdkit, noLoopDevices, run } from '../helpers/programs.ts'
import { sparseContent, writeSparse } from '../helpers/sparse-content.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const test = anyTest
const qemu = hasProgram('qemu-nbd') ? anyTest : anyTest.skip
const nbd = hasProgram('nbdkit') ? anyTest : anyTest.skip
const block = noLoopDevices() === undefined ? anyTest : anyTest.skip

test('prepareSource() opens a raw file of odd size, through a link too', async (t) => {
  const content = sparseContent(1_000_001, 31)
  const path = join(await tempDir(t), 'my disk#1?.img')
  await writeSparse(path, content)
  await symlink(path, `${path}.link`)
  await using prepared = await prepareSource(`${path}.link`, { lanes: 2 })
  t.is(prepared.format, 'raw')
  t.is(prepared.sizeBytes, content.length)
  await readsAs(t, prepared.url, content)
  const allocated = await prepared.allocatedBytes()
  t.true(allocated > 0 && allocated < content.length, String(allocated))
  const before = await prepared.fingerprint()
  t.is(await prepared.fingerprint(), before)
  await utimes(path, 1, 1)
  t.not(await prepared.fingerprint(), before)
})

test('prepareSource() moves an empty file', async (t) => {
  const path = join(await tempDir(t), 'empty')
  await writeFile(path, '')
  await using prepared = await prepareSource(path, { lanes: 1 })
  t.is(prepared.sizeBytes, 0)
  t.is(await prepared.allocatedBytes(), 0)
})

test('prepareSource() says what is wrong with a source', async (t) => {
  const folder = await tempDir(t)
  await mkdir(join(folder, 'sub'))
  await symlink('/nowhere', join(folder, 'broken'))
  const cases: [string, RegExp][] = [
    [join(folder, 'none'), /There is no source/],
    [join(folder, 'broken'), /There is no source/],
    [join(folder, 'sub'), /is a folder/],
    ['/dev/null', /neither a file nor a block device/],
    [join(folder, 'none', 'x'), /There is no source/],
    [`nbd+unix:///?socket=${folder}/none`, /Cannot open/],
  ]
  for (const [src, message] of cases) {
    await t.throwsAsync(prepareSource(src, { lanes: 1 }), { code: 'SOURCE_MISSING', message }, src)
  }
  await t.throwsAsync(prepareSource('nbd://', { lanes: 1 }), { code: 'USAGE' })
})

qemu('prepareSource() serves a qcow2 to many lanes (needs qemu-utils)', async (t) => {
  const content = sparseContent(1 << 20, 32)
  const folder = await tempDir(t)
  await writeSparse(join(folder, 'plain'), content)
  const image = join(folder, 'disk.img')
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-c', join(folder, 'plain'), image])
  await using prepared = await prepareSource(image, { lanes: 4 })
  t.is(prepared.format, 'qcow2')
  await Promise.all(Array.from({ length: 4 }, () => readsAs(t, prepared.url, content)))
  const before = await prepared.fingerprint()
  await utimes(image, 1, 1)
  t.not(await prepared.fingerprint(), before)
  await using asItIs = await prepareSource(image, { lanes: 1, format: 'raw' })
  t.is(asItIs.format, 'raw')
  t.not(asItIs.sizeBytes, content.length)
})

nbd('prepareSource() opens an NBD export (needs nbdkit)', async (t) => {
  const content = sparseContent(100_001, 33)
  const path = join(await tempDir(t), 'disk')
  await writeSparse(path, content)
  await using prepared = await prepareSource(await nbdkit(t, ['--readonly', 'file', path]), { lanes: 1 })
  t.is(prepared.format, 'nbd')
  t.is(prepared.sizeBytes, content.length)
  await readsAs(t, prepared.url, content)
})

block('prepareSource() opens a block device (needs root and loop devices)', async (t) => {
  const content = sparseContent(512 * 1001, 34)
  const path = join(await tempDir(t), 'disk')
  await writeSparse(path, content)
  await using prepared = await prepareSource(await loopDevice(t, path), { lanes: 1 })
  t.is(prepared.format, 'block')
  t.is(prepared.sizeBytes, content.length)
  t.is(await prepared.allocatedBytes(), content.length)
  await readsAs(t, prepared.url, content)
})

async function readsAs(t: ExecutionContext, url: string, content: Buffer): Promise<void> {
  await using source = await openSource(url)
  const back = Buffer.alloc(content.length)
  await source.read(back, 0)
  t.true(back.equals(content))
}
