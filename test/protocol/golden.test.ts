import test from 'ava'
import { plain } from './assertions.ts'
import { goldenNames, readGolden } from './golden.ts'
import { SAMPLES } from './samples.ts'

for (const { name, value, decode } of SAMPLES) {
  test(`golden frame ${name} is still read as it was meant`, async (t) => {
    t.deepEqual(plain(decode(await readGolden(name))), plain(value))
  })
}

test('golden frames and samples name the same messages', async (t) => {
  t.deepEqual(await goldenNames(), SAMPLES.map(({ name }) => name).toSorted())
})
