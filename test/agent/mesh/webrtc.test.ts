/** The mesh over WebRTC: two nodes that only UDP connects. */
import { readFile, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { multiaddr } from '@multiformats/multiaddr'
import ava, { type ExecutionContext } from 'ava'
import { dialableAddrs } from '../../../agent/mesh/addresses.ts'
import { bestConnection, dialAnywhere, dialPeer } from '../../../agent/mesh/dial-peer.ts'
import { isWebRtc, webRtcListen } from '../../../agent/mesh/webrtc.ts'
import { VIADUCT_PROTOCOL, PAIRING_PROTOCOL } from '../../../protocol/ids.ts'
import { parseTicket } from '../../../protocol/ticket.ts'
import { eventually } from '../../helpers/eventually.ts'
import { nodePair, startMesh, type TestMesh } from '../../helpers/node-pair.ts'

const test = ava.serial

const udpOnly = { webrtc: true, listen: ['/ip4/127.0.0.1/udp/0/webrtc-direct'] }
const once = { expiresMs: 60_000, uses: 1, approve: 'auto' } as const

async function pairedByUdp(t: ExecutionContext): Promise<[TestMesh, TestMesh]> {
  const [issuer, redeemer] = await nodePair(t, udpOnly)
  const { ticket } = await issuer.pairing.issueTicket(once)
  await redeemer.pairing.redeem({ ticket })
  return [issuer, redeemer]
}

test('webRtcListen() listens by UDP where the mesh listens by TCP, unless it is told where', (t) => {
  const yes = () => true
  const udp = (at: string, port = 4001) => `${at}/udp/${port}/webrtc-direct`
  const both = ['/ip4/0.0.0.0/tcp/4001', '/ip6/::/tcp/4001']
  // One socket, for both only if it is of IPv6.
  t.deepEqual(webRtcListen(both, yes), [udp('/ip6/::'), udp('/ip4/0.0.0.0')])
  t.deepEqual(
    webRtcListen(both, () => false),
    [udp('/ip4/0.0.0.0')],
  )
  // Not wider than the owner said.
  t.deepEqual(webRtcListen(['/ip4/127.0.0.1/tcp/4001', '/ip6/::/tcp/4001'], yes), [udp('/ip4/127.0.0.1')])
  t.deepEqual(webRtcListen(['/ip4/127.0.0.1/tcp/4001', '/ip6/::1/tcp/4001'], yes), [udp('/ip4/127.0.0.1')])
  t.deepEqual(webRtcListen(['/ip6/::1/tcp/4001'], yes), [udp('/ip6/::1')])
  t.deepEqual(webRtcListen(['/ip4/127.0.0.1/tcp/4001', '/ip4/10.0.0.1/tcp/4001'], yes), [
    udp('/ip4/127.0.0.1'),
  ])
  t.deepEqual(webRtcListen(['/ip4/0.0.0.0/tcp/4001', '/ip4/0.0.0.0/udp/5000/webrtc-direct'], yes), [])
})

test('two that only UDP connects are paired by a ticket, both ways', async (t) => {
  const [alpha, beta] = await pairedByUdp(t)
  t.regex(
    dialableAddrs(alpha.node)[0],
    /^\/ip4\/127\.0\.0\.1\/udp\/\d+\/webrtc-direct\/certhash\/u[\w-]+\/p2p\//,
  )
  t.is(alpha.peers.get(beta.identity.peerId)?.name, 'beta')
  t.true(isWebRtc(bestConnection(beta.node, alpha.identity.peerId)!))
  await eventually(() => alpha.peers.get(beta.identity.peerId)?.addrs.at(0))
  await alpha.node.hangUp(beta.node.peerId)
  const connection = await dialPeer(alpha, beta.identity.peerId)
  t.true(isWebRtc(connection))
})

test('a node keeps its certificate, so its address stays good', async (t) => {
  const alpha = await startMesh(t, 'alpha', udpOnly)
  const hash = (mesh: TestMesh) => /certhash\/([^/]+)/.exec(mesh.addr)![1]
  const pemOf = ({ home }: TestMesh) => join(home.path, 'webrtc.pem')
  const pem = await readFile(pemOf(alpha), 'utf8')
  const again = await alpha.restart()
  t.is(hash(again), hash(alpha))
  t.is(await readFile(pemOf(again), 'utf8'), pem)
  t.is((await stat(pemOf(again))).mode & 0o777, 0o600)
})

test('a stranger gets no further over WebRTC than over TCP', async (t) => {
  const alpha = await startMesh(t, 'alpha', { ...udpOnly, strangerTimeoutMs: 500 })
  const stranger = await startMesh(t, 'stranger', udpOnly)
  using _ = stranger.connectionPolicy.expect(alpha.identity.peerId)
  const connection = await stranger.node.dial(multiaddr(alpha.addr))
  t.deepEqual(await stranger.node.services.identify.identify(connection).catch(() => 'refused'), 'refused')
  const stream = await connection.newStream(VIADUCT_PROTOCOL).catch(() => undefined)
  t.truthy(await connection.newStream(PAIRING_PROTOCOL))
  await eventually(() => (connection.status === 'open' ? undefined : connection.status))
  await eventually(() => (stream && stream.status === 'open' ? undefined : true))
  t.is(alpha.refusals.snapshot()['stranger-timeout'], 1)
  t.is(alpha.node.getConnections().length, 0)
})

test('a stranger is refused over WebRTC when it could not pair anyway', async (t) => {
  const alpha = await startMesh(t, 'alpha', { ...udpOnly, pairingRequests: false })
  const stranger = await startMesh(t, 'stranger', udpOnly)
  using _ = stranger.connectionPolicy.expect(alpha.identity.peerId)
  await stranger.node.dial(multiaddr(alpha.addr)).catch(() => {})
  await eventually(() => alpha.refusals.snapshot()['stranger'])
  await eventually(() => stranger.node.getConnections().length === 0 || undefined)
  t.is(alpha.node.getConnections().length, 0)
})

test('another peer at the address of the one that was meant is not taken for it', async (t) => {
  const [alpha, beta] = await nodePair(t, udpOnly)
  const gamma = await startMesh(t, 'gamma', udpOnly)
  const { ticket } = await alpha.pairing.issueTicket(once)
  const { peer } = parseTicket(ticket, { nowMs: 0 })
  using _ = gamma.connectionPolicy.expect(peer)
  const lie = beta.addr.replace(/\/p2p\/.*/, `/p2p/${peer}`)
  await t.throwsAsync(gamma.node.dial(multiaddr(lie)))
})

test('a line that swallows TCP is left for WebRTC', async (t) => {
  const alpha = await startMesh(t, 'alpha', udpOnly)
  const beta = await startMesh(t, 'beta', udpOnly)
  using _ = beta.connectionPolicy.expect(alpha.identity.peerId)
  const silent = createServer()
  t.teardown(() => silent.close())
  silent.on('connection', (socket) => {
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
  })
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const { port } = silent.address() as { port: number }
  const peer = alpha.identity.peerId
  const swallowed = multiaddr(`/ip4/127.0.0.1/tcp/${port}/p2p/${peer}`)
  const connection = await dialAnywhere(beta.node, peer, [swallowed, multiaddr(alpha.addr)])
  t.true(isWebRtc(connection))
})
