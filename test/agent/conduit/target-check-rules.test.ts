import test from 'ava'
import { checkObjections } from '../../../agent/conduit/target-check-rules.ts'
import { isNeverAsked } from '../../../agent/conduit/asked-addresses.ts'
import type { RelocationRequest } from '../../../agent/conduit/target.ts'
import { interfaceAddresses } from '../../../agent/mesh/addresses.ts'
import type { HealthCheck } from '../../../protocol/relocation-message.ts'
import { RELOCATE_DEFAULTS } from '../../../protocol/relocate-grant.ts'

interface Where {
  readonly kind?: 'qemu' | 'local'
  readonly network?: string
  /** Host address of the machine's one forward, of port 18080. */
  readonly forward?: string
}

/** What is objected to a check of a machine with one card and one forward. */
function objectionsTo(check: string, where: Where = {}): string[] {
  const { kind = 'qemu', network = 'user', forward = '127.0.0.1' } = where
  const forwards = [{ hostAddress: forward, hostPort: 18_080, guestPort: 80 }]
  const machine = { name: 'web', firmware: 'bios', disks: [], nics: [{ network, forwards }] }
  const [, host, port] = /^tcp (.*):(\d+)$/.exec(check) ?? []
  const health: HealthCheck =
    port === undefined ? { kind: 'http', url: check } : { kind: 'tcp', host, port: Number(port) }
  const request = { machines: [{ machine, disks: [], steps: [] }], health: [health] }
  const relocate = { cloud: kind, ...RELOCATE_DEFAULTS, networks: [network], forwards: 'any' as const }
  const cloud = { kind, supports: { firmware: ['bios'] } }
  return checkObjections('peer', request as unknown as RelocationRequest, {
    cloud,
    grant: { relocate },
    others: [],
  }).map(({ message }) => message)
}

const own = interfaceAddresses().find(({ family, internal }) => family === 'IPv4' && !internal)?.address

const ALLOWED: readonly [string, Where][] = [
  ['http://127.0.0.1:18080/', {}],
  ['http://localhost:18080/', {}],
  ['tcp localhost:18080', {}],
  ['tcp 127.0.0.2:18080', { forward: '127.0.0.2' }],
  ['http://127.0.0.1:18080/', { forward: '0.0.0.0' }],
  ['http://127.0.0.1:3000/', { kind: 'local' }],
  ['http://10.9.8.7/', { network: 'br0' }],
  ['http://[fd00:1::7]/', { network: 'br0' }],
  ...(own === undefined ? [] : [[`tcp ${own}:18080`, { forward: own }] satisfies [string, Where]]),
]
for (const [check, where] of ALLOWED)
  test(`a check may ask ${check} ${JSON.stringify(where)}`, (t) => {
    t.deepEqual(objectionsTo(check, where), [])
  })

const REFUSED: readonly [string, Where][] = [
  ['http://127.0.0.1:18080/secret', { forward: '127.0.0.2' }],
  ['http://localhost:18080/secret', { forward: '127.0.0.2' }],
  ['http://[::1]:18080/', {}],
  ['http://[::1]:18080/', { forward: '0.0.0.0' }],
  ['http://[::ffff:127.0.0.1]:18080/', { network: 'br0' }],
  ['tcp 0:0:0:0:0:ffff:7f00:1:18080', { network: 'br0' }],
  ['tcp 0.0.0.0:18080', {}],
  ['http://127.0.0.1:22/', { kind: 'local' }],
  ['http://10.9.8.7/', {}],
  ['http://169.254.169.254/', { network: 'br0' }],
  ['http://[fd00:ec2::254]/', { network: 'br0' }],
  ['http://[fe80::1]/', { network: 'br0' }],
  ['http://store.example/', { network: 'br0' }],
  ...(own === undefined ? [] : [[`tcp ${own}:22`, { network: 'br0' }] satisfies [string, Where]]),
]
for (const [check, where] of REFUSED)
  test(`a check may not ask ${check} ${JSON.stringify(where)}`, (t) => {
    const [objection] = objectionsTo(check, where)
    t.regex(objection ?? '', /^A check (asks|may not ask) /)
  })

test('isNeverAsked() knows where clouds keep credentials, however it is written', (t) => {
  for (const address of [
    '169.254.169.254',
    '::ffff:a9fe:a9fe',
    '100.100.100.200',
    'FD00:0EC2::254',
    'fd20:ce::254',
    'fe80::1%eth0',
    '::',
    '0.0.0.0',
    '239.1.1.1',
    'ff02::1',
  ])
    t.true(isNeverAsked(address), address)
  for (const address of ['10.0.0.1', '192.168.1.1', '8.8.8.8', 'fd00:1::1', '64:ff9b::1', '2001:db8::1'])
    t.false(isNeverAsked(address), address)
})
