import { randomBytes } from 'node:crypto'
import test from 'ava'
import type { BrokerOptions } from '../../broker/broker.ts'
import { encodeCatalog } from '../../protocol/catalog-codec.ts'
import type { SignedOffer } from '../../protocol/catalog-message.ts'
import { decodeOffer } from '../../protocol/catalog-offer.ts'
import { frameControl } from '../../protocol/frame-reader.ts'
import { CATALOG_PROTOCOL } from '../../protocol/ids.ts'
import { CATALOG_OFFERS_BURST, CATALOG_REQUESTS_BURST } from '../../protocol/limits.ts'
import { connectionTo, connectTo, startBroker, startNode } from '../helpers/broker-node.ts'
import { eventually } from '../helpers/eventually.ts'
import { requestWith } from '../helpers/offers.ts'
import { createProvider } from '../helpers/providers.ts'
import { refusedWith } from '../helpers/refused-with.ts'

const REQUEST = requestWith({
  need: {
    vcpus: 2,
    memoryBytes: 4 * 2 ** 30,
    formats: ['qcow2'],
    features: ['live'],
    jurisdictions: ['CH', 'EU'],
  },
  want: { price: 1 },
})

/** Compares often, so that a test need not wait. */
const EAGER: BrokerOptions = { compareIntervalMs: 50 }

const idOf = ({ body }: SignedOffer): string => decodeOffer(body).id
const idsOf = (offers: readonly SignedOffer[]): string[] => offers.map(idOf)

test('a broker keeps what is published, lists it by page and by provider, and hands it out as it was signed', async (t) => {
  const node = await startBroker(t)
  const client = await connectTo(t, node)
  const [one, other] = [await createProvider(), await createProvider()]
  const offers = [...(await Promise.all([1, 2, 3].map(() => one.publish()))), await other.publish()]
  t.deepEqual(
    (await client.publish(offers)).map(({ outcome }) => outcome),
    ['kept', 'kept', 'kept', 'kept'],
  )
  const listed: SignedOffer[] = []
  for (let after: Uint8Array | undefined; ;) {
    const page = await client.list({ after, limit: 3 })
    listed.push(...page)
    if (page.length < 3) break
    after = Buffer.from(
      node.broker.catalog.offers.find(({ offer }) => offer.id === idOf(page.at(-1)!))!.position,
      'hex',
    )
  }
  t.deepEqual(idsOf(listed).toSorted(), idsOf(offers).toSorted())
  t.deepEqual(idsOf(await client.list({ peer: other.peer })), [idOf(offers[3])])
  const [same] = await client.list({ peer: other.peer })
  t.deepEqual(Buffer.from(same.body), Buffer.from(offers[3].body))
  t.deepEqual(Buffer.from(same.signature), Buffer.from(offers[3].signature))
})

test('a query gives such as fit, best first, then such as fail, and says how many there are', async (t) => {
  const client = await connectTo(t, await startBroker(t))
  const provider = await createProvider()
  const dear = provider.offer({ price: { ...provider.offer().price!, vcpuHourMicros: 900_000 } })
  const cheap = provider.offer()
  const abroad = provider.offer({ place: { region: '', jurisdiction: 'US' } })
  await client.publish(await Promise.all([dear, cheap, abroad].map(provider.sign)))
  const { offers, considered, fitting } = await client.query({ request: REQUEST, limit: 2, failing: 2 })
  t.deepEqual(idsOf(offers), [cheap.id, dear.id, abroad.id])
  t.deepEqual({ considered, fitting }, { considered: 3, fitting: 2 })
  t.deepEqual(idsOf((await client.query({ request: REQUEST, limit: 1, failing: 0 })).offers), [cheap.id])
})

