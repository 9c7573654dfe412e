import type { Stream } from '@libp2p/interface'
import test, { type ExecutionContext } from 'ava'
import { createBrokerClient, type BrokerClient } from '../../../agent/brokers/broker-client.ts'
import { createMatcher } from '../../../agent/brokers/broker-matching.ts'
import { decodeCatalog, encodeCatalog, framesOf } from '../../../protocol/catalog-codec.ts'
import type { CatalogMessage, SignedOffer } from '../../../protocol/catalog-message.ts'
import { frameControl, createFrameReader } from '../../../protocol/frame-reader.ts'
import { CATALOG_PROTOCOL } from '../../../protocol/ids.ts'
import {
  MAX_CATALOG_BYTES,
  MAX_CATALOG_FRAME_BYTES,
  MAX_OFFER_BYTES,
  MAX_OFFERS_PER_ANSWER,
} from '../../../protocol/limits.ts'
import { connectTo, startBroker, startNode } from '../../helpers/broker-node.ts'
import { requestWith } from '../../helpers/offers.ts'
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

/** A broker that has its own way with each request. */
async function startRogue(
  t: ExecutionContext,
  answer: (request: CatalogMessage, send: (answer: CatalogMessage) => boolean, stream: Stream) => void,
): Promise<string> {
  const node = await startNode(t)
  await node.handle(CATALOG_PROTOCOL, (stream) => {
    const reader = createFrameReader(MAX_CATALOG_FRAME_BYTES)
    const send = (message: CatalogMessage) => stream.send(frameControl(encodeCatalog(message)))
    stream.addEventListener('message', ({ data }) => {
      for (const frame of reader.push(data.subarray())) answer(decodeCatalog(frame), send, stream)
    })
  })
  return node.getMultiaddrs()[0].toString()
}

function offersOf(offers: readonly SignedOffer[], more = false): CatalogMessage {
  return { kind: 'offers', offers, more, considered: 0, fitting: 0 }
}

const junkOf = (bytes: number): SignedOffer => ({
  body: new Uint8Array(bytes),
  signature: new Uint8Array(64),
})

test('a broker that lists more than any may hold is not listened to for longer', async (t) => {
  // Believed to be there, so that the next page is asked for.
  const last = await (await createProvider()).publish()
  const page = [...Array.from({ length: MAX_OFFERS_PER_ANSWER - 1 }, () => junkOf(MAX_OFFER_BYTES)), last]
  let pages = 0
  const rogue = await startRogue(t, (_, send) => {
    pages++
    const frames = [...framesOf(page)]
    for (const [at, part] of frames.entries()) send(offersOf(part, at < frames.length - 1))
  })
  const { client } = await clientOf(t)
  await refusedWith(t, 'PROTOCOL_VIOLATION', client.list([rogue]))
  t.is(pages, Math.floor(MAX_CATALOG_BYTES / (page.length * MAX_OFFER_BYTES)) + 1)
})

test('a broker that answers with longer offers than there are is not listened to', async (t) => {
  const rogue = await startRogue(t, (_, send) => send(offersOf([junkOf(MAX_OFFER_BYTES + 65)])))
  const { client } = await clientOf(t)
  await refusedWith(t, 'PROTOCOL_VIOLATION', client.list([rogue]))
})

test('a broker that tells a watcher more news than it looks at is cut off', async (t) => {
  const cut = Promise.withResolvers<string>()
  const frame = offersOf(Array.from({ length: 15 }, () => junkOf(MAX_OFFER_BYTES)))
  const FRAMES = 256
  const rogue = await startRogue(t, (request, send, stream) => {
    send(offersOf([]))
    if (request.kind !== 'watch') return
    stream.addEventListener('close', () => cut.resolve('cut'))
    let sent = 0
    const pour = (): void => {
      while (sent < FRAMES && stream.status === 'open') {
        sent++
        if (!send(frame)) return
      }
      if (sent === FRAMES) cut.resolve('all was taken')
    }
    stream.addEventListener('drain', pour)
    pour()
  })
  const { client } = await clientOf(t)
  const matcher = createMatcher({ client, jobs: () => [] })
  const stop = new AbortController()
  const watching = matcher.watch(requestWith({}), { brokers: [rogue] }, { signal: stop.signal })
  await watching.next()
  t.is(await cut.promise, 'cut')
  stop.abort()
  await watching.return(undefined)
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
