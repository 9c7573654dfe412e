import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { readDirtyBitmap } from '../../../transfer/backends/nbd-dirty.ts'
import { hasProgram, qemuNbd, run } from '../../helpers/programs.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = ['qemu-nbd', 'qemu-img', 'qemu-io'].every(hasProgram) ? undefined : 'needs qemu-utils'
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`
const MiB = 1 << 20

test(`readDirtyBitmap() names what was written since the bitmap was made${why}`, async (t) => {
  const url = await imageWithBitmap(t, ['write 0 1M', 'write 1M 64k', 'write 9M 1', 'write 3071M 1M'])
  t.deepEqual(await readDirtyBitmap(url, 'since'), [
    { start: 0, end: MiB + 65_536 },
    { start: 9 * MiB, end: 9 * MiB + 65_536 },
    { start: 3071 * MiB, end: 3072 * MiB },
  ])
})

test(`readDirtyBitmap() names nothing when nothing was written${why}`, async (t) => {
  t.deepEqual(await readDirtyBitmap(await imageWithBitmap(t, []), 'since'), [])
})

test(`readDirtyBitmap() throws SOURCE_READ for a bitmap that is not shown${why}`, async (t) => {
  const url = await imageWithBitmap(t, [])
  await t.throwsAsync(readDirtyBitmap(url, 'other'), { code: 'SOURCE_READ', message: /bitmap other/ })
  await t.throwsAsync(readDirtyBitmap('nbd+unix:///?socket=/nowhere', 'since'), { code: 'SOURCE_READ' })
})

/** An image of 3 GiB with bitmap `since`, served after these commands of qemu-io. */
async function imageWithBitmap(t: ExecutionContext, commands: string[]): Promise<string> {
  const folder = await tempDir(t)
  const image = join(folder, 'disk.qcow2')
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', image, '3G'])
  await run('qemu-io', ['-f', 'qcow2', image, '-c', 'write 5M 1M'])
  await run('qemu-img', ['bitmap', '--add', image, 'since'])
  for (const command of commands) await run('qemu-io', ['-f', 'qcow2', image, '-c', command])
  return qemuNbd(t, ['--read-only', '--format=qcow2', '--bitmap=since', image])
}
