import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import { openControlStream, type ControlStream } from '../../../agent/viaduct/control-stream.ts'
import { FluidError } from '../../../protocol/errors.ts'
import { eventually } from '../../helpers/eventually.ts'
import { openMeshPair, type MeshPair } from '../../helpers/mesh-pair.ts'
import { refusedWith } from '../../helpers/refused-with.ts'
import { talkOver, type Talk } from '../../helpers/rogue-peer.ts'
import { HELLO, offerOf } from '../../helpers/rogue-sender.ts'

const test = anyTest as TestFn<{ pair: MeshPair }>
test.before(async (t) => {
  t.context.pair = await openMeshPair()
})
test.after.always((t) => t.context.pair[Symbol.asyncDispose]())

const hello = { kind: 'hello', ...HELLO } as const
const offer = {
  kind: 'offer',
  ...offerOf({ laneIdentity: { certificateDer: new Uint8Array(400) } } as never),
} as const

/** Both ends of a viaduct, by name of who opened it and who answers. */
async function viaduct(t: ExecutionContext<{ pair: MeshPair }>, silenceTimeoutMs?: number) {
  const { opened, received } = await t.context.pair.openStream()
  const sender = openControlStream(opened, { role: 'initiator', peer: 'receiver', silenceTimeoutMs })
  const receiver = openControlStream(received, { role: 'responder', peer: 'sender', silenceTimeoutMs })
  t.teardown(() => Promise.all([sender[Symbol.asyncDispose](), receiver[Symbol.asyncDispose]()]))
  return { sender, receiver }
}

async function greeted(t: ExecutionContext<{ pair: MeshPair }>, silenceTimeoutMs?: number) {
  const both = await viaduct(t, silenceTimeoutMs)
  await both.sender.send(hello)
  await both.receiver.expect('hello')
  await both.receiver.send(hello)
  await both.sender.expect('hello')
  return both
}

/** An end of a viaduct whose other end keeps no rules. */
async function againstRogue(
  t: ExecutionContext<{ pair: MeshPair }>,
  silenceTimeoutMs?: number,
): Promise<{ stream: ControlStream; talk: Talk }> {
  const { opened, received } = await t.context.pair.openStream()
  const stream = openControlStream(received, { role: 'responder', peer: 'rogue', silenceTimeoutMs })
  t.teardown(() => stream[Symbol.asyncDispose]())
  return { stream, talk: talkOver(opened) }
}

test.serial('receive() that is given up leaves the message to the next', async (t) => {
  const { sender, receiver } = await greeted(t)
  const given = new AbortController()
  const waiting = receiver.receive({ signal: given.signal })
  waiting.catch(() => {})
  given.abort(new Error('enough'))
  await t.throwsAsync(waiting, { message: 'enough' })
  await sender.send(offer)
  t.like(await receiver.receive(), { kind: 'offer' })
  await t.throwsAsync(receiver.receive({ signal: given.signal }), { message: 'enough' })
})

test.serial('ControlStream gives messages in order, and both ends the same state', async (t) => {
  const { sender, receiver } = await greeted(t)
  t.is(sender.state, 'greeted')
  await sender.send(offer)
  await receiver.send({ kind: 'pending', reason: 'one' }).catch(() => {})
  t.like(await receiver.receive(), { kind: 'offer', destination: offer.destination })
  await receiver.send({ kind: 'pending', reason: 'two' })
  t.like(await sender.receive(), { kind: 'pending', reason: 'two' })
  t.deepEqual([sender.state, receiver.state], ['pending', 'pending'])
  t.is(sender.wireBytes, receiver.wireBytes)
})

test.serial('send() refuses what the state does not allow, and sends nothing', async (t) => {
  const { sender, receiver } = await viaduct(t)
  await refusedWith(t, 'PROTOCOL_VIOLATION', sender.send({ kind: 'pause', reason: '' }))
  await sender.send(hello)
  t.like(await receiver.receive(), { kind: 'hello' })
})

