import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import test from 'ava'
import type { MigratorContext } from '../../../transfer/migrator.ts'
import { previewChanges } from '../../../transfer/migrators/apply.ts'
import { memoryGuest } from '../../../transfer/migrators/memory-guest.ts'
import { rebindObjectStore } from '../../../transfer/migrators/rebind-object-store.ts'
import { showChange } from '../../../transfer/migrators/show-change.ts'
import { refusedWith } from '../../helpers/refused-with.ts'
import { signedStore } from '../../helpers/signed-store.ts'

const signal = new AbortController().signal
const access = { signal, mayAsk: () => true }
const context: MigratorContext = { signal, machine: { name: 'm', macs: [] } }
const keys = { accessKey: 'SCOPED-ID', secretKey: 'hunter2/+x', region: 'eu-1' }
const files = [
  {
    path: '/etc/app.env',
    format: 'env',
    keys: { endpoint: 'S3_URL', region: 'REGION', accessKey: 'ID', secretKey: 'KEY' },
  },
]
const input = (more: object) => ({ ...keys, endpoint: 'https://s3.example', bucket: 'data', files, ...more })

test('rebind-object-store points a service to its bucket, and shows no credentials', async (t) => {
  const guest = memoryGuest({
    '/etc/app.env': '# store\nS3_URL=http://10.0.0.9:9000\nREGION="a"\nID=old-id\nKEY=old-key\nX=1\n',
  })
  const [change] = await previewChanges(guest, [{ migrator: rebindObjectStore, input: input({}) }], context)
  t.is(
    Buffer.from(change.after!).toString(),
    '# store\nS3_URL=https://s3.example\nREGION="eu-1"\nID=SCOPED-ID\nKEY=hunter2/+x\nX=1\n'.replace(
      "'",
      "'",
    ),
  )
  t.true(change.secret)
  const shown = showChange(change)
  t.true(shown.includes('# S3_URL = https://s3.example'), shown)
  for (const secret of ['SCOPED-ID', 'hunter2', 'old-id', 'old-key']) t.false(shown.includes(secret))
})

for (const pathStyle of [true, false]) {
  test(`rebind-object-store reaches a bucket ${pathStyle ? 'by its path' : 'by its host'}, with keys of all kinds`, async (t) => {
    const object = 'a b/ü+(1)*.txt'
    const store = await signedStore(t, keys, { '/data': '', '/data/': '', [`/data/${object}`]: 'content' })
    const endpoint = `http://${pathStyle ? '127.0.0.1' : 'localhost'}:${store.port}`
    await rebindObjectStore.testAccess!(input({ endpoint, pathStyle, object }), access)
    t.deepEqual(
      store.asked.map((each) => each.split(' ')[0]),
      ['HEAD', 'GET'],
    )
  })
}

const FAILING: Readonly<Record<string, [object, RegExp]>> = {
  'credentials that are wrong': [
    { secretKey: 'hunter2-wrong' },
    /does not let these credentials in \(403\)$/,
  ],
  'a bucket that does not exist': [
    { bucket: 'other' },
    /^Bucket other at 127.0.0.1:\d+ does not exist \(404\)$/,
  ],
  'an object that does not exist': [
    { object: 'none' },
    /^Object "none" of bucket data at .* does not exist \(404\)$/,
  ],
}
for (const [what, [more, words]] of Object.entries(FAILING)) {
  test(`rebind-object-store says of ${what} what failed, and no secret`, async (t) => {
    const store = await signedStore(t, keys, { '/data': '' })
    const endpoint = `http://127.0.0.1:${store.port}`
    const error = await refusedWith(
      t,
      'MIGRATOR_FAILED',
      rebindObjectStore.testAccess!(input({ endpoint, ...more }), access),
    )
    t.regex(error.message, words)
    t.false(`${error.message}${error.stack}${String(error.cause)}`.includes('hunter2'))
  })
}

for (const host of ['127.0.0.1', '[::1]', 'localhost', 'store.localhost']) {
  test(`rebind-object-store does not ask ${host} at an address that may not be asked`, async (t) => {
    const store = await signedStore(t, keys, { '/data': '' })
    const judged: string[] = []
    const mayAsk = (address: string, port: number) => {
      judged.push(`${address} ${port}`)
      return false
    }
    const endpoint = `http://${host}:${store.port}`
    const asked = rebindObjectStore.testAccess!(input({ endpoint }), { signal, mayAsk })
    t.regex((await refusedWith(t, 'MIGRATOR_FAILED', asked)).message, /is at an address that is not asked$/)
    t.true(judged.length > 0)
    t.true(
      judged.every((each) => [`127.0.0.1 ${store.port}`, `::1 ${store.port}`].includes(each)),
      judged.join(),
    )
    t.deepEqual(store.asked, [])
  })
}

test('rebind-object-store asks where the agent reaches the store', async (t) => {
  const store = await signedStore(t, keys, { '/data': '' })
  const testEndpoint = `http://127.0.0.1:${store.port}`
  await rebindObjectStore.testAccess!(input({ endpoint: 'http://10.0.2.2:9000', testEndpoint }), access)
  t.is(store.asked.length, 1)
})

test('rebind-object-store gives up on a store that does not answer, or is not there', async (t) => {
  const server = createServer(() => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const asked = rebindObjectStore.testAccess!(input({ endpoint }), {
    ...access,
    signal: AbortSignal.timeout(100),
  })
  t.regex((await refusedWith(t, 'MIGRATOR_FAILED', asked)).message, /did not answer in time$/)
  server.close()
  const refusing = rebindObjectStore.testAccess!(input({ endpoint: 'http://127.0.0.1:1' }), access)
  t.regex((await refusedWith(t, 'MIGRATOR_FAILED', refusing)).message, /refuses connections$/)
})

test('rebind-object-store checks its input without telling what it holds', (t) => {
  for (const more of [
    { endpoint: 'ftp://x' },
    { endpoint: 'http://u:hunter2@x' },
    { secretKey: 'hunter2 x' },
    { files: [] },
    { bucket: 'a/b' },
  ]) {
    const error = t.throws(() => rebindObjectStore.check(input(more)), { code: 'USAGE' })
    t.false(error.message.includes('hunter2'))
  }
})
