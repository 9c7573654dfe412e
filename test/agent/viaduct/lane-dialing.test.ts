import { createServer, type AddressInfo, type Server } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import {
  dialableLanes,
  firstReachable,
  parseHostPort,
  reachableAt,
} from '../../../agent/viaduct/lane-dialing.ts'
import { createLaneIdentity } from '../../../transfer/lanes/certificates.ts'

const HOST = '127.0.0.1'

async function listen(t: ExecutionContext): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  t.teardown(() => server.close())
  return { server, port: (server.address() as AddressInfo).port }
}

async function refusingPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

test('parseHostPort() takes names, IPv4 and bracketed IPv6, and nothing else', (t) => {
  t.deepEqual(parseHostPort('vm-3.example:4040'), [{ host: 'vm-3.example', port: 4040 }])
  t.deepEqual(parseHostPort('10.0.0.1:1'), [{ host: '10.0.0.1', port: 1 }])
  t.deepEqual(parseHostPort('[2001:db8::1]:65535'), [{ host: '2001:db8::1', port: 65_535 }])
  for (const wrong of [
    '',
    'a',
    'a:',
    ':1',
    'a:0',
    'a:65536',
    'a:1x',
    '::1:80',
    '[a:1',
    '[host]:1',
    'a b:1',
    '/run/x:1',
    'a:1\n',
    'http://a:1',
  ]) {
    t.deepEqual(parseHostPort(wrong), [], wrong)
  }
})

test('firstReachable() goes on from an address that refuses to one that answers', async (t) => {
  const { port } = await listen(t)
  const addresses = [
    { host: HOST, port: await refusingPort() },
    { host: HOST, port },
  ]
  t.deepEqual(await firstReachable(addresses, new AbortController().signal), addresses[1])
})

test('firstReachable() prefers the address named first', async (t) => {
  const [one, other] = await Promise.all([listen(t), listen(t)])
  const addresses = [
    { host: HOST, port: one.port },
    { host: HOST, port: other.port },
  ]
  t.deepEqual(await firstReachable(addresses, new AbortController().signal), addresses[0])
})

test('firstReachable() gives nothing when no address answers or none is known', async (t) => {
  const { signal } = new AbortController()
  t.is(await firstReachable([], signal), undefined)
  t.is(await firstReachable([{ host: HOST, port: await refusingPort() }], signal), undefined)
})

test('firstReachable() throws the reason of its signal', async (t) => {
  const reason = new Error('enough')
  const addresses = [{ host: HOST, port: await refusingPort() }]
  await t.throwsAsync(firstReachable(addresses, AbortSignal.abort(reason)), { is: reason })
})

test('reachableAt() passes over what is no address of an endpoint', async (t) => {
  const { port } = await listen(t)
  const endpoint = { token: new Uint8Array(16), certificate: new Uint8Array(5) }
  const { signal } = new AbortController()
  const addresses = ['no address', `${HOST}:${port}`]
  t.deepEqual(await reachableAt({ ...endpoint, addresses }, signal), { host: HOST, port })
  t.is(await reachableAt({ ...endpoint, addresses: ['no address'] }, signal), undefined)
})

test('dialableLanes() names every lane apart, with the certificate of the endpoint', async (t) => {
  const identity = await createLaneIdentity('dialer')
  const endpoint = { addresses: [], token: new Uint8Array(16).fill(7), certificate: new Uint8Array(5) }
  const at = { host: HOST, port: 7 }
  const first = dialableLanes(endpoint, at, { to: 3, identity })
  const more = dialableLanes(endpoint, at, { from: 3, to: 5, identity })
  t.deepEqual([first.length, more.length], [3, 2])
  const lanes = [...first, ...more]
  for (const lane of lanes) t.like(lane, { kind: 'tls-dial', ...at, peerCertificate: endpoint.certificate })
  t.is(new Set(lanes.map((lane) => lane.kind === 'tls-dial' && lane.serverName)).size, 5)
  t.true(lanes.every((lane) => lane.sameMachine))
  const [elsewhere] = dialableLanes(endpoint, { host: '192.0.2.1', port: 7 }, { to: 1, identity })
  t.false(elsewhere.sameMachine)
})
