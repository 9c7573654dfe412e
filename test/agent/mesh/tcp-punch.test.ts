/**
 * Holes for TCP, on one machine, where nothing has to be punched: what is asked and answered, who comes, and two that
 * dial each other. Through real NATs it is test/lab/nat-lab.ts that shows it.
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { multiaddr } from '@multiformats/multiaddr'
import type { Connection } from '@libp2p/interface'
import test, { type ExecutionContext } from 'ava'
import { dialPeer } from '../../../agent/mesh/dial-peer.ts'
import { punch, punchedBy, relayedOnly, whyNotPunched } from '../../../agent/mesh/punch.ts'
import { openDoor } from '../../../agent/mesh/tcp-punch.ts'
import { PUNCH_PROTOCOL } from '../../../protocol/ids.ts'
import { PUNCH_ANSWER_BURST } from '../../../protocol/limits.ts'
import { encodePunchQuestion, PUNCH_ANSWER_BYTES, PUNCH_QUESTION_BYTES } from '../../../protocol/punch.ts'
import { eventually } from '../../helpers/eventually.ts'
import { freePort } from '../../helpers/free-port.ts'
import { pairedNodes, startMesh, type TestMesh } from '../../helpers/node-pair.ts'

const oneUse = { expiresMs: 60_000, uses: 1, approve: 'auto' } as const
const relayQuota = { bytes: 10_000_000, timeMs: 60_000, reservations: 4 }
const isOutside = () => true

/** Two that are paired, of whom only `alpha` may listen, and the relay that connects them. */
async function startTrio(
  t: ExecutionContext,
  alphaListens = false,
): Promise<{ relay: TestMesh; alpha: TestMesh; beta: TestMesh; relayed: Connection }> {
  const relay = await startMesh(t, 'relay', { relay: true, relayQuota })
  const [alpha, beta] = await Promise.all([
    startMesh(t, 'alpha', alphaListens ? {} : { listen: [] }),
    startMesh(t, 'beta', { listen: [] }),
  ])
  for (const mesh of [alpha, beta]) await mesh.pairing.redeem(await relay.pairing.issueTicket(oneUse))
  await eventually(() => beta.node.services.relayClient.reservedAt[0])
  await alpha.pairing.redeem(await beta.pairing.issueTicket(oneUse))
  return { relay, alpha, beta, relayed: relayedOnly(alpha.node, beta.identity.peerId)! }
}

