/** Agents of this process that ask each other whether they can be reached; loopback counts as outside here. */
import { createServer } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { multiaddr } from '@multiformats/multiaddr'
import { openDataListener } from '../../../agent/viaduct/data-listener.ts'
import { socketOf } from '../../../agent/reach/own-addresses.ts'
import { isElsewhere, openReachability, type Reachability } from '../../../agent/reach/reachability.ts'
import { REACH_PROTOCOL } from '../../../protocol/ids.ts'
import { REACH_ANSWER_BURST } from '../../../protocol/limits.ts'
import { encodeReachQuestion } from '../../../protocol/reach.ts'
import { eventually } from '../../helpers/eventually.ts'
import { freePort } from '../../helpers/free-port.ts'
import { startMesh, type TestMesh } from '../../helpers/node-pair.ts'
import { startRogue } from '../../helpers/rogue-peer.ts'

interface Reached {
  readonly mesh: TestMesh
  readonly reach: Reachability
  readonly dataPort: number
}

async function start(t: ExecutionContext, name: string): Promise<Reached> {
  const mesh = await startMesh(t, name)
  const listener = await openDataListener({ host: '127.0.0.1', port: 0 })
  const reach = await openReachability({
    mesh,
    listener,
    config: { announce: [], dataHost: undefined },
    isOutside: () => true,
  })
  t.teardown(async () => {
    await reach[Symbol.asyncDispose]()
    await listener[Symbol.asyncDispose]()
  })
  return { mesh, reach, dataPort: listener.address.port }
}

async function pair(redeemer: Reached, issuer: Reached): Promise<void> {
  const { ticket } = await issuer.mesh.pairing.issueTicket({ expiresMs: 60_000, uses: 1, approve: 'auto' })
  await redeemer.mesh.pairing.redeem({ ticket })
}

const meshAt = ({ mesh }: Reached) => socketOf(multiaddr(mesh.addr))

test('an agent whose ports answer learns so from one peer, and where', async (t) => {
  const [alpha, beta] = await Promise.all([start(t, 'alpha'), start(t, 'beta')])
  t.is(alpha.reach.report().mesh.state, 'unknown')
  await pair(alpha, beta)
  await alpha.reach.ask()
  t.deepEqual(alpha.reach.report(), {
    mesh: { state: 'yes', asked: 1, at: meshAt(alpha) },
    data: { state: 'yes', asked: 1, at: `127.0.0.1:${alpha.dataPort}` },
  })
  // What the peer opened to find out is closed again.
  await eventually(() => alpha.mesh.node.getConnections().length === 1 || undefined)
})

test('ports of a router that lead nowhere are told to nobody, once two peers tried them in vain', async (t) => {
  const [alpha, beta, gamma] = await Promise.all([start(t, 'alpha'), start(t, 'beta'), start(t, 'gamma')])
  const [mesh, data] = [await freePort(), await freePort()]
  const told = () => alpha.mesh.node.getMultiaddrs().map(String).join()
  alpha.reach.mapped({ host: '127.0.0.1', ports: { mesh, data } })
  t.regex(told(), new RegExp(`/tcp/${mesh}/`))
  await pair(alpha, beta)
  await alpha.reach.ask()
  t.deepEqual(alpha.reach.report().mesh, { state: 'no', asked: 1, at: `127.0.0.1:${mesh}` })
  t.regex(told(), new RegExp(`/tcp/${mesh}/`))
  await pair(alpha, gamma)
  await alpha.reach.ask()
  t.deepEqual(alpha.reach.report().data, { state: 'no', asked: 2, at: `127.0.0.1:${data}` })
  t.notRegex(told(), new RegExp(`/tcp/${mesh}/`))
  t.deepEqual(alpha.mesh.own.data([`127.0.0.1:${data}`, '10.0.0.1:1']), ['10.0.0.1:1'])
})

test('a program that merely listens at a port is not this agent', async (t) => {
  const [alpha, beta] = await Promise.all([start(t, 'alpha'), start(t, 'beta')])
  const server = createServer((socket) => socket.on('error', () => {}).end('hello\n'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void server.close())
  const { port } = server.address() as { port: number }
  alpha.reach.mapped({ host: '127.0.0.1', ports: { mesh: port, data: port } })
  await pair(alpha, beta)
  await alpha.reach.ask()
  const { mesh, data } = alpha.reach.report()
  t.is(mesh.state, 'no')
  t.is(data.state, 'no')
})

test('a peer that asks too often is told that nothing was tried', async (t) => {
  const [alpha, beta] = await Promise.all([start(t, 'alpha'), start(t, 'beta')])
  await pair(alpha, beta)
  for (let i = 0; i < REACH_ANSWER_BURST + 2; i++) await alpha.reach.ask()
  t.true(beta.mesh.refusals.snapshot().reach > 0)
  t.is(alpha.reach.report().mesh.state, 'yes')
})

test('a stranger has nothing tried', async (t) => {
  const beta = await start(t, 'beta')
  await using stranger = await startRogue(beta.mesh.addr)
  const said = async () => {
    const stream = await stranger.open(REACH_PROTOCOL)
    stream.send(encodeReachQuestion({ token: new Uint8Array(16), meshPort: 1, dataPort: 1 }))
    for await (const bytes of stream) return bytes.byteLength
    return 0
  }
  t.is(await said().catch(() => 0), 0)
})

test('isElsewhere() is false on this machine and in its networks', (t) => {
  t.false(isElsewhere('127.0.0.1'))
  t.false(isElsewhere('::1'))
  t.false(isElsewhere('agent.example.org'))
  t.true(isElsewhere('198.51.100.7'))
  t.true(isElsewhere('2001:db8::7'))
})
