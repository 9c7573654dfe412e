import { randomBytes } from 'node:crypto'
import { gossipsub } from '@libp2p/gossipsub'
import type { Startable } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import test, { type ExecutionContext } from 'ava'
import { openCatalogClient } from '../../broker/catalog-client.ts'
import { encodeCatalog } from '../../protocol/catalog-codec.ts'
import { encodeSignedOffer } from '../../protocol/catalog-offer.ts'
import { frameControl } from '../../protocol/frame-reader.ts'
import { CATALOG_PROTOCOL, CATALOG_TOPIC, GOSSIP_PROTOCOL } from '../../protocol/ids.ts'
import { MAX_GOSSIP_OFFENCES } from '../../protocol/limits.ts'
import { startBroker, startNode, type BrokerNode } from '../helpers/broker-node.ts'
import { eventually } from '../helpers/eventually.ts'
import { createProvider } from '../helpers/providers.ts'

/** A peer that gossips what it likes to `to`, after it compared as a broker does, if `compares`. */
async function gossiper(t: ExecutionContext, to: BrokerNode, { compares }: { compares: boolean }) {
  const node = await startNode(t)
  const topology: { onConnect?(peer: unknown, connection: unknown): void } = {}
  const gossip = gossipsub({
    globalSignaturePolicy: 'StrictNoSign',
    msgIdFn: () => randomBytes(16),
    allowPublishToZeroTopicPeers: true,
    tagMeshPeers: false,
    floodPublish: true,
  })({
    peerId: node.peerId,
    peerStore: node.peerStore,
    logger: (node as unknown as { logger: unknown }).logger,
    registrar: {
      handle: node.handle.bind(node),
      unhandle: node.unhandle.bind(node),
      register: async (_: string, given: object) => Object.assign(topology, given),
      unregister: () => {},
    },
    connectionManager: {},
  } as never)
  gossip.protocols = [GOSSIP_PROTOCOL]
  await (gossip as unknown as Startable).start()
  t.teardown(() => (gossip as unknown as Startable).stop())
  gossip.subscribe(CATALOG_TOPIC)
  // The broker compares back: it holds nothing.
  await node.handle(CATALOG_PROTOCOL, (stream) => {
    stream.addEventListener('message', () => {
      const nothing = { kind: 'summary', prefix: new Uint8Array(), nodes: [], more: false } as const
      stream.send(frameControl(encodeCatalog(nothing)))
    })
  })
  const connection = await node.dial(multiaddr(to.addr))
  await using client = openCatalogClient(await connection.newStream(CATALOG_PROTOCOL))
  if (compares) await client.summarise([new Uint8Array()])
  else await client.list({})
  topology.onConnect?.(to.node.peerId, connection)
  return { gossip, connection }
}

function gossipStreams({ node }: BrokerNode): number {
  const streams = node.getConnections().flatMap((connection) => connection.streams)
  return streams.filter(({ protocol }) => protocol === GOSSIP_PROTOCOL).length
}

test('a neighbour that gossips what no honest broker would is no longer listened to', async (t) => {
  const to = await startBroker(t)
  const { gossip } = await gossiper(t, to, { compares: true })
  await eventually(() => (gossip.getSubscribers(CATALOG_TOPIC).length > 0 ? true : undefined))
  const provider = await createProvider()
  await gossip.publish(CATALOG_TOPIC, encodeSignedOffer(await provider.publish()))
  await eventually(() => to.broker.catalog.offers[0])
  t.is(gossipStreams(to), 2)
  const forged = { ...(await provider.publish()), signature: new Uint8Array(64) }
  for (let n = 0; n < MAX_GOSSIP_OFFENCES; n++) await gossip.publish(CATALOG_TOPIC, encodeSignedOffer(forged))
  await eventually(() => to.broker.refused().forged)
  // The same message is examined once, so others must differ.
  for (let n = 0; n < 4 * MAX_GOSSIP_OFFENCES; n++) await gossip.publish(CATALOG_TOPIC, randomBytes(300))
  await eventually(() => gossipStreams(to) === 0 || undefined)
  t.is(to.broker.catalog.offers.length, 1)
  const { forged: forgeries = 0, malformed = 0 } = to.broker.refused()
  t.true(forgeries + malformed >= MAX_GOSSIP_OFFENCES && forgeries + malformed <= 3 * MAX_GOSSIP_OFFENCES)
})

test('who has not compared takes no part in the gossip', async (t) => {
  const to = await startBroker(t)
  const { gossip, connection } = await gossiper(t, to, { compares: false })
  const provider = await createProvider()
  await gossip.publish(CATALOG_TOPIC, encodeSignedOffer(await provider.publish()))
  await using client = openCatalogClient(await connection.newStream(CATALOG_PROTOCOL))
  t.deepEqual(await client.list({}), [])
  t.is(gossip.getSubscribers(CATALOG_TOPIC).length, 0)
})
