import ava from 'ava'
import { openStage } from '../../helpers/relocation-stage.ts'
import { signedStore } from '../../helpers/signed-store.ts'

const test = process.platform === 'linux' ? ava : ava.skip

test('prepare proves that an object store is reached from the target, with the new credentials', async (t) => {
  const keys = { accessKey: 'SCOPED', secretKey: 'hunter2', region: 'eu-1' }
  const store = await signedStore(t, keys, { '/data': '' })
  const stage = await openStage(t)
  const request = stage.request('web')
  const [machine] = request.machines
  const withKey = (secretKey: string) => {
    const files = [{ path: '/etc/app.env', format: 'env', keys: { secretKey: 'KEY' } }]
    const input = { ...keys, secretKey, endpoint: `http://127.0.0.1:${store.port}`, bucket: 'data', files }
    const steps = [{ migrator: 'rebind-object-store', version: '1.0.0', input }]
    return { ...request, machines: [{ ...machine, steps }] }
  }
  await using target = await stage.open(request)
  t.like(await target.prepare(withKey('hunter2'), { dry: true }), { accepted: true })
  t.deepEqual(store.asked, ['HEAD /data'])
  const refused = await target.prepare(withKey('wrong'), { dry: true })
  t.is(refused.accepted, false)
  const [objection] = refused.accepted ? [] : refused.objections
  t.is(objection?.code, 'MIGRATOR_FAILED')
  t.regex(objection?.message ?? '', /^web: Bucket data at .* does not let these credentials in \(403\)$/)
})
