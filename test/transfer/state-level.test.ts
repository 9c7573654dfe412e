import { join } from 'node:path'
import type { AbstractLevel } from 'abstract-level'
import test from 'ava'
import type { FluidError } from '../../protocol/errors.ts'
import type { StateLevel } from '../../transfer/chunk-index.ts'
import { openStateLevel } from '../../transfer/state-level.ts'
import { noLoopDevices, run } from '../helpers/programs.ts'
import { tempDir } from '../helpers/temp-dir.ts'

type Rows = AbstractLevel<string | Buffer | Uint8Array, Uint8Array, Uint8Array>
type Write = (rows: Rows, key: Buffer) => Promise<void>

const VALUE = Buffer.alloc(700, 'v')
const itself = (level: StateLevel): Rows => level
const sublevel = (level: StateLevel): Rows =>
  level.sublevel('a', { keyEncoding: 'view', valueEncoding: 'view' })

const WRITES: Readonly<Record<string, [rowsOf: (level: StateLevel) => Rows, write: Write]>> = {
  'put()': [itself, (rows, key) => rows.put(key, VALUE)],
  'batch()': [itself, (rows, key) => rows.batch([{ type: 'put', key, value: VALUE }])],
  'write()': [itself, (rows, key) => rows.batch().put(key, VALUE).write()],
  'put() of a sublevel': [sublevel, (rows, key) => rows.put(key, VALUE)],
}
const full = noLoopDevices() === undefined ? test : test.skip
for (const [what, [rowsOf, write]] of Object.entries(WRITES)) {
  full(`${what} loses nothing that it took after the disk was full (needs root)`, async (t) => {
    const folder = await tempDir(t)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder])
    try {
      const path = join(folder, 'state')
      const taken: Buffer[] = []
      {
        await using level = await openStateLevel(path)
        const rows = rowsOf(level)
        const fill = async (name: string, most: number) => {
          for (let i = 0; i < most; i++) {
            const key = Buffer.from(`${name}${i}`)
            await write(rows, key)
            taken.push(key)
          }
        }
        const error = await t.throwsAsync<FluidError>(fill('before', Infinity), { code: 'NO_SPACE' })
        t.true(error?.hint.includes(path), error?.hint)
        await run('mount', ['-o', 'remount,size=8m', folder])
        await fill('after', 50).catch((error: FluidError) => t.is(error.code, 'NO_SPACE'))
      }
      await using level = await openStateLevel(path)
      const rows = rowsOf(level)
      const found = await rows.getMany(taken)
      t.deepEqual(
        taken.filter((_, i) => found[i] === undefined).map((key) => key.toString()),
        [],
      )
      await write(rows, Buffer.from('again'))
    } finally {
      await run('umount', ['-l', folder])
    }
  })
}

full('openStateLevel() says that there is no space to open it (needs root)', async (t) => {
  const folder = await tempDir(t)
  await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder])
  try {
    await run('sh', ['-c', `cat /dev/zero > ${folder}/filler || true`])
    await t.throwsAsync(openStateLevel(join(folder, 'state')), { code: 'NO_SPACE' })
  } finally {
    await run('umount', [folder])
  }
})