/** A port of this machine whose connections are joined, two and two: to both it is as if the other had listened. */
async function meetingPoint(t: ExecutionContext): Promise<number> {
  let waiting: Socket | undefined
  const server = createServer((socket) => {
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    if (!waiting) return void (waiting = socket)
    waiting.pipe(socket).pipe(waiting)
    waiting = undefined
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

test('two that both dial, one of them as who does not, have a connection that both can use', async (t) => {
  const [alpha, beta] = await pairedNodes(t)
  const at = `/ip4/127.0.0.1/tcp/${await meetingPoint(t)}/p2p/`
  const dial = async (from: TestMesh, to: TestMesh, initiator: boolean) =>
    from.node.services.ports.dialFrom(
      { host: '0.0.0.0', port: await freePort() },
      multiaddr(at + to.identity.peerId),
      { signal: AbortSignal.timeout(20_000), initiator },
    )
  const [there, back] = await Promise.all([dial(alpha, beta, true), dial(beta, alpha, false)])
  t.is(there.remotePeer.toString(), beta.identity.peerId)
  t.is(back.remotePeer.toString(), alpha.identity.peerId)
  t.deepEqual([there.direction, back.direction], ['outbound', 'inbound'])
  for (const connection of [there, back]) {
    const stream = await connection.newStream('/ipfs/ping/1.0.0')
    await stream.close()
    t.is(connection.status, 'open')
  }
})

test('dialFrom() connects from the port it is told, and leaves the connection open when its signal aborts later', async (t) => {
  const [alpha, beta] = await pairedNodes(t)
  const port = await freePort()
  const over = new AbortController()
  const addr = multiaddr(alpha.addr)
  const local = { host: '0.0.0.0', port }
  const connection = await beta.node.services.ports.dialFrom(local, addr, { signal: over.signal })
  over.abort()
  const seen = await eventually(() =>
    alpha.node.getConnections().find(({ remoteAddr }) => remoteAddr.toString().includes(`/tcp/${port}`)),
  )
  t.is(seen.remotePeer.toString(), beta.identity.peerId)
  const stream = await connection.newStream('/ipfs/ping/1.0.0')
  await stream.close()
  t.is(connection.status, 'open')
})

test('openDoor() tells the port as the relay sees it, and keeps addresses out that a peer has no business to name', async (t) => {
  const { relay, alpha, relayed } = await startTrio(t)
  const signal = AbortSignal.timeout(20_000)
  const before = relay.node.getConnections(alpha.node.peerId).length
  {
    await using door = await openDoor(alpha.node, relayed, { signal, isOutside })
    const seen = relay.node.getConnections(alpha.node.peerId).map(({ remoteAddr }) => remoteAddr.toString())
    t.true(seen.some((addr) => addr.includes(`/tcp/${door.outside.split(':')[1]}`)))
    t.false(door.mayMeet('[2001:db8::1]:4001'))
    // The relay is of this machine, hence as private as can be.
    t.true(door.mayMeet('10.0.0.1:4001'))
  }
  await eventually(() => relay.node.getConnections(alpha.node.peerId).length === before || undefined)
  // Two of one machine need no hole.
  await t.throwsAsync(openDoor(alpha.node, relayed, { signal }), { message: /No relay/ })
})

test('a peer that only a relay connects comes, if this agent can be reached', async (t) => {
  const { alpha, beta } = await startTrio(t, true)
  await eventually(async () => {
    const known = await beta.node.peerStore.get(alpha.node.peerId)
    return (
      known.addresses.some(({ multiaddr: addr }) => !addr.toString().includes('p2p-circuit')) || undefined
    )
  })
  const connection = await dialPeer(alpha, beta.identity.peerId)
  t.is(connection.direction, 'inbound')
  t.false(connection.remoteAddr.toString().includes('p2p-circuit'))
  t.is(punchedBy(connection), undefined)
})

test('where neither can be reached nothing is waited for', async (t) => {
  const { alpha, beta, relayed } = await startTrio(t)
  await t.throwsAsync(punch(alpha.node, relayed))
  t.is(whyNotPunched(alpha.node, beta.identity.peerId), 'webrtc is off here')
})

/** Bytes of the answer to `question`; 0 when there is none. */
async function ask(connection: Connection, question: Uint8Array): Promise<number> {
  let length = 0
  try {
    const stream = await connection.newStream(PUNCH_PROTOCOL, { runOnLimitedConnection: true })
    stream.send(question)
    for await (const part of stream) length += part.byteLength
    await stream.close()
  } catch {
    // It was reset.
  }
  return length
}

const QUESTION = encodePunchQuestion({ socket: '' })

test('a question that is none is reset, and so is one too many', async (t) => {
  const { beta, relayed } = await startTrio(t)
  t.is(await ask(relayed, QUESTION), PUNCH_ANSWER_BYTES)
  t.is(await ask(relayed, Buffer.alloc(PUNCH_QUESTION_BYTES, 'x')), 0)
  t.falsy(beta.refusals.snapshot().punch)
  const answers = []
  for (let i = 0; i < 2 * PUNCH_ANSWER_BURST; i++) answers.push(await ask(relayed, QUESTION))
  t.true(answers.includes(0))
  t.true(beta.refusals.snapshot().punch >= 1)
})

test('an agent tells peers from where they are connected, and strangers nothing', async (t) => {
  const { relay, alpha } = await startTrio(t)
  t.is(await ask(alpha.node.getConnections(relay.node.peerId)[0], QUESTION), PUNCH_ANSWER_BYTES)
  const stranger = await startMesh(t, 'stranger', { listen: [] })
  using _ = stranger.connectionPolicy.expect(relay.identity.peerId)
  t.is(await ask(await stranger.node.dial(multiaddr(relay.addr)), QUESTION), 0)
  t.is(relay.refusals.snapshot().punch, 1)
})
