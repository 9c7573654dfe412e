/** Peers of one host that want a broker for themselves: its places, its streams, the time of its thread. */
import test, { type ExecutionContext } from 'ava'
import { STRANGERS } from '../../broker/shares.ts'
import { encodeCatalog, framesOf } from '../../protocol/catalog-codec.ts'
import { frameControl } from '../../protocol/frame-reader.ts'
import { CATALOG_PROTOCOL } from '../../protocol/ids.ts'
import {
  CATALOG_REQUESTS_BURST,
  MAX_CATALOG_STREAMS_PER_HOST,
  MAX_CATALOG_STREAMS_PER_PEER,
  MAX_CATALOG_WATCHES,
  MAX_HOST_NEIGHBOURS,
  MAX_LISTED,
  MAX_MIGRATORS,
  MAX_OFFERS_PER_HOST,
  MAX_OFFERS_PER_PROVIDER,
} from '../../protocol/limits.ts'
import { type BrokerNode, connectTo, startBroker, startNode } from '../helpers/broker-node.ts'
import { eventually } from '../helpers/eventually.ts'
import { requestWith } from '../helpers/offers.ts'
import { createProvider } from '../helpers/providers.ts'
import { refusedWith } from '../helpers/refused-with.ts'

/** A peer that asks as a broker does and, asked itself, says that it holds nothing. */
async function joinAsBroker(t: ExecutionContext, to: BrokerNode): Promise<void> {
  const node = await startNode(t)
  await node.handle(CATALOG_PROTOCOL, (stream) => {
    const nothing = { kind: 'summary', prefix: new Uint8Array(), nodes: [], more: false } as const
    stream.addEventListener('message', () => stream.send(frameControl(encodeCatalog(nothing))))
  })
  await (await connectTo(t, to, node)).summarise([new Uint8Array()])
}

test.serial(
  'peers of one host that come as brokers take a bounded number of places, and none of a contact',
  async (t) => {
    const [node, contact] = [await startBroker(t), await startBroker(t)]
    const provider = await createProvider()
    const offer = await provider.publish()
    await (await connectTo(t, contact)).publish([offer])
    for (let come = 0; come < MAX_HOST_NEIGHBOURS + 2; come++) await joinAsBroker(t, node)
    t.is(node.broker.neighbours.length, MAX_HOST_NEIGHBOURS)
    node.meet(contact)
    await eventually(() => node.broker.catalog.offers[0])
    t.true(node.broker.neighbours.includes(contact.node.peerId.toString()))
  },
)

test.serial('one host has a bounded number of streams', async (t) => {
  const node = await startBroker(t)
  const others = MAX_CATALOG_STREAMS_PER_HOST / MAX_CATALOG_STREAMS_PER_PEER
  for (let one = 0; one < others; one++) {
    const own = await startNode(t)
    for (let n = 0; n < MAX_CATALOG_STREAMS_PER_PEER; n++)
      await (await connectTo(t, node, own)).watch({ request: requestWith({}), limit: 8 }).next()
  }
  await refusedWith(t, 'PEER_UNREACHABLE', (await connectTo(t, node)).list({}))
  t.true(MAX_CATALOG_STREAMS_PER_HOST * 2 <= MAX_CATALOG_WATCHES)
})

test.serial('one host has a bounded part of the catalogue, however many providers it makes up', async (t) => {
  const node = await startBroker(t)
  const outcomes = new Map<string, number>()
  for (let held = 0; held <= MAX_OFFERS_PER_HOST; held += MAX_OFFERS_PER_PROVIDER) {
    const [client, provider] = [await connectTo(t, node), await createProvider()]
    const offers = Array.from({ length: MAX_OFFERS_PER_PROVIDER }, () => provider.publish())
    for (const part of framesOf(await Promise.all(offers)))
      for (const { outcome } of await client.publish(part))
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  t.deepEqual(Object.fromEntries(outcomes), { kept: MAX_OFFERS_PER_HOST, crowded: MAX_OFFERS_PER_PROVIDER })
  const elsewhere = await (await createProvider()).publish()
  t.like(await node.broker.catalog.put([elsewhere], 'fetched', STRANGERS), [{ outcome: 'kept' }])
})

test.serial('who asks for what is dear to find is refused sooner, and others are answered', async (t) => {
  const node = await startBroker(t)
  const [client, other] = [await connectTo(t, node), await connectTo(t, node)]
  const providers = [await createProvider(), await createProvider()]
  const kinds = (of: string) => Array.from({ length: MAX_LISTED }, (_, n) => of + n.toString(36))
  // Each makes of the source all that the others make, and never what the target accepts.
  const migrators = Array.from({ length: MAX_MIGRATORS }, () => ({
    name: 'm',
    version: '1',
    accepts: ['x', ...kinds('a').slice(1)],
    produces: kinds('b'),
  }))
  const offers = providers.flatMap((provider) =>
    Array.from({ length: 192 }, () => provider.sign(provider.offer({ migrators }))),
  )
  for (const part of framesOf(await Promise.all(offers))) await other.publish(part)
  t.is(node.broker.catalog.offers.length, offers.length)
  const asking = (async () => {
    // Fewer than one peer may ask for.
    for (let asked = 0; asked < CATALOG_REQUESTS_BURST; asked++)
      await client.resolve({ produces: ['x'], accepts: ['y'] })
  })()
  await refusedWith(t, 'LIMIT_EXCEEDED', asking)
  t.is((await other.list({ limit: 1 })).length, 1)
})
