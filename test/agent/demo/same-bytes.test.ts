import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { firstDifference } from '../../../agent/demo/same-bytes.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const { signal } = new AbortController()
const STEP_BYTES = 4 * 1024 * 1024

async function pair(t: ExecutionContext, a: Buffer, b: Buffer): Promise<[string, string]> {
  const folder = await tempDir(t)
  const paths: [string, string] = [join(folder, 'a'), join(folder, 'b')]
  await Promise.all([writeFile(paths[0], a), writeFile(paths[1], b)])
  return paths
}

test('firstDifference() finds none in files that are the same', async (t) => {
  const bytes = Buffer.alloc(STEP_BYTES + 100, 'same')
  t.is(await firstDifference(...(await pair(t, bytes, bytes)), signal), undefined)
})

for (const offset of [0, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 99]) {
  test(`firstDifference() finds one byte at ${offset}`, async (t) => {
    const bytes = Buffer.alloc(STEP_BYTES + 100, 'same')
    const other = Buffer.from(bytes)
    other[offset] ^= 1
    t.is(await firstDifference(...(await pair(t, bytes, other)), signal), offset)
  })
}

test('firstDifference() takes a longer file for another, be it longer by a hole', async (t) => {
  const paths = await pair(t, Buffer.alloc(10), Buffer.alloc(10))
  await truncate(paths[1], 20)
  t.is(await firstDifference(...paths, signal), 10)
})