test('a watch tells what fits, then each better offer and each that is taken back', async (t) => {
  const node = await startBroker(t)
  const [watcher, publisher] = [await connectTo(t, node), await connectTo(t, node)]
  const provider = await createProvider()
  const first = provider.offer()
  await publisher.publish([await provider.sign(first)])
  const watching = watcher.watch({ request: REQUEST, limit: 8 })
  t.deepEqual(idsOf((await watching.next()).value!.offers), [first.id])
  const better = provider.offer()
  const unfit = provider.offer({ place: { region: '', jurisdiction: 'US' } })
  await publisher.publish(await Promise.all([unfit, better].map(provider.sign)))
  t.deepEqual(idsOf((await watching.next()).value!.offers), [better.id])
  await publisher.publish([await provider.withdraw(first)])
  const [taken] = (await watching.next()).value!.offers
  t.like(decodeOffer(taken.body), { id: first.id, withdrawn: true })
})

test('a watcher that asks something else is answered, and told no more', async (t) => {
  const node = await startBroker(t)
  const client = await connectTo(t, node)
  const watching = client.watch({ request: REQUEST, limit: 8 })
  await watching.next()
  t.deepEqual(await client.list({}), [])
})

test('two brokers that hold different offers both hold all of them when they have met, for little more than those', async (t) => {
  const providers = await Promise.all([createProvider(), createProvider()])
  const [mine, theirs] = await Promise.all(
    providers.map((provider) => Promise.all(Array.from({ length: 200 }, () => provider.publish()))),
  )
  const sizes = [...mine, ...theirs].map(({ body, signature }) => body.length + signature.length)
  const moved: number[] = []
  const onCompared: BrokerOptions['onCompared'] = (_, { wireBytes }) => moved.push(wireBytes)
  const one = await startBroker(t, { onCompared })
  await one.broker.catalog.put(mine, 'fetched')
  const other = await startBroker(t, { onCompared })
  await other.broker.catalog.put(theirs, 'fetched')
  other.meet(one)
  for (const { broker } of [one, other])
    await eventually(() => broker.catalog.offers.length === 400 || undefined)
  t.deepEqual(one.broker.catalog.index.children(''), other.broker.catalog.index.children(''))
  await eventually(() => moved.length === 2 || undefined)
  const [movedBytes, missingBytes] = [moved, sizes].map((each) => each.reduce((sum, n) => sum + n, 0))
  t.true(movedBytes < 1.5 * missingBytes, `${movedBytes} bytes for ${missingBytes}`)
})

test('brokers learn from each other through a third', async (t) => {
  const [one, other] = [await startBroker(t, EAGER), await startBroker(t, EAGER)]
  const provider = await createProvider()
  await one.broker.catalog.put(await Promise.all([provider.publish(), provider.publish()]), 'fetched')
  await startBroker(t, { ...EAGER, contacts: [one.addr, other.addr] })
  await eventually(() => other.broker.catalog.offers.length === 2 || undefined)
  t.pass()
})

test('an offer and its tombstone reach brokers further on by gossip', async (t) => {
  const first = await startBroker(t)
  const second = await startBroker(t, { contacts: [first.addr] })
  const third = await startBroker(t, { contacts: [second.addr] })
  for (const [node, count] of [
    [first, 1],
    [second, 2],
    [third, 1],
  ] as const)
    await eventually(() => node.broker.neighbours.length === count || undefined)
  const provider = await createProvider()
  const offer = provider.offer()
  const client = await connectTo(t, first)
  await client.publish([await provider.sign(offer)])
  await eventually(() => third.broker.catalog.offers[0])
  await client.publish([await provider.withdraw(offer)])
  await eventually(() => third.broker.catalog.offers.length === 0 || undefined)
  t.is(second.broker.catalog.offers.length, 0)
})

test('a broker that comes back catches up', async (t) => {
  const first = await startBroker(t)
  const second = await startBroker(t, { contacts: [first.addr] })
  await eventually(() => first.broker.neighbours.length === 1 || undefined)
  await second.stop()
  await eventually(() => first.broker.neighbours.length === 0 || undefined)
  const provider = await createProvider()
  await (await connectTo(t, first)).publish([await provider.publish()])
  const again = await startBroker(t, { contacts: [first.addr] })
  await eventually(() => again.broker.catalog.offers[0])
  t.pass()
})

