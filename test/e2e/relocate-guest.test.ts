/** A whole service of a real guest, relocated cold: disks, configuration, and its way to an object store that stays. */
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava from 'ava'
import { formatRoot } from '../../protocol/manifest.ts'
import { LanePool } from '../../transfer/lane-pool.ts'
import { fileUrl, openSource } from '../../transfer/open.ts'
import { readDigest } from '../../transfer/root.ts'
import { ask, eventuallyAsk, openGuestStage } from '../helpers/guest-stage.ts'
import { guestMissing } from '../lab/guest.ts'
import { objectStoreMissing, openObjectStore } from '../lab/object-store.ts'

const skip = guestMissing() ?? objectStoreMissing()
const test = skip === undefined ? ava.serial : ava.serial.skip
const why = skip === undefined ? '' : ` (${skip})`

test(`relocate moves a service that adapts to its new home and still finds its objects${why}`, async (t) => {
  t.timeout(600_000)
  const store = await openObjectStore(t)
  await store.put('greeting', 'hello from where it always was')
  const { endpoint, guestEndpoint, bucket, region, accessKey, secretKey, scoped } = store
  const stage = await openGuestStage(t, {
    stores: [new URL(endpoint).host],
    store: { endpoint: guestEndpoint, bucket, region, accessKey, secretKey },
    machine: `[machine.adapt]
hostname = "shop-boreal"
[[machine.rebind]]
endpoint = "${guestEndpoint}"
testEndpoint = "${endpoint}"
region = "${region}"
bucket = "${bucket}"
accessKey = "${scoped.accessKey}"
secretKey = "${scoped.secretKey}"
object = "greeting"
files = [{ path = "/etc/shop/shop.env", format = "env", keys = { accessKey = "S3_ACCESS_KEY", secretKey = "S3_SECRET_KEY" } }]`,
  })
  if (!stage) return
  const { alpine, here, there, ports, file, images, folder } = stage
  t.is(await ask(ports[0], 'object?key=greeting'), 'hello from where it always was')
  t.is(await ask(ports[0], 'record?n=41'), 'ok 41\n')

  const plan = await alpine.tell('relocate', file, '--to', 'boreal', '--dry-run')
  const shown = JSON.stringify(plan)
  t.true(shown.includes('+shop-boreal'), shown)
  t.false(shown.includes(scoped.secretKey) || shown.includes(secretKey), 'No secret is shown')

  const result = await alpine.tell('relocate', file, '--to', 'boreal')
  t.like(result, { state: 'live', rounds: 1, sourceRuns: false }, JSON.stringify(result))
  t.is(await here.state('shop'), 'stopped')
  // What arrived, before it was adapted, is what the machine left behind.
  const roots = Object.fromEntries(
    (result.roots as { disk: string; root: string }[]).map(({ disk, root }) => [disk, root]),
  )
  for (const [disk, path] of [
    ['vda', images.root],
    ['vdb', images.data],
  ] as const) {
    const copy = join(folder, `${disk}.copy`)
    await copyFile(path, copy)
    t.is(roots[disk], await rootOf(copy), `${disk} is what the source has`)
  }
  t.is(await eventuallyAsk(ports[1], 'object?key=greeting'), 'hello from where it always was')
  t.regex(await ask(ports[1], 'hit'), /^host=shop-boreal /)
  t.true((await ask(ports[1], 'records')).split('\n').includes('41'))
  const changed = (result.changes as { path: string }[]).map(({ path }) => path)
  t.true(
    ['/etc/hostname', '/etc/shop/shop.env'].every((path) => changed.includes(path)),
    changed.join(),
  )

  t.like(await alpine.tell('finalize', result.job as string), { state: 'finalized' })
  t.deepEqual(await here.machines(), [])
  t.deepEqual(await there.machines(), ['shop'])
  t.regex(await ask(ports[1], 'hit'), /^host=shop-boreal /)
})

async function rootOf(path: string): Promise<string> {
  await using pool = new LanePool()
  await using source = await openSource(fileUrl(path))
  const volume = { url: fileUrl(path), source }
  const { root } = await readDigest(pool, volume, 'fastcdc-v1/32768-65536-262144', {
    lanes: 1,
    signal: AbortSignal.timeout(120_000),
  })
  return formatRoot(root)
}
