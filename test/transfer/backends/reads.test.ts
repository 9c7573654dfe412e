import { randomBytes } from 'node:crypto'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { Promptness } from '../../../transfer/backends/promptness.ts'
import { openReads } from '../../../transfer/backends/reads.ts'
import { slowDisk } from '../../helpers/slow-disk.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const PIECE_BYTES = 256 * 1024

test('what a prompt disk holds is there when read() returns, what a slow one holds comes later', async (t) => {
  const path = join(await tempDir(t), 'disk.raw')
  const content = randomBytes(4 * PIECE_BYTES)
  await writeFile(path, content)
  await using file = await open(path)
  const piece = Buffer.alloc(PIECE_BYTES)
  t.is(openReads(file.fd, path, 'source', new Promptness(() => 0)).read(piece, 4096), undefined)
  t.deepEqual(piece, content.subarray(4096, 4096 + PIECE_BYTES))

  const slow = openReads(file.fd, path, 'source', slowDisk())
  const pieces = [0, 1, 2, 3].map(() => Buffer.alloc(PIECE_BYTES))
  for (const [i, target] of pieces.entries()) t.true(slow.read(target, i * PIECE_BYTES) instanceof Promise)
  await slow.close()
  t.deepEqual(Buffer.concat(pieces), content)
})

for (const [what, promptness] of [
  ['prompt', () => new Promptness(() => 0)],
  ['slow', slowDisk],
] as const) {
  test(`a ${what} disk that ends early, or cannot be read, says where`, async (t) => {
    const path = join(await tempDir(t), 'disk.raw')
    await writeFile(path, randomBytes(8192))
    await using file = await open(path)
    await using unreadable = await open(path, 'a')
    const target = Buffer.alloc(8192)
    const reading = (fd: number, of: 'source' | 'target') => async () =>
      openReads(fd, path, of, promptness()).read(target, 4096)
    await t.throwsAsync(reading(file.fd, 'source'), { code: 'SOURCE_CHANGED', message: /ended at 8192/ })
    await t.throwsAsync(reading(file.fd, 'target'), { code: 'TARGET_WRITE', message: /ended at 8192/ })
    await t.throwsAsync(reading(unreadable.fd, 'source'), { code: 'SOURCE_READ', message: /offset 4096/ })
    await t.throwsAsync(reading(unreadable.fd, 'target'), { code: 'TARGET_WRITE', message: /offset 4096/ })
  })
}
