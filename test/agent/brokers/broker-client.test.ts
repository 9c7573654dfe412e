import test, { type ExecutionContext } from 'ava'
import { createBrokerClient, type BrokerClient } from '../../../agent/brokers/broker-client.ts'
import { decodeCatalog, encodeCatalog } from '../../../protocol/catalog-codec.ts'
import type { SignedOffer } from '../../../protocol/catalog-message.ts'
import { frameControl, createFrameReader } from '../../../protocol/frame-reader.ts'
import { CATALOG_PROTOCOL } from '../../../protocol/ids.ts'
import { MAX_CATALOG_FRAME_BYTES } from '../../../protocol/limits.ts'
import { connectTo, startBroker, startNode } from '../../helpers/broker-node.ts'
import { startMesh, type TestMesh } from '../../helpers/node-pair.ts'
import { createProvider } from '../../helpers/providers.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

interface Brokers {
  readonly brokers?: readonly string[]
  readonly bootstrap?: readonly string[]
}

async function clientOf(
  t: ExecutionContext,
  { brokers = [], bootstrap = [] }: Brokers = {},
): Promise<{ mesh: TestMesh; client: BrokerClient }> {
  const mesh = await startMesh(t, 'alpha')
  return { mesh, client: createBrokerClient({ ...mesh, config: { brokers, bootstrap } }) }
}

/** A broker that answers every List with these. */
async function startLiar(t: ExecutionContext, offers: readonly SignedOffer[]): Promise<string> {
  const node = await startNode(t)
  await node.handle(CATALOG_PROTOCOL, (stream) => {
    const reader = createFrameReader(MAX_CATALOG_FRAME_BYTES)
    stream.addEventListener('message', ({ data }) => {
      for (const frame of reader.push(data.subarray())) {
        t.is(decodeCatalog(frame).kind, 'list')
        const answer = { kind: 'offers', offers, more: false, considered: 0, fitting: 0 } as const
        stream.send(frameControl(encodeCatalog(answer)))
      }
    })
  })
  return node.getMultiaddrs()[0].toString()
}

test('what a broker made up, changed, kept beyond its lease or took from a newer version is not believed', async (t) => {
  const provider = await createProvider()
  const offer = provider.offer({ sequence: 5 })
  const signed = await provider.sign(offer)
  const changed = Buffer.from(signed.body)
  changed[changed.indexOf('Alpine')] = 'B'.charCodeAt(0)
  const liar = await startLiar(t, [
    await provider.sign({ ...offer, sequence: 4, provider: 'Old' }),
    { body: changed, signature: signed.signature },
    await provider.publish({ issuedAtMs: Date.now() - 2, expiresAtMs: Date.now() - 1 }),
    { body: Uint8Array.of(1, 2, 3), signature: signed.signature },
  ])
  const honest = await startBroker(t)
  await (await connectTo(t, honest)).publish([signed])
  const { mesh, client } = await clientOf(t)
  const found = await client.list([liar, honest.addr])
  t.deepEqual(
    found.offers.map((each) => each.offer.provider),
    ['Alpine Cloud'],
  )
  t.is(found.offers[0].broker, honest.node.peerId.toString())
  t.is(mesh.refusals.snapshot()['broker-offer'], 3)
})

test('an offer that one broker leaves out is found at another', async (t) => {
  const [one, other] = [await startBroker(t), await startBroker(t)]
  const provider = await createProvider()
  const [kept, taken] = [provider.offer(), provider.offer()]
  await (await connectTo(t, one)).publish([await provider.sign(taken)])
  await (await connectTo(t, other)).publish([await provider.sign(kept), await provider.withdraw(taken)])
  const { client } = await clientOf(t)
  // Tombstones are not listed: what one broker still holds is found until it hears of them, or the lease ends.
  const ids = (await client.list([other.addr])).offers.map(({ offer }) => offer.id)
  t.deepEqual(ids, [kept.id])
  t.is((await client.list([one.addr, other.addr])).offers.length, 2)
})

test('brokers that are away do not keep others from answering; with none the first failure is told', async (t) => {
  const here = await startBroker(t)
  const away = await startBroker(t)
  await away.stop()
  const notBroker = await startNode(t)
  const { client } = await clientOf(t)
  const found = await client.list([away.addr, here.addr, notBroker.getMultiaddrs()[0].toString()])
  t.deepEqual(found.brokers, [here.node.peerId.toString()])
  t.deepEqual(
    found.failures.map(({ error }) => error.code),
    ['PEER_UNREACHABLE', 'PEER_UNREACHABLE'],
  )
  await refusedWith(t, 'PEER_UNREACHABLE', client.list([away.addr]))
})

test('a broker is asked over a new connection when the old one was closed', async (t) => {
  const broker = await startBroker(t)
  const { client, mesh } = await clientOf(t)
  await client.list([broker.addr])
  for (const connection of mesh.node.getConnections()) await connection.close()
  t.deepEqual((await client.list([broker.addr])).offers, [])
})

test('brokers() takes those given, else those of the configuration, else first contacts; never itself', async (t) => {
  const [one, two] = [await startNode(t), await startNode(t)].map((node) =>
    node.getMultiaddrs()[0].toString(),
  )
  const { mesh, client } = await clientOf(t, { brokers: [one], bootstrap: [two] })
  t.deepEqual(await client.brokers([two, mesh.addr]), [two])
  t.deepEqual(await client.brokers(), [one])
  const told = await clientOf(t, { bootstrap: [two] })
  t.deepEqual(await told.client.brokers(), [two])
  await refusedWith(t, 'USAGE', (await clientOf(t)).client.brokers())
  await refusedWith(t, 'USAGE', client.brokers(['nonsense']))
})
