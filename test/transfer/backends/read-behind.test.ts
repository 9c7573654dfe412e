import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import anyTest from 'ava'
import { WINDOW_BYTES } from '../../../protocol/limits.ts'
import { openRawSource } from '../../../transfer/backends/raw.ts'
import { dropCachedPages } from '../../../transfer/linux.ts'
import { cachedBytes, hasProgram, noSmallFileSystems, run, smallFileSystem } from '../../helpers/programs.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const missing = noSmallFileSystems() ?? (hasProgram('fincore') ? undefined : 'needs fincore')
const test = missing === undefined ? anyTest.serial : anyTest.skip
const why = missing === undefined ? '' : ` (${missing})`

const STEP_BYTES = 256 * 1024
const WINDOWS = 4

test(`what is read, and nobody had cached, is not cached afterwards${why}`, async (t) => {
  const folder = await smallFileSystem(t, await tempDir(t), 64 * 1024 * 1024)
  const path = join(folder, 'disk.raw')
  const content = randomBytes(WINDOWS * WINDOW_BYTES)
  await writeFile(path, content)
  await run('sync', [path])
  dropCachedPages(path)
  t.is(await cachedBytes(path), 0)
  t.true((await readAll(path)).equals(content))
  t.is(await cachedBytes(path), 0)
})

test(`what was cached before it is read stays so${why}`, async (t) => {
  const folder = await smallFileSystem(t, await tempDir(t), 64 * 1024 * 1024)
  const path = join(folder, 'disk.raw')
  const content = randomBytes(WINDOWS * WINDOW_BYTES)
  await writeFile(path, content)
  await run('sync', [path])
  const before = await cachedBytes(path)
  t.is(before, content.length)
  t.true((await readAll(path)).equals(content))
  t.is(await cachedBytes(path), before)
})

async function readAll(path: string): Promise<Buffer> {
  await using source = await openRawSource(path)
  const bytes = Buffer.alloc(source.sizeBytes)
  for (let at = 0; at < bytes.length; at += STEP_BYTES)
    await source.read(bytes.subarray(at, at + STEP_BYTES), at)
  return bytes
}
