import { once } from 'node:events'
import type { Connection, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import test from 'ava'
import { PAIRING_PROTOCOL, VIADUCT_PROTOCOL } from '../../../protocol/ids.ts'
import {
  MAX_HOST_STRANGERS,
  MAX_PAIRING_FAILURES_PER_MINUTE,
  MAX_TICKET_FAILURES,
} from '../../../protocol/limits.ts'
import { formatTicket, parseTicket, type Ticket } from '../../../protocol/ticket.ts'
import type { PeerRecord } from '../../../agent/mesh/peers.ts'
import { dialPeer } from '../../../agent/mesh/dial-peer.ts'
import { eventually } from '../../helpers/eventually.ts'
import { nodePair, pairedNodes, startMesh, type TestMesh } from '../../helpers/node-pair.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

const HOUR = 3600_000
const once1h = { expiresMs: HOUR, uses: 1, approve: 'auto' } as const

function edited(ticket: string, change: Partial<Ticket>): string {
  return formatTicket({ ...parseTicket(ticket, { nowMs: 0 }), ...change })
}

/** Resolves when `ending` has closed, also when it already has. */
async function closed(ending: Stream | Connection): Promise<string> {
  if (ending.status === 'open') await once(ending, 'close')
  return ending.status
}

/** The next peer `mesh` is paired with. */
function nextPaired(mesh: TestMesh): Promise<PeerRecord> {
  return new Promise((resolve) => mesh.pairing.onPaired(resolve))
}

test('redeem() makes both sides know each other and grants what the ticket says', async (t) => {
  const [alpha, beta] = await nodePair(t)
  const folder = `${alpha.home.path}-images`
  const { ticket, expiresAt } = await alpha.pairing.issueTicket({
    expiresMs: HOUR,
    uses: 1,
    folder,
    maxBytes: 1000,
    approve: 'ask',
  })
  t.true(expiresAt > Date.now())

  const record = await beta.pairing.redeem({ ticket, name: 'target' })
  t.is(record.name, 'target')
  t.is(record.peer, alpha.identity.peerId)
  t.deepEqual(record.granted, { write: true, maxBytes: 1000, ask: true })
  t.is(alpha.peers.get(beta.identity.peerId)?.name, 'beta')
  t.like(alpha.policy.grantFor(beta.identity.peerId), { folder, maxBytes: 1000, approve: 'ask', targets: {} })
  t.is(beta.policy.grantFor(alpha.identity.peerId), undefined)
})

test('redeem() lets the issuer learn where the redeemer listens', async (t) => {
  const [alpha, beta] = await pairedNodes(t)
  const learnt = await eventually(() => alpha.peers.get(beta.identity.peerId)?.addrs.at(0))
  t.deepEqual([learnt], [beta.addr.replace(/\/p2p\/.*/, '')])
  await alpha.node.hangUp(beta.node.peerId)
  const connection = await dialPeer(alpha, beta.identity.peerId)
  t.is(connection.remotePeer.toString(), beta.identity.peerId)
})

test('redeem() by a second peer of a one-use ticket is refused, also after a restart', async (t) => {
  const [alpha, beta] = await nodePair(t)
  const gamma = await startMesh(t, 'gamma')
  const { ticket } = await alpha.pairing.issueTicket(once1h)
  await beta.pairing.redeem({ ticket })
  const error = await refusedWith(t, 'TICKET_INVALID', gamma.pairing.redeem({ ticket }))
  t.regex(error.message, /used up/)
  const again = await alpha.restart()
  await refusedWith(
    t,
    'TICKET_INVALID',
    gamma.pairing.redeem({ ticket: edited(ticket, { addresses: [again.addr] }) }),
  )
  t.true(again.peers.isPaired(beta.identity.peerId))
  t.false(again.peers.isPaired(gamma.identity.peerId))
  t.is(again.refusals.snapshot().ticket, 1)
})

test('redeem() by several peers at once uses up exactly the uses there are', async (t) => {
  const alpha = await startMesh(t, 'alpha')
  const rest = await Promise.all(['b', 'c', 'd'].map((name) => startMesh(t, name)))
  const { ticket } = await alpha.pairing.issueTicket({ ...once1h, uses: 2 })
  const outcomes = await Promise.allSettled(rest.map((mesh) => mesh.pairing.redeem({ ticket })))
  t.is(outcomes.filter(({ status }) => status === 'fulfilled').length, 2)
  t.is((await alpha.peers.list()).length, 2)
})

test('redeem() again by the same peer is harmless, and stays so after expiry', async (t) => {
  let now = Date.now()
  const [alpha, beta] = await nodePair(t, { now: () => now })
  const { ticket } = await alpha.pairing.issueTicket(once1h)
  const first = await beta.pairing.redeem({ ticket })
  now += 2 * HOUR
  t.is((await beta.pairing.redeem({ ticket })).peer, first.peer)
})

test('redeem() of an expired ticket is refused by the issuer', async (t) => {
  let now = Date.now()
  const [alpha, beta] = await nodePair(t, { now: () => now })
  const { ticket } = await alpha.pairing.issueTicket(once1h)
  now += HOUR
  const error = await refusedWith(t, 'TICKET_INVALID', beta.pairing.redeem({ ticket }))
  t.regex(error.message, /expired/)
  t.false(alpha.peers.isPaired(beta.identity.peerId))
  t.false(beta.peers.isPaired(alpha.identity.peerId))
})

test('redeem() with an altered expiry, secret or id is refused without saying which', async (t) => {
  const [alpha, beta] = await nodePair(t)
  const { ticket } = await alpha.pairing.issueTicket(once1h)
  const secret = parseTicket(ticket).secret.with(31, 1 + parseTicket(ticket).secret[31])
  const wrongSecret = await refusedWith(
    t,
    'TICKET_INVALID',
    beta.pairing.redeem({ ticket: edited(ticket, { secret }) }),
  )
  const id = parseTicket(ticket).id.with(0, 1 + parseTicket(ticket).id[0])
  const wrongId = await refusedWith(
    t,
    'TICKET_INVALID',
    beta.pairing.redeem({ ticket: edited(ticket, { id }) }),
  )
  t.is(wrongSecret.message, wrongId.message)
  t.is(beta.node.getConnections().length, 0)
})

test('redeem() with a later expiry than was issued does not prolong a ticket', async (t) => {
  let now = Date.now()
  const [alpha, beta] = await nodePair(t, { now: () => now })
  const { ticket, expiresAt } = await alpha.pairing.issueTicket(once1h)
  now += HOUR
  await refusedWith(
    t,
    'TICKET_INVALID',
    beta.pairing.redeem({ ticket: edited(ticket, { expiresAt: expiresAt + HOUR }) }),
  )
})

test('redeem() reaches nobody but the peer the ticket names', async (t) => {
  const [alpha, beta] = await nodePair(t)
  const gamma = await startMesh(t, 'gamma')
  const { ticket } = await alpha.pairing.issueTicket(once1h)
  const address = gamma.addr.replace(/\/p2p\/.*/, '')
  await refusedWith(
    t,
    'PEER_UNREACHABLE',
    beta.pairing.redeem({ ticket: edited(ticket, { addresses: [address] }) }),
  )
  t.is(beta.node.getConnections().length, 0)
  await beta.pairing.redeem({ ticket })
})

test('redeem() under a name that is taken costs no use', async (t) => {
  const [alpha, beta] = await pairedNodes(t)
  const gamma = await startMesh(t, 'gamma')
  const { ticket } = await gamma.pairing.issueTicket(once1h)
  await refusedWith(t, 'USAGE', beta.pairing.redeem({ ticket, name: 'alpha' }))
  t.is((await beta.pairing.redeem({ ticket, name: 'gamma' })).name, 'gamma')
  t.is(beta.peers.get(alpha.identity.peerId)?.name, 'alpha')
})

test('redeem() voids a ticket after too many wrong secrets, and brakes the host that guesses', async (t) => {
  let now = Date.now()
  const [alpha, beta] = await nodePair(t, { now: () => now })
  const { ticket } = await alpha.pairing.issueTicket(once1h)
  const wrong = edited(ticket, { secret: new Uint8Array(32) })
  for (let i = 0; i < MAX_TICKET_FAILURES; i++)
    await refusedWith(t, 'TICKET_INVALID', beta.pairing.redeem({ ticket: wrong }))
  const error = await refusedWith(t, 'TICKET_INVALID', beta.pairing.redeem({ ticket }))
  t.regex(error.message, /void/)
  const { ticket: good } = await alpha.pairing.issueTicket(once1h)
  for (let i = MAX_TICKET_FAILURES + 1; i < MAX_PAIRING_FAILURES_PER_MINUTE; i++) {
    await refusedWith(t, 'TICKET_INVALID', beta.pairing.redeem({ ticket: wrong }))
  }
  await refusedWith(t, 'LIMIT_EXCEEDED', beta.pairing.redeem({ ticket: good }))
  now += 60_000
  await beta.pairing.redeem({ ticket: good })
  t.is(alpha.refusals.snapshot()['pairing-rate'], 1)
})

test('redeem() of a new ticket replaces the grant, and its scope only when the folder differs', async (t) => {
  const [alpha, beta] = await pairedNodes(t)
  const before = alpha.policy.grantFor(beta.identity.peerId)!
  const same = await alpha.pairing.issueTicket({ ...once1h, maxBytes: 5 })
  await beta.pairing.redeem({ ticket: same.ticket })
  t.deepEqual(alpha.policy.grantFor(beta.identity.peerId), { ...before, maxBytes: 5 })
  const other = await alpha.pairing.issueTicket({ ...once1h, folder: `${alpha.home.path}-other` })
  await beta.pairing.redeem({ ticket: other.ticket })
  t.not(alpha.policy.grantFor(beta.identity.peerId)?.id, before.id)
})

test('a stranger that opens another protocol has its stream reset, counted', async (t) => {
  const [alpha, beta] = await nodePair(t)
  let ran = false
  await alpha.node.handle(
    VIADUCT_PROTOCOL,
    alpha.connectionPolicy.pairedOnly(() => void (ran = true)),
  )
  using _ = beta.connectionPolicy.expect(alpha.identity.peerId)
  const connection = await beta.node.dial(multiaddr(alpha.addr))
  for (const protocol of [VIADUCT_PROTOCOL, '/ipfs/id/1.0.0', '/ipfs/ping/1.0.0']) {
    t.is(await closed(await connection.newStream(protocol)), 'reset', protocol)
  }
  t.false(ran)
  t.is(alpha.refusals.snapshot().unpaired, 1)
})

test('a paired peer reaches a handler behind pairedOnly(), until it is removed', async (t) => {
  const [alpha, beta] = await pairedNodes(t)
  const opened = Promise.withResolvers<string>()
  const handler = alpha.connectionPolicy.pairedOnly((_, { remotePeer }) =>
    opened.resolve(remotePeer.toString()),
  )
  await alpha.node.handle(VIADUCT_PROTOCOL, handler)
  const connection = await dialPeer(beta, alpha.identity.peerId)
  await connection.newStream(VIADUCT_PROTOCOL)
  t.is(await opened.promise, beta.identity.peerId)

  t.is((await alpha.pairing.remove({ peer: 'beta' })).peer, beta.identity.peerId)
  await closed(connection)
  t.false(alpha.peers.isPaired(beta.identity.peerId))
  t.is(alpha.policy.grantFor(beta.identity.peerId), undefined)
  const again = await beta.node.dial(multiaddr(alpha.addr))
  const stream = await again.newStream(VIADUCT_PROTOCOL)
  t.is(await closed(stream), 'reset')
})

test('remove() keeps a removed peer from coming back by a ticket it used', async (t) => {
  const [alpha, beta] = await nodePair(t)
  const { ticket } = await alpha.pairing.issueTicket({ ...once1h, uses: 5 })
  await beta.pairing.redeem({ ticket })
  await alpha.pairing.remove({ peer: beta.identity.peerId })
  await refusedWith(t, 'TICKET_INVALID', beta.pairing.redeem({ ticket }))
  t.false(alpha.peers.isPaired(beta.identity.peerId))
})

test('request() waits for accept(), which tells the requester at once', async (t) => {
  const [alpha, beta] = await nodePair(t)
  const waiting = await beta.pairing.request({ peer: alpha.addr, name: 'target' })
  t.like(waiting, { direction: 'out', peer: alpha.identity.peerId })
  t.like(await alpha.pairing.pending(), [{ direction: 'in', peer: beta.identity.peerId, name: 'beta' }])
  t.false(alpha.peers.isPaired(beta.identity.peerId))
  await eventually(async () => (await alpha.pairing.pending())[0].addrs.at(0))

  const again = await alpha.restart()
  const told = nextPaired(beta)
  await again.pairing.accept({ peer: 'beta', name: 'source' })
  t.like(await told, { name: 'target', peer: alpha.identity.peerId, granted: undefined })
  t.is(again.peers.get(beta.identity.peerId)?.name, 'source')
  t.is(again.policy.grantFor(beta.identity.peerId), undefined)
  t.deepEqual([await again.pairing.pending(), await beta.pairing.pending()], [[], []])
})

test('request() again learns of an acceptance it was not told of', async (t) => {
  const [alpha, beta] = await nodePair(t)
  await beta.pairing.request({ peer: alpha.addr })
  await beta[Symbol.asyncDispose]()
  await alpha.pairing.accept({ peer: beta.identity.peerId })
  const again = await beta.restart()
  t.like(await again.pairing.request({ peer: alpha.identity.peerId }), {
    peer: alpha.identity.peerId,
    name: 'alpha',
  })
  t.true(again.peers.isPaired(alpha.identity.peerId))
})

test('request() by both sides pairs them', async (t) => {
  const [alpha, beta] = await nodePair(t)
  await beta.pairing.request({ peer: alpha.addr })
  t.like(await alpha.pairing.request({ peer: beta.addr }), { name: 'beta' })
  t.true(alpha.peers.isPaired(beta.identity.peerId) && beta.peers.isPaired(alpha.identity.peerId))
})

test('request() is told no for a day after reject()', async (t) => {
  let now = Date.now()
  const [alpha, beta] = await nodePair(t, { now: () => now })
  await beta.pairing.request({ peer: alpha.addr })
  await alpha.pairing.reject({ peer: 'beta' })
  t.deepEqual(await alpha.pairing.pending(), [])
  await refusedWith(t, 'APPROVAL_REJECTED', beta.pairing.request({ peer: alpha.addr }))
  t.deepEqual(await beta.pairing.pending(), [])
  now += 24 * HOUR
  t.like(await beta.pairing.request({ peer: alpha.addr }), { direction: 'out' })
})

test('reject() withdraws a request of our own', async (t) => {
  const [alpha, beta] = await nodePair(t)
  await beta.pairing.request({ peer: alpha.addr })
  await beta.pairing.reject({ peer: alpha.identity.peerId })
  t.deepEqual(await beta.pairing.pending(), [])
  await refusedWith(t, 'USAGE', beta.pairing.reject({ peer: 'nobody' }))
})

test('request() to an agent nobody answers for leaves nothing pending', async (t) => {
  const [alpha, beta] = await nodePair(t)
  await alpha[Symbol.asyncDispose]()
  await refusedWith(t, 'PEER_UNREACHABLE', beta.pairing.request({ peer: alpha.addr }))
  await refusedWith(t, 'PEER_UNREACHABLE', beta.pairing.request({ peer: alpha.identity.peerId }))
  await refusedWith(t, 'USAGE', beta.pairing.request({ peer: '/ip4/127.0.0.1/tcp/1' }))
  await refusedWith(t, 'USAGE', beta.pairing.request({ peer: beta.addr }))
  t.deepEqual(await beta.pairing.pending(), [])
})

test('strangers get nothing while requests are off and no ticket is outstanding', async (t) => {
  let now = Date.now()
  const [alpha, beta] = await nodePair(t, { pairingRequests: false, now: () => now })
  await refusedWith(t, 'PEER_UNREACHABLE', beta.pairing.request({ peer: alpha.addr }))
  t.is(alpha.refusals.snapshot().stranger, 1)
  const { ticket } = await alpha.pairing.issueTicket(once1h)
  await refusedWith(t, 'POLICY_DENIED', beta.pairing.request({ peer: alpha.addr }))
  now += HOUR
  const error = await refusedWith(t, 'TICKET_INVALID', beta.pairing.redeem({ ticket }))
  t.regex(error.message, /expired/)
})

test('a stranger is cut off after its time, and the address book forgets it', async (t) => {
  // The stranger itself would hang up as soon.
  const [alpha, beta] = await Promise.all([
    startMesh(t, 'alpha', { strangerTimeoutMs: 50 }),
    startMesh(t, 'beta'),
  ])
  using _ = beta.connectionPolicy.expect(alpha.identity.peerId)
  // On a busy machine the dial itself may not be done by then.
  const connection = await beta.node.dial(multiaddr(alpha.addr)).catch(() => undefined)
  if (connection) await closed(connection)
  t.is(await eventually(() => alpha.refusals.snapshot()['stranger-timeout']), 1)
  await eventually(async () => ((await alpha.node.peerStore.has(beta.node.peerId)) ? undefined : true))
})

test('strangers of one host are refused beyond their number', async (t) => {
  const [alpha, beta] = await nodePair(t)
  using _ = beta.connectionPolicy.expect(alpha.identity.peerId)
  const dial = () => beta.node.dial(multiaddr(alpha.addr), { force: true })
  for (let i = 0; i < MAX_HOST_STRANGERS; i++) await dial()
  // libp2p rejects with the close event, which is no Error.
  await t.throwsAsync(async () => (await dial()).newStream(PAIRING_PROTOCOL), { any: true })
  t.is(alpha.refusals.snapshot()['stranger-limit'], 1)
})

test('an unpaired peer is not dialed unless pairing asks for it', async (t) => {
  const [alpha, beta] = await nodePair(t)
  await t.throwsAsync(beta.node.dial(multiaddr(alpha.addr)), { name: 'DialDeniedError' })
})

test('a pairing stream that breaks the protocol is reset and counted', async (t) => {
  const [alpha, beta] = await nodePair(t)
  using _ = beta.connectionPolicy.expect(alpha.identity.peerId)
  const connection = await beta.node.dial(multiaddr(alpha.addr))
  const stream = await connection.newStream(PAIRING_PROTOCOL)
  stream.send(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff))
  t.is(await closed(stream), 'reset')
  t.is(alpha.refusals.snapshot().pairing, 1)
})
