/** Those who would have a hole punched that they may not, and what a paired peer may say of one. */
import ava, { type ExecutionContext } from 'ava'
import { punch, relayedOnly, whyNotPunched } from '../../agent/mesh/punch.ts'
import { MAX_SIGNALING_BYTES } from '../../protocol/limits.ts'
import { eventually } from '../helpers/eventually.ts'
import { startMesh, type TestMesh } from '../helpers/node-pair.ts'

const test = ava.serial

// Else a connection that the library forgot to close keeps this process alive.
test.after.always(async () => (await import('node-datachannel')).cleanup())

const SIGNALING = '/webrtc-signaling/0.0.1'
const oneUse = { expiresMs: 60_000, uses: 1, approve: 'auto' } as const
const behind = { webrtc: true, listen: [] }

/** Two paired, that only a relay connects. */
async function startTrio(t: ExecutionContext, other = behind): Promise<[TestMesh, TestMesh]> {
  const relayQuota = { bytes: 10_000_000, timeMs: 60_000, reservations: 4 }
  const relay = await startMesh(t, 'relay', { relay: true, webrtc: true, relayQuota })
  const [alpha, beta] = await Promise.all([startMesh(t, 'alpha', behind), startMesh(t, 'beta', other)])
  for (const mesh of [alpha, beta]) await mesh.pairing.redeem(await relay.pairing.issueTicket(oneUse))
  for (const mesh of [alpha, beta]) await eventually(() => mesh.node.services.relayClient.reservedAt[0])
  await alpha.pairing.redeem(await beta.pairing.issueTicket(oneUse))
  return [alpha, beta]
}

/** Streams on which holes are agreed there now. */
function signaling({ node }: TestMesh): number {
  return node
    .getConnections()
    .flatMap(({ streams }) => streams.filter(({ protocol }) => protocol === SIGNALING)).length
}

/** A message of libp2p's signaling: type 0 an offer, 2 a candidate. */
function message(type: number, text: string): Uint8Array {
  const data = Buffer.from(text)
  const length = (bytes: number) => (bytes < 128 ? [bytes] : [(bytes & 127) | 128, bytes >>> 7])
  const body = Buffer.from([8, type, 18, ...length(data.length), ...data])
  return Buffer.from([...length(body.length), ...body])
}

const sdp = (ufrag: string, password: string, more = '') =>
  `v=0\r\no=- 1 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-options:ice2,trickle\r\na=fingerprint:sha-256 ${'AB:'.repeat(31)}AB\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=sctp-port:5000\r\na=max-message-size:262144\r\na=setup:actpass\r\na=ice-ufrag:${ufrag}\r\na=ice-pwd:${password}\r\n${more}`
const PASSWORD = 'abcdefghijklmnopqrstuvwx'
const FLOOD = JSON.stringify({
  candidate: `candidate:1 1 UDP 1 127.0.0.1 9 typ host ${'x'.repeat(900)}`,
  sdpMid: '0',
})

test('what a paired peer says of a hole ends its attempt at worst', async (t) => {
  const [alpha, beta] = await startTrio(t)
  const relayed = relayedOnly(alpha.node, beta.identity.peerId)!
  for (const [what, ...messages] of [
    ['nothing known', Buffer.from([3, 8, 1, 1])],
    ['no offer', message(2, '')],
    ['no SDP', message(0, 'no SDP at all')],
    ['an empty one', message(0, '')],
    ['short credentials', message(0, sdp('a', 'b'))],
    ['strange credentials', message(0, sdp('a b:c\u00e9', '\u0001'.repeat(24)))],
    ['long credentials', message(0, sdp('a'.repeat(3000), 'b'.repeat(3000)))],
    ['candidates that are none', message(0, sdp('abcd', PASSWORD)), message(2, '{"candidate":"x"}')],
    ['no JSON', message(0, sdp('abcd', PASSWORD)), message(2, '{')],
    ['a flood', message(0, sdp('abcd', PASSWORD)), ...Array(20).fill(message(2, FLOOD))],
  ] as const) {
    const stream = await relayed.newStream(SIGNALING, { runOnLimitedConnection: true })
    for (const each of messages) if (stream.status === 'open') stream.send(each)
    if (what !== 'a flood') await stream.close().catch(() => {})
    else t.true(20 * FLOOD.length > MAX_SIGNALING_BYTES)
    await eventually(() => signaling(beta) === 0 || undefined)
    t.truthy(relayedOnly(beta.node, alpha.identity.peerId), `${what} is no connection`)
  }
  const connection = await punch(alpha.node, relayed, { again: true })
  t.is(connection.remotePeer.toString(), beta.identity.peerId)
  t.is(relayedOnly(beta.node, alpha.identity.peerId), undefined)
})

test('an offer that comes at once is answered, though the answering side asks for its own address first', async (t) => {
  const [alpha, beta] = await startTrio(t)
  const relayed = relayedOnly(alpha.node, beta.identity.peerId)!
  const stream = await relayed.newStream(SIGNALING, { runOnLimitedConnection: true })
  stream.send(message(0, sdp('abcd', PASSWORD)))
  let said = ''
  for await (const bytes of stream) {
    said += Buffer.from(bytes.subarray()).toString()
    if (said.includes('a=ice-ufrag:')) break
  }
  t.regex(said, /a=ice-ufrag:/)
  stream.abort(new Error('Enough'))
  await eventually(() => signaling(beta) === 0 || undefined)
})

test('no hole is agreed but over a relay, and with paired peers', async (t) => {
  const [alpha, beta] = await startTrio(t)
  await punch(alpha.node, relayedOnly(alpha.node, beta.identity.peerId)!)
  const direct = alpha.node.getConnections(beta.node.peerId).at(-1)!
  // It ends before or after the first word, with an error or without; what counts is that it is refused.
  const stream = await direct.newStream(SIGNALING).catch(() => undefined)
  await (async () => {
    stream?.send(message(0, 'no SDP'))
    for await (const _ of stream ?? []);
  })().catch(() => {})
  await eventually(() => beta.refusals.snapshot().punch)
  t.pass()
})

test('punch() tells why it failed, and does not try again at once', async (t) => {
  const [alpha, beta] = await startTrio(t, { webrtc: false, listen: [] })
  const relayed = relayedOnly(alpha.node, beta.identity.peerId)!
  await t.throwsAsync(punch(alpha.node, relayed))
  t.is(whyNotPunched(alpha.node, beta.identity.peerId), 'webrtc is off at the peer')
  await t.throwsAsync(punch(alpha.node, relayed), { message: /a moment ago/ })
  const back = relayedOnly(beta.node, alpha.identity.peerId)!
  await t.throwsAsync(punch(beta.node, back))
  t.is(whyNotPunched(beta.node, alpha.identity.peerId), 'webrtc is off here')
})
