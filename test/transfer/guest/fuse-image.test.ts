import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import type { FluidError } from '../../../protocol/errors.ts'
import { openFuseImage } from '../../../transfer/guest/fuse-image.ts'
import { eventually } from '../../helpers/eventually.ts'
import { noFuseImages } from '../../helpers/guest-image.ts'
import { run } from '../../helpers/programs.ts'
import { refusedWith } from '../../helpers/refused-with.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

// Before the first test is declared: ava takes none after a wait.
const skip = await noFuseImages()
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`

test(`openFuseImage() refuses what is no qcow2, and what another uses${why}`, async (t) => {
  const image = join(await tempDir(t), 'disk.qcow2')
  await run('qemu-img', ['create', '-q', '-f', 'raw', image, '1M'])
  await refusedWith(t, 'FORMAT_UNSUPPORTED', openFuseImage(image))
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', image, '1M'])
  await using first = await openFuseImage(image)
  t.is((await stat(first.path)).size, 1024 * 1024)
  await refusedWith(t, 'NAME_BUSY', openFuseImage(image))
})

test(`openFuseImage() opens no other file that an image names${why}`, async (t) => {
  const folder = await tempDir(t)
  const [image, other] = [join(folder, 'disk.qcow2'), join(folder, 'other')] as const
  for (const naming of [
    ['-u', '-b', other, '-F', 'raw'],
    ['-o', `data_file=${other},data_file_raw=on`],
  ]) {
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...naming, image, '1M'])
    await writeFile(other, 'as it was')
    const error = await t.throwsAsync(openFuseImage(image), { message: /parts in other files/ })
    t.is((error as FluidError).code, 'FORMAT_UNSUPPORTED')
    t.is(await readFile(other, 'utf8'), 'as it was')
  }
})

test(`openFuseImage() ends with its process, by SIGKILL too${why}`, async (t) => {
  const image = join(await tempDir(t), 'disk.qcow2')
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', image, '1M'])
  const { path, child } = await started(t, image)
  t.true((await readFile('/proc/self/mounts', 'utf8')).includes(path))
  child.kill('SIGKILL')
  await eventually(async () =>
    (await readFile('/proc/self/mounts', 'utf8')).includes(path) ? undefined : 'gone',
  )
  // Nobody holds the image any more.
  await eventually(() => run('qemu-img', ['info', image]).catch(() => undefined))
  await using again = await openFuseImage(image)
  t.is((await stat(again.path)).size, 1024 * 1024)
  // What was left of the first is gone.
  t.false(existsSync(dirname(path)))
})

test(`openFuseImage() clears what is left when its server was killed too${why}`, async (t) => {
  const image = join(await tempDir(t), 'disk.qcow2')
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', image, '1M'])
  const { path, child } = await started(t, image)
  const [server] = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8'))
    .split(' ')
    .map(Number)
  process.kill(server, 'SIGKILL')
  child.kill('SIGKILL')
  await once(child, 'exit')
  // Dead, once what the kernel knew of it is too old; or cleared already by another test's process.
  await eventually(async () => {
    const code = await stat(path).catch((error: NodeJS.ErrnoException) => error.code)
    return code === 'ENOTCONN' || code === 'ENOENT' ? code : undefined
  })
  await using again = await openFuseImage(image)
  t.is((await stat(again.path)).size, 1024 * 1024)
  t.false(existsSync(dirname(path)))
})

/** Another process that opens the image and holds it. */
async function started(t: ExecutionContext, image: string): Promise<{ path: string; child: ChildProcess }> {
  const script = `
    import { openFuseImage } from './transfer/guest/fuse-image.ts'
    const { path } = await openFuseImage(process.argv[1])
    console.log(path)
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, image], {
    cwd: new URL('../../../', import.meta.url),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return { path: line.toString().trim(), child }
}