test('who sends offers in a flood is told to wait, and others are not', async (t) => {
  const node = await startBroker(t)
  const [flooder, other] = [await connectTo(t, node), await connectTo(t, node)]
  const provider = await createProvider()
  const junk = { body: randomBytes(100), signature: new Uint8Array(64) }
  const many = Array.from({ length: 256 }, () => junk)
  const outcomes = new Map<string, number>()
  for (let sent = 0; sent <= CATALOG_OFFERS_BURST + 256; sent += 256)
    for (const { outcome } of await flooder.publish(many))
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  t.is(outcomes.get('malformed'), CATALOG_OFFERS_BURST)
  t.is(outcomes.get('hasty'), 512)
  t.deepEqual(
    (await other.publish([await provider.publish()])).map(({ outcome }) => outcome),
    ['kept'],
  )
  t.like(node.broker.refused(), { malformed: CATALOG_OFFERS_BURST, hasty: 512 })
})

test('who asks without end is refused, then cut off', async (t) => {
  const node = await startBroker(t)
  const client = await connectTo(t, node)
  const asking = (async () => {
    for (let asked = 0; asked < CATALOG_REQUESTS_BURST * 2; asked++) await client.list({ limit: 1 })
  })()
  await refusedWith(t, 'LIMIT_EXCEEDED', asking)
  const goingOn = (async () => {
    for (;;)
      await client.list({ limit: 1 }).catch((error) => {
        if (error.code !== 'LIMIT_EXCEEDED') throw error
      })
  })()
  await refusedWith(t, 'PEER_UNREACHABLE', goingOn)
})

test('a frame that is too long, or no frame at all, ends the stream and is counted', async (t) => {
  const node = await startBroker(t)
  const connection = await connectionTo(t, node)
  for (const bytes of [
    frameControl(new Uint8Array(2 ** 20)),
    frameControl(Uint8Array.of(255, 255, 255)),
    frameControl(encodeCatalog({ kind: 'published', verdicts: [{ outcome: 'kept', message: '' }] })),
  ]) {
    const stream = await connection.newStream(CATALOG_PROTOCOL)
    const ended = new Promise((resolve) => stream.addEventListener('close', resolve))
    stream.send(bytes)
    await ended
  }
  t.like(node.broker.refused(), { oversized: 1, malformed: 2 })
})

test('one peer has a bounded number of streams', async (t) => {
  const node = await startBroker(t)
  const own = await startNode(t)
  // Until the broker has seen the connection open, libp2p has a bound of its own, which ends the connection.
  await (await connectTo(t, node, own)).list({})
  const asking = Array.from({ length: 15 }, async () => (await connectTo(t, node, own)).list({}))
  const answers = await Promise.allSettled(asking)
  t.is(answers.filter(({ status }) => status === 'fulfilled').length, 7)
  t.deepEqual(await (await connectTo(t, node)).list({}), [])
})

test('a comparison with who makes up summaries ends', async (t) => {
  const node = await startBroker(t)
  const liar = await startNode(t)
  let asked = 0
  await liar.handle(CATALOG_PROTOCOL, (stream) => {
    stream.addEventListener('message', () => {
      asked++
      stream.send(
        frameControl(
          encodeCatalog({
            kind: 'summary',
            prefix: new Uint8Array(),
            nodes: [{ prefix: Uint8Array.of(7), entries: 2 ** 31, digest: randomBytes(16) }],
            more: false,
          }),
        ),
      )
    })
  })
  const troubled = Promise.withResolvers<string>()
  await startBroker(t, {
    contacts: [liar.getMultiaddrs()[0].toString()],
    onTrouble: (_, { code }) => troubled.resolve(code),
  })
  t.is(await troubled.promise, 'PROTOCOL_VIOLATION')
  t.true(asked >= 2)
  t.deepEqual(await (await connectTo(t, node)).list({}), [])
})
