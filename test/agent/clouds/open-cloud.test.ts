import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { createClouds, openCloud } from '../../../agent/clouds/open-cloud.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

test('openCloud() says which table is missing from the configuration', async (t) => {
  for (const kind of ['qemu', 'libvirt', 'local'] as const) {
    const error = await t.throwsAsync(openCloud(kind, {}), { instanceOf: FluidError })
    t.is(error.code, 'CONFIG_INVALID')
    t.true(error.hint.includes(`[clouds.${kind}]`))
  }
})

test('createClouds() opens each cloud once, and again after a failure', async (t) => {
  const folder = await tempDir(t)
  await writeFile(join(folder, 'file'), '')
  const local = { machines: join(folder, 'services'), programs: [] }
  await using clouds = createClouds({
    local,
    qemu: { machines: join(folder, 'file', 'machines'), accel: 'tcg', bridges: [] },
  })
  t.deepEqual(clouds.kinds, ['qemu', 'local'])
  t.is(await clouds.cloud('local'), await clouds.cloud('local'))
  await t.throwsAsync(clouds.cloud('qemu'), { code: 'CLOUD_FAILED' })
  await t.throwsAsync(clouds.cloud('qemu'), { code: 'CLOUD_FAILED' })
})
