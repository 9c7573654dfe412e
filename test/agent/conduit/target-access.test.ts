import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import ava from 'ava'
import type { RelocationRequest } from '../../../agent/conduit/target.ts'
import { interfaceAddresses } from '../../../agent/mesh/addresses.ts'
import { eventually } from '../../helpers/eventually.ts'
import { openStage } from '../../helpers/relocation-stage.ts'
import { signedStore } from '../../helpers/signed-store.ts'

const test = process.platform === 'linux' ? ava : ava.skip

const keys = { accessKey: 'SCOPED', secretKey: 'hunter2', region: 'eu-1' }

/** The relocation with a bucket at `endpoint`, for which the service is given `secretKey`. */
function rebound(
  request: RelocationRequest,
  endpoint: string,
  secretKey = keys.secretKey,
): RelocationRequest {
  const files = [{ path: '/etc/app.env', format: 'env', keys: { secretKey: 'KEY' } }]
  const input = { ...keys, secretKey, endpoint, bucket: 'data', files }
  const steps = [{ migrator: 'rebind-object-store', version: '1.0.0', input }]
  return { ...request, machines: request.machines.map((machine) => ({ ...machine, steps })) }
}

const allowing = (port: number) => ({ stores: [`127.0.0.1:${port}`] })

test('prepare proves that an object store is reached from the target, with the new credentials', async (t) => {
  const store = await signedStore(t, keys, { '/data': '' })
  const stage = await openStage(t, allowing(store.port))
  const request = stage.request('web')
  const endpoint = `http://127.0.0.1:${store.port}`
  await using target = await stage.open(request)
  t.like(await target.prepare(rebound(request, endpoint), { dry: true }), { accepted: true })
  t.deepEqual(store.asked, ['HEAD /data'])
  const refused = await target.prepare(rebound(request, endpoint, 'wrong'), { dry: true })
  t.is(refused.accepted, false)
  const [objection] = refused.accepted ? [] : refused.objections
  t.is(objection?.code, 'MIGRATOR_FAILED')
  t.regex(objection?.message ?? '', /^web: Bucket data at .* does not let these credentials in \(403\)$/)
})

test('prepare asks no service of its own host that its operator did not name', async (t) => {
  const store = await signedStore(t, keys, { '/data': '' })
  const other = await signedStore(t, keys, { '/data': '' })
  const stage = await openStage(t, allowing(other.port))
  const request = stage.request('web')
  await using target = await stage.open(request)
  const own = interfaceAddresses().map(({ address, family }) =>
    family === 'IPv6' ? `[${address}]` : address,
  )
  for (const host of [...own, 'localhost', '[::ffff:127.0.0.1]']) {
    const answer = await target.prepare(rebound(request, `http://${host}:${store.port}`), { dry: false })
    const said = answer.accepted ? 'accepted' : answer.objections.map(({ message }) => message).join()
    t.regex(said, /is at an address that is not asked$/, host)
  }
  t.deepEqual(store.asked, [])
})

test('where a person is asked, prepare asks no object store before that yes, and then does', async (t) => {
  const store = await signedStore(t, keys, { '/data': '' })
  const stage = await openStage(t, { policy: ['--approve', 'ask'], ...allowing(store.port) })
  const request = rebound(stage.request('web'), `http://127.0.0.1:${store.port}`, 'wrong')
  await using target = await stage.open(request)
  t.like(await target.prepare(request, { dry: true }), { accepted: true })
  const asked = target.prepare(request, { dry: false })
  const waiting = await eventually(async () => {
    const { lines } = await stage.target.run('policy', 'arrivals')
    return lines.find(({ state }) => state === 'awaiting')
  })
  t.is(store.refused, 0)
  await stage.target.tell('policy', 'approve', String(waiting.relocation).slice(0, 8))
  const answer = await asked
  t.regex(answer.accepted ? '' : answer.objections[0].message, /does not let these credentials in \(403\)$/)
  t.is(store.refused, 1)
})

test('a store that does not answer holds up no other plan, and what was taken meanwhile stays taken', async (t) => {
  const held: ServerResponse[] = []
  const store = createServer((_, response) => void held.push(response)).listen(0, '127.0.0.1')
  t.teardown(() => {
    store.closeAllConnections()
    store.close()
  })
  await once(store, 'listening')
  const { port } = store.address() as AddressInfo
  const stage = await openStage(t, allowing(port))
  const slow = rebound(stage.request('web'), `http://127.0.0.1:${port}`)
  const quick = stage.request('web')
  await using one = await stage.open(slow)
  await using two = await stage.open(quick)
  let answered = false
  const asked = one.prepare(slow, { dry: false }).finally(() => (answered = true))
  asked.catch(() => {})
  await eventually(() => held.length > 0 || undefined)
  t.true((await two.prepare(quick, { dry: false })).accepted)
  t.false(answered, 'the store is still asked')
  for (const response of held) response.writeHead(200).end()
  const answer = await asked
  t.is(answer.accepted ? 'accepted' : answer.objections[0]?.code, 'NAME_BUSY')
})
