import { randomBytes } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { FEW_CORES, openWriteTurns } from '../../../transfer/backends/write-turns.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const PIECE_BYTES = 256 * 1024

test('on few cores what is written is there when write() returns', async (t) => {
  const path = join(await tempDir(t), 'disk.raw')
  await using file = await open(path, 'w+')
  const turns = openWriteTurns(file.fd, FEW_CORES)
  const piece = randomBytes(PIECE_BYTES)
  t.is(turns.write(piece, 4096), undefined)
  t.deepEqual((await readFile(path)).subarray(4096), piece)
})

test('on more cores large pieces are written outside, in order, and idle() waits for them', async (t) => {
  const path = join(await tempDir(t), 'disk.raw')
  await using file = await open(path, 'w+')
  const turns = openWriteTurns(file.fd, FEW_CORES + 1)
  t.is(turns.write(Buffer.from('small'), 0), undefined)
  // All at one place: the last one stands there only if none overtook another.
  const pieces = Array.from({ length: 16 }, () => randomBytes(PIECE_BYTES))
  for (const piece of pieces) t.true(turns.write(piece, 0) instanceof Promise)
  await turns.idle()
  t.deepEqual(await readFile(path), pieces.at(-1))
})

for (const cores of [FEW_CORES, FEW_CORES + 1]) {
  test(`a write that fails on ${cores} cores says where, and the next takes its turn`, async (t) => {
    const path = join(await tempDir(t), 'disk.raw')
    await using written = await open(path, 'w')
    await using file = await open(path, 'r')
    const turns = openWriteTurns(file.fd, cores)
    for (const offset of [8192, 65536]) {
      const failing = async () => turns.write(randomBytes(PIECE_BYTES), offset)
      await t.throwsAsync(failing, { code: 'TARGET_WRITE', message: new RegExp(`at offset ${offset}`) })
    }
    await turns.idle()
    t.is((await written.stat()).size, 0)
  })
}
