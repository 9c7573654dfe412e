/**
 * The Broker's catalogue: 10,000 offers in one broker, how fast it takes and matches them and what memory it needs; and
 * two brokers with 5,000 different offers each that meet. Brokers are real, over libp2p on loopback; the first one is a
 * process of its own.
 *
 *   node --disable-warning=ExperimentalWarning test/bench/catalog.bench.ts [offers]
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { multiaddr } from '@multiformats/multiaddr'
import { openCatalogClient, type CatalogClient } from '../../broker/catalog-client.ts'
import type { SignedOffer } from '../../protocol/catalog-message.ts'
import { CATALOG_PROTOCOL } from '../../protocol/ids.ts'
import { CATALOG_OFFERS_PER_SECOND, MAX_OFFERS_PER_PROVIDER } from '../../protocol/limits.ts'
import { startBroker, startNode } from '../helpers/broker-node.ts'
import { eventually } from '../helpers/eventually.ts'
import { requestWith } from '../helpers/offers.ts'
import { hostedMigrators } from '../../transfer/migrators/registry.ts'
import { createProvider } from '../helpers/providers.ts'
import { createReport } from './report.ts'

const OFFERS = Number(process.argv[2] ?? 10_000)
const QUERIES = 60
const FILL_OFFERS = 256
const SUSTAINED_SECONDS = 12
/** Each is bounded; so many together publish what is asked for. */
const PUBLISHERS = 12
const MiB = 2 ** 20

const REQUEST = requestWith({
  need: {
    vcpus: 2,
    memoryBytes: 4 * 2 ** 30,
    storageBytes: 20 * 2 ** 30,
    formats: ['qcow2'],
    features: ['live'],
    jurisdictions: ['CH', 'EU'],
  },
  want: { price: 3, egress: 1, moveTime: 2 },
  have: { allocatedBytes: 6 * 2 ** 30, egressGibMicros: 90_000 },
})

const owned: (() => unknown)[] = []
const owner = { teardown: (end: () => unknown) => void owned.push(end) } as never
const HOSTED = hostedMigrators({ clouds: ['qemu'], formats: ['raw', 'qcow2'] })
const PLACES = ['CH', 'DE', 'FR', 'US', 'SG', 'BR']

/** Offers of as many providers as they need, no two alike. */
async function makeOffers(count: number): Promise<SignedOffer[]> {
  const offers: SignedOffer[] = []
  while (offers.length < count) {
    const provider = await createProvider()
    const most = Math.min(MAX_OFFERS_PER_PROVIDER / 4, count - offers.length)
    for (let n = 0; n < most; n++) {
      const at = offers.length
      offers.push(
        await provider.publish({
          provider: `Cloud ${at}`,
          place: { region: `region-${at % 97}`, jurisdiction: PLACES[at % PLACES.length] },
          cloud: {
            kind: 'qemu',
            formats: at % 3 === 0 ? ['raw'] : ['raw', 'qcow2'],
            features: at % 2 === 0 ? ['live'] : [],
            certifications: ['iso27001'],
          },
          // What an agent with QEMU hosts: the larger half of an offer.
          migrators: HOSTED,
          price: { ...provider.offer().price!, vcpuHourMicros: 10_000 + ((at * 7919) % 50_000) },
        }),
      )
    }
  }
  return offers
}

const bytesOf = (offers: readonly SignedOffer[]): number =>
  offers.reduce((sum, { body, signature }) => sum + body.length + signature.length, 0)

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]

/** Offers for the broker to keep: bodies and signatures, base64. */
type Filling = readonly (readonly [body: string, signature: string])[]

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

/** One broker alone, which tells its memory when asked. */
async function serve(): Promise<void> {
  process.on('disconnect', () => process.exit())
  const { addr, broker } = await startBroker(owner)
  const answer = async (texts: Filling): Promise<void> => {
    const signed = texts.map(([body, signature]) => ({
      body: Buffer.from(body, 'base64'),
      signature: Buffer.from(signature, 'base64'),
    }))
    // Kept as a comparison with another broker would bring them; publishing is bounded for each peer and host.
    if (signed.length > 0) await broker.catalog.put(signed, 'fetched')
    const { rss } = process.memoryUsage()
    const cpu = process.cpuUsage()
    process.send!({ rss, offers: broker.catalog.offers.length, cpuMs: (cpu.user + cpu.system) / 1000 })
  }
  process.on('message', (texts: Filling) => void answer(texts))
  process.send!({ addr })
}

