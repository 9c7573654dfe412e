import test, { type ExecutionContext } from 'ava'
import { createBrokerClient } from '../../../agent/brokers/broker-client.ts'
import {
  openOfferPublisher,
  type OfferPublisher,
  type OwnOffer,
} from '../../../agent/brokers/broker-offers.ts'
import { MAX_OWN_OFFERS } from '../../../protocol/limits.ts'
import { startBroker, type BrokerNode } from '../../helpers/broker-node.ts'
import { eventually } from '../../helpers/eventually.ts'
import { startMesh, type TestMesh } from '../../helpers/node-pair.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

const CONVERT = { name: 'convert', version: '1.0.0', accepts: ['disk/qcow2'], produces: ['disk/raw'] }

async function open(t: ExecutionContext, mesh: TestMesh, ...brokers: BrokerNode[]): Promise<OfferPublisher> {
  const config = { brokers: brokers.map(({ addr }) => addr), bootstrap: [] }
  const publisher = await openOfferPublisher({
    identity: mesh.identity,
    node: mesh.node,
    client: createBrokerClient({ ...mesh, config }),
    table: mesh.store.table<OwnOffer>('offers'),
    hosted: async () => [CONVERT],
  })
  t.teardown(() => publisher[Symbol.asyncDispose]())
  return publisher
}

const offer = (lease: string, file = '/srv/offer.toml') => ({
  text: `provider = "Alpine Cloud"\nlease = "${lease}"`,
  file,
  brokers: [],
})

test('an offer is renewed before its lease ends, as a newer version of the same', async (t) => {
  const [mesh, broker] = [await startMesh(t, 'alpha'), await startBroker(t)]
  const publisher = await open(t, mesh, broker)
  const { offer: id } = await publisher.publish(offer('1s'))
  const [first] = broker.broker.catalog.offers
  const next = await eventually(() =>
    broker.broker.catalog.offers.find((held) => held.offer.sequence > first.offer.sequence),
  )
  t.is(next.offer.id, id)
  t.deepEqual(next.offer.migrators, [CONVERT], 'what the agent hosts, since its owner named none')
  t.true(next.offer.expiresAtMs > first.offer.expiresAtMs)
  t.is(publisher.own()[0].sequence >= next.offer.sequence, true)
})

test('an offer that no broker took is not kept', async (t) => {
  const [mesh, away] = [await startMesh(t, 'alpha'), await startBroker(t)]
  await away.stop()
  const publisher = await open(t, mesh, away)
  await refusedWith(t, 'PEER_UNREACHABLE', publisher.publish(offer('1h')))
  t.deepEqual(publisher.own(), [])
  await refusedWith(t, 'USAGE', (await open(t, mesh)).publish(offer('1h')))
})

test('one broker is enough, and each is told of', async (t) => {
  const [mesh, here, away] = [await startMesh(t, 'alpha'), await startBroker(t), await startBroker(t)]
  await away.stop()
  const { brokers } = await (await open(t, mesh, here, away)).publish(offer('1h'))
  t.deepEqual(
    brokers.map(({ taken, code }) => [taken, code]),
    [
      [true, undefined],
      [false, 'PEER_UNREACHABLE'],
    ],
  )
})

test('offers are told apart by their files, and named by the beginning of their id', async (t) => {
  const [mesh, broker] = [await startMesh(t, 'alpha'), await startBroker(t)]
  const publisher = await open(t, mesh, broker)
  const one = await publisher.publish(offer('1h'))
  const same = await publisher.publish(offer('2h'))
  const other = await publisher.publish(offer('1h', '/srv/other.toml'))
  t.is(same.offer, one.offer)
  t.not(other.offer, one.offer)
  t.is(broker.broker.catalog.offers.length, 2)
  await refusedWith(t, 'USAGE', publisher.withdraw({ offer: one.offer.slice(0, 3), brokers: [] }))
  t.is((await publisher.withdraw({ offer: one.offer.slice(0, 12), brokers: [] })).offer, one.offer)
  t.deepEqual(
    broker.broker.catalog.offers.map((held) => held.offer.id),
    [other.offer],
  )
  const again = await publisher.publish(offer('1h'))
  t.not(again.offer, one.offer, 'what was taken back stays so')
})

test('an agent publishes a bounded number of offers', async (t) => {
  const [mesh, broker] = [await startMesh(t, 'alpha'), await startBroker(t)]
  const publisher = await open(t, mesh, broker)
  for (let n = 0; n < MAX_OWN_OFFERS; n++) await publisher.publish(offer('1h', `/srv/${n}.toml`))
  await refusedWith(t, 'LIMIT_EXCEEDED', publisher.publish(offer('1h', '/srv/one-more.toml')))
  await publisher.publish(offer('2h', '/srv/0.toml'))
  t.is(publisher.own().length, MAX_OWN_OFFERS)
})
