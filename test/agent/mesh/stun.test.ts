/** A relay that tells peers their address, and an agent that asks. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import test, { type ExecutionContext } from 'ava'
import { stunHost, stunUrls } from '../../../agent/mesh/stun.ts'
import { STUN_PROTOCOL } from '../../../protocol/ids.ts'
import { eventually } from '../../helpers/eventually.ts'
import { startMesh, type TestMesh } from '../../helpers/node-pair.ts'
import { startRogue } from '../../helpers/rogue-peer.ts'

const relayOptions = {
  relay: true,
  webrtc: true,
  relayQuota: { bytes: 1_000_000, timeMs: 60_000, reservations: 4 },
}
const oneUse = { expiresMs: 60_000, uses: 1, approve: 'auto' } as const
const REQUEST = Buffer.from(`000100142112a442${'ab'.repeat(12)}80220010${'00'.repeat(16)}`, 'hex')

async function pairWith(mesh: TestMesh, issuer: TestMesh): Promise<void> {
  const { ticket } = await issuer.pairing.issueTicket(oneUse)
  await mesh.pairing.redeem({ ticket })
}

/** The port a datagram from 127.0.0.1 is said to come from; undefined when the relay counts it as refused. */
async function askedFrom(t: ExecutionContext, relay: TestMesh): Promise<number | undefined> {
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const answer = once(socket, 'message') as Promise<[Buffer]>
  socket.send(REQUEST, relay.node.services.stun!.port, '127.0.0.1')
  const { stun: before = 0 } = relay.refusals.snapshot()
  let response: Buffer | undefined
  void answer.then(([bytes]) => (response = bytes))
  await eventually(
    () => response !== undefined || (relay.refusals.snapshot().stun ?? 0) > before || undefined,
  )
  if (!response) return undefined
  t.is(response.readUInt16BE(26) ^ 0x2112, socket.address().port)
  return socket.address().port
}

test('a relay tells hosts of peers their address, and nobody else', async (t) => {
  const relay = await startMesh(t, 'relay', relayOptions)
  t.is(await askedFrom(t, relay), undefined)
  const alpha = await startMesh(t, 'alpha')
  await pairWith(alpha, relay)
  t.truthy(await askedFrom(t, relay))
})

test('a relay tells its port to paired peers', async (t) => {
  const relay = await startMesh(t, 'relay', relayOptions)
  const alpha = await startMesh(t, 'alpha', { listen: [] })
  await pairWith(alpha, relay)
  await eventually(() => alpha.node.services.relayClient.reservedAt[0])
  const beta = await startMesh(t, 'beta', { listen: [] })
  await pairWith(beta, relay)
  await pairWith(beta, alpha)
  const connectionManager = { getConnections: () => beta.node.getConnections() }
  t.deepEqual(await stunUrls({ connectionManager }), [`stun:127.0.0.1:${relay.node.services.stun!.port}`])
  t.deepEqual(await stunUrls({ connectionManager: { getConnections: () => [] } }), [])
})

test('a stranger is not told the port', async (t) => {
  const relay = await startMesh(t, 'relay', relayOptions)
  await using stranger = await startRogue(relay.addr)
  const said = async () => {
    const stream = await stranger.open(STUN_PROTOCOL)
    for await (const bytes of stream) return bytes.byteLength
    return 0
  }
  t.is(await said().catch(() => 0), 0)
})

test('an agent without WebRTC, or that is no relay, opens no port', async (t) => {
  const [plain, agent] = await Promise.all([
    startMesh(t, 'plain', { ...relayOptions, webrtc: false }),
    startMesh(t, 'agent', { webrtc: true }),
  ])
  t.is(plain.node.services.stun, undefined)
  t.is(agent.node.services.stun, undefined)
})

test('stunHost() is the address of IPv4 at which the mesh listens, or all', (t) => {
  t.is(stunHost(['/ip6/::/tcp/4001', '/ip4/10.0.0.1/tcp/4001']), '10.0.0.1')
  t.is(stunHost(['/ip6/::/tcp/4001']), '0.0.0.0')
})
