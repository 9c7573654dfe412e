/** What an arrival that ends removes under the names that it reserved. */
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import ava from 'ava'
import { openStage } from '../../helpers/relocation-stage.ts'

const test = process.platform === 'linux' ? ava.serial : ava.skip

test('an arrival that ends leaves a file alone that no move of its peer has put under its name', async (t) => {
  const stage = await openStage(t)
  const request = stage.request('web')
  await using target = await stage.open(request)
  const prepared = await target.prepare(request, { dry: false })
  if (!prepared.accepted) return t.fail('It is not taken in')
  const theirs = join(stage.target.home.imports, prepared.places[0].destination)
  const bytes = randomBytes(4096)
  await mkdir(dirname(theirs), { recursive: true })
  await writeFile(theirs, bytes)
  await target.abort('never mind')
  t.deepEqual(await readFile(theirs), bytes)
})
