import test from 'ava'
import { inOrder, parseServiceFile } from '../../../agent/conduit/service-file.ts'
import { FluidError } from '../../../protocol/errors.ts'

const WHOLE = `
name = "shop"
finalize_after = "24h"
cutover = { max_downtime = "5s", on_no_convergence = "keep", gate = "3m" }
need = { jurisdiction = ["CH"] }

[[machine]]
name = "web"
cloud = "qemu"
needs = ["db"]
target = { name = "web-2", vcpus = 4, memory = "2GiB", network = "br0", forwards = ["127.0.0.1:8080:80", "5433:5432"] }
adapt = { hostname = "web-2" }
[[machine.rewrite]]
path = "/etc/shop.env"
[[machine.step]]
migrator = "acme-license"
version = "2.1.0"
input = { seats = 3 }

[[machine]]
name = "db"

[[object_store]]
endpoint = "https://s3.example.org"
buckets = ["shop"]

[[health]]
http = "http://127.0.0.1:8080/health"
status = 200
[[health]]
tcp = "127.0.0.1:5433"
`

test('parseServiceFile() needs no more than the name of a machine', (t) => {
  t.deepEqual(parseServiceFile('[[machine]]\nname = "web"'), {
    name: 'web',
    machines: [
      {
        name: 'web',
        cloud: undefined,
        needs: [],
        target: {
          name: undefined,
          vcpus: undefined,
          memoryBytes: undefined,
          network: undefined,
          forwards: undefined,
        },
        steps: [],
      },
    ],
    objectStores: [],
    health: [],
    cutover: { maxDowntimeMs: 10_000, onNoConvergence: 'stop', gateMs: 120_000, stopGraceMs: 30_000 },
    finalizeAfterMs: undefined,
    request: undefined,
  })
})

test('parseServiceFile() reads everything that can be said', (t) => {
  const service = parseServiceFile(WHOLE)
  t.like(service, { name: 'shop', finalizeAfterMs: 86_400_000 })
  t.like(service.cutover, { maxDowntimeMs: 5000, onNoConvergence: 'keep', gateMs: 180_000 })
  const [web, db] = service.machines
  t.like(web, { name: 'web', cloud: 'qemu', needs: ['db'] })
  t.deepEqual(web.target, {
    name: 'web-2',
    vcpus: 4,
    memoryBytes: 2 * 2 ** 30,
    network: 'br0',
    forwards: [
      { hostAddress: '127.0.0.1', hostPort: 8080, guestPort: 80 },
      { hostAddress: '127.0.0.1', hostPort: 5433, guestPort: 5432 },
    ],
  })
  t.deepEqual(
    web.steps.map(({ migrator, version }) => [migrator, version]),
    [
      ['adapt-guest', undefined],
      ['rewrite-config', undefined],
      ['acme-license', '2.1.0'],
    ],
  )
  t.is(db.name, 'db')
  t.deepEqual(service.objectStores, [
    { name: 's3.example.org', endpoint: 'https://s3.example.org', buckets: ['shop'] },
  ])
  t.deepEqual(service.health, [
    { kind: 'http', url: 'http://127.0.0.1:8080/health', status: 200 },
    { kind: 'tcp', host: '127.0.0.1', port: 5433 },
  ])
  t.deepEqual(service.request?.need.jurisdictions, ['CH'])
})

const refused = test.macro((t, source: string, message: RegExp, hint: RegExp = /service file/) => {
  const error = t.throws(() => parseServiceFile(source), { instanceOf: FluidError })
  t.is(error?.code, 'CONFIG_INVALID')
  t.regex(error?.message ?? '', message)
  t.regex(error?.hint ?? '', hint)
})

const WEB = '[[machine]]\nname = "web"\n'

test('parseServiceFile() refuses what is not TOML', refused, 'machine', /^The service file is not valid TOML/)
test('parseServiceFile() refuses a service without machines', refused, 'name = "x"', /machine.* is missing/)
test(
  'parseServiceFile() proposes the nearest key',
  refused,
  `${WEB}ned = []`,
  /machine\[0\]\.ned/,
  /machine\[0\]\.need/,
)
test('parseServiceFile() proposes the nearest table', refused, `helth = 1\n${WEB}`, /helth/, /mean health\?/)
test('parseServiceFile() refuses a circle', refused, `${WEB}needs = ["web"]`, /circle: web/)
test('parseServiceFile() refuses an unknown need', refused, `${WEB}needs = ["db"]`, /needs db/)
test('parseServiceFile() refuses one name twice', refused, WEB + WEB, /Two machines are called web/)
test(
  'parseServiceFile() refuses a duration without unit',
  refused,
  `cutover = { gate = 3 }\n${WEB}`,
  /cutover\.gate is 3/,
)
test(
  'parseServiceFile() refuses a check of two kinds',
  refused,
  `${WEB}[[health]]\nhttp = "http://a/"\ntcp = "a:1"`,
  /either http or tcp/,
)
test(
  'parseServiceFile() refuses a password in an address',
  refused,
  `${WEB}[[health]]\nhttp = "http://a:b@c/"`,
  /health\[0\]\.http/,
)

test('inOrder() starts each machine after those it needs', (t) => {
  const machines = [
    { name: 'web', needs: ['db', 'cache'] },
    { name: 'db', needs: ['disk'] },
    { name: 'cache', needs: [] },
    { name: 'disk', needs: [] },
  ]
  t.deepEqual(
    inOrder(machines).map(({ name }) => name),
    ['cache', 'disk', 'db', 'web'],
  )
})
