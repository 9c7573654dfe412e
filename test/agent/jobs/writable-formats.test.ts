import { chmod, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import test from 'ava'
import { writableFormats } from '../../../agent/jobs/writable-formats.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

test('writableFormats() has qcow2 where both programs can be run', async (t) => {
  const [one, other] = [await tempDir(t), await tempDir(t)]
  const env = { PATH: [one, '', other].join(delimiter) }
  t.deepEqual(await writableFormats({}), ['raw'])
  t.deepEqual(await writableFormats(env), ['raw'])
  await writeFile(join(one, 'qemu-img'), '', { mode: 0o755 })
  await writeFile(join(other, 'qemu-nbd'), '', { mode: 0o644 })
  t.deepEqual(await writableFormats(env), ['raw'])
  await chmod(join(other, 'qemu-nbd'), 0o755)
  t.deepEqual(await writableFormats(env), ['raw', 'qcow2'])
})