async function measure(): Promise<void> {
  const report = createReport()
  report.progress(`Signing ${2 * OFFERS} offers`)
  const [offers, more] = [await makeOffers(OFFERS), await makeOffers(OFFERS)]

  const child = fork(import.meta.filename, ['serve'], { execArgv: process.execArgv })
  owned.push(() => child.kill())
  const [{ addr }] = (await once(child, 'message')) as [{ addr: string }]
  const ask = async (
    fill: readonly SignedOffer[] = [],
  ): Promise<{ rss: number; offers: number; cpuMs: number }> => {
    // A few at a time, as they come from brokers: one long message would be measured as memory of the broker.
    for (let at = 0; ; at += FILL_OFFERS) {
      const few = fill.slice(at, at + FILL_OFFERS)
      child.send(few.map(({ body, signature }) => [base64(body), base64(signature)] as const))
      const [told] = (await once(child, 'message')) as [{ rss: number; offers: number; cpuMs: number }]
      if (at + FILL_OFFERS >= fill.length) return told
    }
  }
  const empty = await ask()
  const clients: CatalogClient[] = []
  for (let n = 0; n < PUBLISHERS; n++) {
    const connection = await (await startNode(owner)).dial(multiaddr(addr))
    clients.push(openCatalogClient(await connection.newStream(CATALOG_PROTOCOL)))
  }

  report.progress(`Filling the broker with ${OFFERS} offers`)
  const begun = performance.now()
  const full = await ask(offers)
  const fillSeconds = (performance.now() - begun) / 1000

  report.progress('Matching')
  const times: number[] = []
  let fitting = 0
  for (let n = 0; n < QUERIES; n++) {
    const asked = performance.now()
    fitting = (await clients[n % PUBLISHERS].query({ request: REQUEST, limit: 16, failing: 16 })).fitting
    times.push(performance.now() - asked)
  }

  // Within what a peer may send for ever, one offer a frame: as many agents renew theirs.
  report.progress(`Publishing for ${SUSTAINED_SECONDS} s`)
  const sustained = Math.min(more.length, SUSTAINED_SECONDS * CATALOG_OFFERS_PER_SECOND * PUBLISHERS)
  const before = await ask()
  const second = await publish(clients, more.slice(0, sustained), 0.9 * CATALOG_OFFERS_PER_SECOND)
  const after = await ask()
  child.kill()

  const meeting = await meet(offers.slice(0, OFFERS / 2), more.slice(0, OFFERS / 2))
  const figures = {
    offers: full.offers,
    offerBytes: bytesOf(offers) / offers.length,
    fillPerSecond: full.offers / fillSeconds,
    matchMedianMs: median(times),
    matchWorstMs: Math.max(...times),
    fitting,
    rssEmptyMiB: empty.rss / MiB,
    rssMiB: full.rss / MiB,
    rssPerOfferKiB: (full.rss - empty.rss) / full.offers / 1024,
    rssAfterMiB: after.rss / MiB,
    sustainedPerSecond: second.perSecond,
    sustainedSeconds: second.seconds,
    sustainedRefused: second.refused,
    sustainedCpuShare: (after.cpuMs - before.cpuMs) / 1000 / second.seconds,
    ...meeting,
  }
  report.table(
    `One broker with ${full.offers} offers, and two that meet with ${OFFERS / 2} each`,
    ['figure', 'value'],
    Object.entries(figures).map(([name, value]) => [name, String(Math.round(value * 100) / 100)]),
  )
  report.json({ bench: 'catalog', ...figures })
}

/** Every offer once, over all clients; each sends `perSecond` at most. */
async function publish(
  clients: readonly CatalogClient[],
  offers: readonly SignedOffer[],
  perSecond: number,
): Promise<{ seconds: number; perSecond: number; refused: number }> {
  let refused = 0
  let next = 0
  const begun = performance.now()
  await Promise.all(
    clients.map(async (client) => {
      for (let sent = 0; next < offers.length;) {
        const dueMs = (sent / perSecond) * 1000 - (performance.now() - begun)
        if (dueMs > 1) await new Promise((resolve) => setTimeout(resolve, dueMs))
        const [{ outcome }] = await client.publish([offers[next++]])
        sent++
        if (outcome !== 'kept') refused++
      }
    }),
  )
  const seconds = (performance.now() - begun) / 1000
  return { seconds, perSecond: (offers.length - refused) / seconds, refused }
}

/** Two brokers of this process that hold different offers, from their first contact until both hold all. */
async function meet(mine: readonly SignedOffer[], theirs: readonly SignedOffer[]) {
  const moved: number[] = []
  const onCompared = (_: string, { wireBytes }: { wireBytes: number }): void => void moved.push(wireBytes)
  const [one, other] = [await startBroker(owner, { onCompared }), await startBroker(owner, { onCompared })]
  await one.broker.catalog.put(mine, 'fetched')
  await other.broker.catalog.put(theirs, 'fetched')
  const begun = performance.now()
  other.meet(one)
  for (const { broker } of [one, other])
    await eventually(() => broker.catalog.offers.length === mine.length + theirs.length || undefined)
  const seconds = (performance.now() - begun) / 1000
  await eventually(() => moved.length >= 2 || undefined)
  const bytes = moved.reduce((sum, each) => sum + each, 0)
  return {
    meetSeconds: seconds,
    meetWireMiB: bytes / MiB,
    meetMissingMiB: (bytesOf(mine) + bytesOf(theirs)) / MiB,
    meetOverhead: bytes / (bytesOf(mine) + bytesOf(theirs)),
  }
}

if (process.argv[2] === 'serve') await serve()
else {
  await measure()
  for (const end of owned.toReversed()) await end()
  process.exit()
}
