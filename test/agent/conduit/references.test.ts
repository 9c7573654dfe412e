import test from 'ava'
import fc from 'fast-check'
import { findReferences } from '../../../agent/conduit/references.ts'
import { HIDDEN } from '../../../transfer/migrators/hide-secrets.ts'

const find = (text: string) => findReferences('/etc/app', text).map(({ path: _, ...rest }) => rest)

const found = test.macro({
  exec(t, text: string, ...wanted: ReturnType<typeof find>) {
    t.deepEqual(find(text), wanted)
  },
  title: (what = '') => `findReferences() finds ${what}`,
})

test(
  'a database address, without its password and query',
  found,
  'export DATABASE_URL="postgres://app:s3cret@db.internal:5433/shop?sslkey=abc"',
  {
    kind: 'postgres',
    value: `postgres://app:${HIDDEN}@db.internal:5433/shop`,
    host: 'db.internal',
    port: 5433,
    name: 'shop',
    key: 'DATABASE_URL',
  },
)
test('an address in a unit', found, '[Service]\nEnvironment=REDIS_URL=redis://cache:6379/0', {
  kind: 'redis',
  value: 'redis://cache:6379/0',
  host: 'cache',
  port: 6379,
  name: '0',
  key: 'Service.REDIS_URL',
})
test('an address with a driver before it', found, 'url: jdbc:mysql://db1.lan/orders', {
  kind: 'mysql',
  value: 'mysql://db1.lan/orders',
  host: 'db1.lan',
  name: 'orders',
  key: 'url',
})
test(
  'others by scheme',
  found,
  '"broker": "amqp://guest:guest@mq:5672/",\nmongo = "mongodb+srv://u@cluster.lan/app"',
  {
    kind: 'amqp',
    value: `amqp://guest:${HIDDEN}@mq:5672`,
    host: 'mq',
    port: 5672,
    key: 'broker',
  },
  { kind: 'mongodb', value: 'mongodb://u@cluster.lan/app', host: 'cluster.lan', name: 'app', key: 'mongo' },
)
test('a bucket by its address', found, 'endpoint = https://photos.s3.eu-central-1.amazonaws.com', {
  kind: 'object-store',
  value: 'https://photos.s3.eu-central-1.amazonaws.com',
  host: 'photos.s3.eu-central-1.amazonaws.com',
  name: 'photos',
  key: 'endpoint',
})
test(
  'an object store by the name of its setting',
  found,
  'S3_ENDPOINT=http://10.0.2.2:9000\nS3_BUCKET=photos\nAWS_SECRET_ACCESS_KEY=abcdef',
  {
    kind: 'object-store',
    value: 'http://10.0.2.2:9000',
    host: '10.0.2.2',
    port: 9000,
    key: 'S3_ENDPOINT',
  },
  { kind: 'object-store', value: 'photos', name: 'photos', key: 'S3_BUCKET' },
  { kind: 'object-store', value: HIDDEN, key: 'AWS_SECRET_ACCESS_KEY' },
)
test('a host and its port in two settings', found, '[db]\nDB_HOST = pg1.lan\nDB_PORT = 5432', {
  kind: 'postgres',
  value: 'pg1.lan',
  host: 'pg1.lan',
  port: 5432,
  key: 'db.DB_HOST',
})
test(
  'a host with its port',
  found,
  'upstream api {\n  server app1.lan:8080;\n  server 10.0.0.7:8080 backup;\n}',
  {
    kind: 'host',
    value: 'app1.lan:8080',
    host: 'app1.lan',
    port: 8080,
    key: 'server',
  },
  { kind: 'host', value: '10.0.0.7:8080', host: '10.0.0.7', port: 8080, key: 'server' },
)
test('what libpq takes', found, 'dsn: "host=pg1 port=5432 dbname=shop password=x"', {
  kind: 'postgres',
  value: 'host=pg1 port=5432 dbname=shop',
  host: 'pg1',
  port: 5432,
  name: 'shop',
  key: 'dsn',
})
test(
  'nothing in comments, on this machine, or in examples',
  found,
  [
    '# DATABASE_URL=postgres://db/shop',
    '; url = http://a.lan/',
    'url = http://localhost:8080/',
    'redis = 127.0.0.1:6379',
    'see = https://example.com/',
    'time = 12:30',
    'listen = 8080',
    'root:x:0:0:root:/root:/bin/bash',
  ].join('\n'),
)

test('findReferences() tells no password of an address, whatever it is', (t) => {
  const part = fc.stringMatching(/^[a-z]{8}$/)
  fc.assert(
    fc.property(
      part,
      part,
      fc.constantFrom('postgres', 'mysql', 'redis', 'amqp', 'https', 's3'),
      (user, word, scheme) => {
        const password = `pw-${word}`
        const shown = JSON.stringify(
          find(`X_URL=${scheme}://${user}:${password}@host.lan:1234/name?key=${password}#${password}`),
        )
        return !shown.includes(password)
      },
    ),
  )
  t.pass()
})

test('findReferences() takes a line of anything, and ends', (t) => {
  for (const text of [
    'a'.repeat(2000),
    'a.'.repeat(1000),
    'a-'.repeat(1000),
    'http://'.repeat(300),
    'a:1'.repeat(600),
    '['.repeat(2000),
    '=" '.repeat(600),
  ])
    t.true(Array.isArray(find(text)))
  fc.assert(fc.property(fc.string({ maxLength: 3000, unit: 'binary' }), (text) => Array.isArray(find(text))))
})
