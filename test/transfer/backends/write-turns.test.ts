import { randomBytes } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { Promptness } from '../../../transfer/backends/promptness.ts'
import { FEW_CORES, openWriteTurns } from '../../../transfer/backends/write-turns.ts'
import { slowDisk } from '../../helpers/slow-disk.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const PIECE_BYTES = 256 * 1024

test('on few cores what is written is there when write() returns', async (t) => {
  const path = join(await tempDir(t), 'disk.raw')
  await using file = await open(path, 'w+')
  const turns = openWriteTurns(file.fd, { cores: FEW_CORES, promptness: new Promptness(() => 0) })
  const piece = randomBytes(PIECE_BYTES)
  t.is(turns.write(piece, 4096), undefined)
  t.deepEqual((await readFile(path)).subarray(4096), piece)
})

for (const [where, options] of [
  ['on more cores', { cores: FEW_CORES + 1 }],
  ['on few cores with a slow disk', { cores: FEW_CORES, promptness: slowDisk() }],
] as const) {
  test(`${where} large pieces are written outside, in order, and idle() waits for them`, async (t) => {
    const path = join(await tempDir(t), 'disk.raw')
    await using file = await open(path, 'w+')
    const turns = openWriteTurns(file.fd, options)
    t.is(turns.write(Buffer.from('small'), 0), undefined)
    // All at one place: the last one stands there only if none overtook another.
    const pieces = Array.from({ length: 16 }, () => randomBytes(PIECE_BYTES))
    for (const piece of pieces) t.true(turns.write(piece, 0) instanceof Promise)
    await turns.idle()
    t.deepEqual(await readFile(path), pieces.at(-1))
  })
}

test('a disk that is prompt again is not written to before what waits for it', async (t) => {
  const path = join(await tempDir(t), 'disk.raw')
  await using file = await open(path, 'w+')
  const slow = openWriteTurns(file.fd, { cores: FEW_CORES, promptness: slowDisk() })
  const prompt = openWriteTurns(file.fd, { cores: FEW_CORES, promptness: new Promptness(() => 0) })
  const [first, second] = [randomBytes(PIECE_BYTES), randomBytes(PIECE_BYTES)]
  const writing = slow.write(first, 0)
  t.true(prompt.write(second, 0) instanceof Promise)
  await Promise.all([writing, prompt.idle()])
  t.deepEqual(await readFile(path), second)
  t.is(prompt.write(first, 0), undefined)
})

for (const cores of [FEW_CORES, FEW_CORES + 1]) {
  test(`a write that fails on ${cores} cores says where, and the next takes its turn`, async (t) => {
    const path = join(await tempDir(t), 'disk.raw')
    await using written = await open(path, 'w')
    await using file = await open(path, 'r')
    const turns = openWriteTurns(file.fd, { cores })
    for (const offset of [8192, 65536]) {
      const failing = async () => turns.write(randomBytes(PIECE_BYTES), offset)
      await t.throwsAsync(failing, { code: 'TARGET_WRITE', message: new RegExp(`at offset ${offset}`) })
    }
    await turns.idle()
    t.is((await written.stat()).size, 0)
  })
}
