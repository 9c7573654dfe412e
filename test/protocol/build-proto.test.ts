import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { SCHEMAS, buildSchema } from '../../protocol/build-proto.ts'
import { fluidcloud as chunks } from '../../protocol/pb/chunks.js'
import { fluidcloud as pairing } from '../../protocol/pb/pairing.js'
import { fluidcloud as viaduct } from '../../protocol/pb/viaduct.js'

const committed = new URL('../../protocol/pb/', import.meta.url)

for (const schema of SCHEMAS) {
  test(`buildSchema() makes of ${schema}.proto what is committed`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'fluidcloud-test-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    await buildSchema(schema, folder)
    for (const file of [`${schema}.js`, `${schema}.d.ts`]) {
      const [fresh, kept] = await Promise.all([
        readFile(join(folder, file), 'utf8'),
        readFile(new URL(file, committed), 'utf8'),
      ])
      t.true(fresh === kept, `${file} is out of date: npm run build:proto`)
    }
  })
}

test('generated modules live side by side, each with its own root', (t) => {
  t.truthy(chunks.chunks.v1.LaneFrame)
  t.truthy(pairing.pairing.v1.Redeem)
  t.truthy(viaduct.viaduct.v1.Offer)
})

test('generated modules read 64-bit integers as numbers', (t) => {
  const { Have } = chunks.chunks.v1
  t.is(Have.decode(Have.encode({ end: 2 ** 52 }).finish()).end, 2 ** 52)
})
