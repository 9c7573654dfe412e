/** A relay among strangers, and agents among those who play relay. */
import test, { type ExecutionContext } from 'ava'
import { HOP_PROTOCOL } from '../../agent/mesh/relay-client.ts'
import { startMesh, type TestMesh } from '../helpers/node-pair.ts'
import { startRogue, type RoguePeer } from '../helpers/rogue-peer.ts'

const STOP_PROTOCOL = '/libp2p/circuit/relay/0.2.0/stop'
/** RESERVE of circuit relay v2, with its length before it. */
const RESERVE = Uint8Array.of(2, 8, 0)
const QUOTA = { bytes: 1_000_000, timeMs: 60_000, reservations: 1 }

async function strangerOf(t: ExecutionContext, mesh: TestMesh): Promise<RoguePeer> {
  const stranger = await startRogue(mesh.addr)
  t.teardown(() => stranger[Symbol.asyncDispose]())
  return stranger
}

/** The first that the agent says to `question`; empty when it resets the stream. */
async function asked(stranger: RoguePeer, protocol: string, question: Uint8Array): Promise<Buffer> {
  try {
    const stream = await stranger.open(protocol)
    stream.send(question)
    for await (const bytes of stream) return Buffer.from(bytes.subarray())
  } catch {
    // Reset.
  }
  return Buffer.alloc(0)
}

/** Status 100 (OK) in a message of circuit relay v2: field 5. */
const isOk = (answer: Buffer) => answer.includes(Buffer.from([0x28, 100]))

test('a relay for paired peers gives strangers no place, and counts them', async (t) => {
  const mesh = await startMesh(t, 'relay', { relay: true, relayQuota: QUOTA })
  const stranger = await strangerOf(t, mesh)
  t.is((await asked(stranger, HOP_PROTOCOL, RESERVE)).byteLength, 0)
  t.true(mesh.refusals.snapshot().relay > 0)
  t.is(mesh.node.services.relay?.report().reservations, 0)
})

test('a relay for all gives strangers places, as many as its owner said', async (t) => {
  const mesh = await startMesh(t, 'relay', {
    relay: true,
    relayFor: 'all',
    relayQuota: QUOTA,
    pairingRequests: false,
  })
  const [first, second] = [await strangerOf(t, mesh), await strangerOf(t, mesh)]
  t.true(isOk(await asked(first, HOP_PROTOCOL, RESERVE)))
  t.false(isOk(await asked(second, HOP_PROTOCOL, RESERVE)))
  t.is(mesh.node.services.relay?.report().reservations, 1)
})

test('a paired peer gets the place of a stranger that was there first', async (t) => {
  const mesh = await startMesh(t, 'relay', { relay: true, relayFor: 'all', relayQuota: QUOTA })
  const [stranger, paired] = [await strangerOf(t, mesh), await strangerOf(t, mesh)]
  const { ticket } = await mesh.pairing.issueTicket({ expiresMs: 60_000, uses: 1, approve: 'auto' })
  await paired.redeem(ticket)
  t.true(isOk(await asked(stranger, HOP_PROTOCOL, RESERVE)))
  t.true(isOk(await asked(paired, HOP_PROTOCOL, RESERVE)))
  t.false(isOk(await asked(stranger, HOP_PROTOCOL, RESERVE)))
  t.is(mesh.node.services.relay?.report().reservations, 1)
})

test('a stranger cannot play relay to an agent', async (t) => {
  const mesh = await startMesh(t, 'agent')
  const stranger = await strangerOf(t, mesh)
  t.is((await asked(stranger, STOP_PROTOCOL, RESERVE)).byteLength, 0)
})

test('an agent that is no relay says nothing to who takes it for one', async (t) => {
  const mesh = await startMesh(t, 'agent')
  const stranger = await strangerOf(t, mesh)
  t.is((await asked(stranger, HOP_PROTOCOL, RESERVE)).byteLength, 0)
})