test.serial('receive() throws what a fatal status says', async (t) => {
  const { sender, receiver } = await greeted(t)
  const failure = receiver.receive()
  await sender.fail(new FluidError('SOURCE_READ', 'Bad sector', { offset: 4096 }))
  const error = await refusedWith(t, 'SOURCE_READ', failure)
  t.is(error.message, 'Bad sector')
  t.is(error.details.offset, 4096)
  t.is(receiver.state, 'failed')
})

test.serial('receive() gives a status that is not fatal, and goes on', async (t) => {
  const { sender, receiver } = await greeted(t)
  await sender.send({ kind: 'status', code: 'LANE_FAILED', message: 'One lane broke', fatal: false })
  t.like(await receiver.receive(), { kind: 'status', code: 'LANE_FAILED' })
  t.is(receiver.state, 'greeted')
})

test.serial('receive() throws TIMEOUT at its own deadline, and what comes later is not lost', async (t) => {
  const { sender, receiver } = await greeted(t)
  await refusedWith(t, 'TIMEOUT', receiver.receive({ timeoutMs: 10 }))
  await sender.send(offer)
  t.is((await receiver.receive()).kind, 'offer')
})

test.serial('expect() throws PROTOCOL_VIOLATION for any other kind', async (t) => {
  const { sender, receiver } = await greeted(t)
  await sender.send(offer)
  await refusedWith(t, 'PROTOCOL_VIOLATION', receiver.expect('verify-request'))
})

test.serial('ControlStream ends with PROTOCOL_VIOLATION at a message out of turn', async (t) => {
  const { stream, talk } = await againstRogue(t)
  talk.send({
    kind: 'complete',
    root: new Uint8Array(32),
    totals: { sentBytes: 0, wireBytes: 0, resumedBytes: 0, startedAtMs: 0, path: 'tls' },
  })
  await refusedWith(t, 'PROTOCOL_VIOLATION', stream.receive())
  await talk.ended
})

test.serial(
  'ControlStream ends with TIMEOUT when the peer is silent, and says nothing meanwhile for a peer that never spoke',
  async (t) => {
    const { stream, talk } = await againstRogue(t, 80)
    await refusedWith(t, 'TIMEOUT', stream.receive())
    t.true(stream.signal.aborted)
    await talk.ended
    t.deepEqual(talk.heard, [])
  },
)

test.serial('ControlStream keeps two silent ends alive by heartbeats, which are no messages', async (t) => {
  const { sender, receiver } = await greeted(t, 80)
  const before = receiver.wireBytes
  // Bytes of a dozen heartbeats: far beyond the deadline.
  await eventually(() => (receiver.wireBytes > before + 12 * 4 ? true : undefined))
  t.false(sender.signal.aborted || receiver.signal.aborted)
  await sender.send(offer)
  t.is((await receiver.receive()).kind, 'offer')
})

test.serial(
  'progress changes with messages and with work the heartbeats tell of, not with heartbeats',
  async (t) => {
    const { sender, receiver } = await greeted(t, 80)
    const before = receiver.progress
    const bytes = receiver.wireBytes
    await eventually(() => (receiver.wireBytes > bytes + 4 * 4 ? true : undefined))
    t.is(receiver.progress, before)
    sender.working(1000)
    t.true(sender.progress > before)
    await eventually(() => (receiver.progress > before ? true : undefined))
    const worked = receiver.progress
    sender.working(10)
    await sender.send(offer)
    await receiver.receive()
    t.is(receiver.progress, worked + 1, 'Work does not go backwards')
  },
)

test.serial('peerEnded() tells whether the peer ended the stream in time', async (t) => {
  const { sender, receiver } = await greeted(t)
  t.false(await receiver.peerEnded(10))
  await sender[Symbol.asyncDispose]()
  t.true(await receiver.peerEnded(10_000))
  await refusedWith(t, 'PEER_UNREACHABLE', receiver.receive())
})

test.serial('fail() and dispose can be called twice, and nothing is sent afterwards', async (t) => {
  const { sender, receiver } = await greeted(t)
  await sender.fail(new FluidError('CANCELLED', 'Enough'))
  await sender.fail(new FluidError('UNEXPECTED', 'Later'))
  await sender[Symbol.asyncDispose]()
  await refusedWith(t, 'CANCELLED', receiver.receive())
  await refusedWith(t, 'INTERRUPTED', sender.send(hello))
})
