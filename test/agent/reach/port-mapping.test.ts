/** Port mapping against a fake router, and what real ones say; e2e/port-mapping.test.ts has a real one. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import test, { type ExecutionContext } from 'ava'
import type { Forwarder } from '../../../agent/reach/forwarder.ts'
import { parseRoutes } from '../../../agent/reach/gateway.ts'
import { natPmp } from '../../../agent/reach/nat-pmp.ts'
import { openPortMapping } from '../../../agent/reach/port-mapping.ts'
import { checkMapping, mappingText } from '../../../agent/reach/reach-check.ts'
import type { OuterPorts } from '../../../agent/reach/reachability.ts'
import { parseDescription } from '../../../agent/reach/upnp.ts'
import { eventually } from '../../helpers/eventually.ts'

/** A router of no kind: it forwards whatever it is asked to, 10 ports above. */
function fakeRouter(host: string) {
  const open = new Map<number, number>()
  const router: Forwarder = {
    kind: 'UPnP',
    externalHost: async () => host,
    async forward(port) {
      open.set(port, port + 10)
      return { outer: port + 10, lifetimeS: 3600 }
    },
    async remove(port) {
      open.delete(port)
    },
  }
  return { router, open }
}

async function map(host: string, ports = { mesh: 4001, data: 4002 }) {
  const { router, open } = fakeRouter(host)
  const told: (OuterPorts | undefined)[] = []
  const mapping = openPortMapping({
    ports: () => ports,
    onChange: (outer) => told.push(outer),
    find: async () => router,
  })
  await mapping.asked
  return { mapping, open, told }
}

test('openPortMapping() tells the ports of the router, and removes them at its end', async (t) => {
  const { mapping, open, told } = await map('203.0.113.5')
  t.deepEqual(told, [{ host: '203.0.113.5', ports: { mesh: 4011, data: 4012 } }])
  t.is(mappingText(mapping.report()), 'forwards 203.0.113.5:4011 (mesh) and :4012 (data), by UPnP')
  t.is(checkMapping(mapping.report()).state, 'ok')
  await mapping[Symbol.asyncDispose]()
  await mapping[Symbol.asyncDispose]()
  t.is(open.size, 0)
})

test('openPortMapping() tells nobody of a router behind another NAT', async (t) => {
  const { mapping, told } = await map('100.64.3.4')
  t.deepEqual(told, [undefined])
  t.regex(checkMapping(mapping.report()).detail, /another NAT lies before the router/)
  await mapping[Symbol.asyncDispose]()
})

test('openPortMapping() asks nobody when the agent listens on this machine only', async (t) => {
  const { mapping, told } = await map('203.0.113.5', { mesh: 0, data: 0 })
  t.deepEqual(told, [undefined])
  t.is(checkMapping(mapping.report()).state, 'warn')
  await mapping[Symbol.asyncDispose]()
})

test('openPortMapping() asks soon after the agent listens at an interface', async (t) => {
  const ports = { mesh: 0, data: 0 }
  const { mapping } = await map('203.0.113.5', ports)
  t.is(mapping.report().state, 'failed')
  ports.mesh = 4001
  const { ports: outer } = await eventually(() => {
    const report = mapping.report()
    return report.state === 'mapped' ? report : undefined
  })
  t.deepEqual(outer, { mesh: 4011 })
  await mapping[Symbol.asyncDispose]()
})

test('parseRoutes() finds the default gateway with the lowest metric', (t) => {
  const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT'
  const routes = [
    'wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0',
    'eth0\t00000000\t014DA8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0',
    'eth0\t004DA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
  ]
  t.is(parseRoutes([head, ...routes].join('\n')), '192.168.77.1')
  t.is(parseRoutes(head), undefined)
  t.is(parseRoutes(''), undefined)
})

const location = new URL('http://192.168.77.1:5000/desc.xml')
const service = (type: string, path: string) =>
  `<root><device><serviceList><service><serviceType>${type}</serviceType><controlURL>${path}</controlURL></service></serviceList></device></root>`
const WAN = 'urn:schemas-upnp-org:service:WANIPConnection:1'

test('parseDescription() finds the service that forwards, of the router and no other host', (t) => {
  t.is(
    parseDescription(service(WAN, '/ctl/IPConn'), location)?.control.href,
    'http://192.168.77.1:5000/ctl/IPConn',
  )
  for (const path of [
    'http://127.0.0.1:22/',
    'https://192.168.77.1/',
    '//169.254.169.254/latest',
    'http://[',
  ])
    t.is(parseDescription(service(WAN, path), location), undefined, path)
  t.is(
    parseDescription(service('urn:schemas-upnp-org:service:Layer3Forwarding:1', '/x'), location),
    undefined,
  )
  t.throws(() => parseDescription(`<!DOCTYPE root [<!ENTITY a "b">]>${service(WAN, '/x')}`, location))
  t.throws(() => parseDescription('no XML at all', location))
})

/** Answers NAT-PMP on a port of loopback with what `answer` makes of the request. */
async function fakeNatPmp(
  t: ExecutionContext,
  answer: (request: Buffer) => Buffer | undefined,
): Promise<Forwarder> {
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  socket.on('message', (request, from) => {
    const bytes = answer(request)
    if (bytes) socket.send(bytes, from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return natPmp('127.0.0.1', socket.address().port)
}

const soon = () => AbortSignal.timeout(5_000)

test('natPmp() asks again until it is answered', async (t) => {
  let asked = 0
  const router = await fakeNatPmp(t, () =>
    ++asked < 2 ? undefined : Buffer.from([0, 128, 0, 0, 0, 0, 0, 1, 203, 0, 113, 5]),
  )
  t.is(await router.externalHost(soon()), '203.0.113.5')
  t.is(asked, 2)
})

test('natPmp() ignores what is no answer, and says when it is refused', async (t) => {
  const refusal = Buffer.from([0, 130, 0, 2, 0, 0, 0, 1])
  const router = await fakeNatPmp(t, (request) => (request[1] === 2 ? refusal : Buffer.of(1)))
  await t.throwsAsync(router.forward(4001, 4001, 3600, soon()), { message: /it refuses/ })
  await t.throwsAsync(router.externalHost(AbortSignal.timeout(300)), { name: 'TimeoutError' })
})
