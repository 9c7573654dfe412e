/**
 * Many brokers in one process, over memory: what gossip and comparisons cost each of them, and how long news takes to
 * reach all, for growing numbers. Broker, catalogue, gossip and replication are the real ones; there is no network, no
 * encryption and no disk. All share one thread, so times are its processor time and not those of a network.
 *
 *   node --disable-warning=ExperimentalWarning test/bench/broker-swarm.bench.ts [nodes ...] [--offers 50]
 */
import { setTimeout as delay } from 'node:timers/promises'
import { openBroker, type Broker } from '../../broker/broker.ts'
import { decodeOffer } from '../../protocol/catalog-offer.ts'
import { CATALOG_PROTOCOL, GOSSIP_PROTOCOL } from '../../protocol/ids.ts'
import { createMemoryMesh, type MemoryNode } from '../helpers/memory-mesh.ts'
import { createMemoryRows } from '../helpers/memory-rows.ts'
import { createProvider, positionOf } from '../helpers/providers.ts'
import { createReport } from './report.ts'

/** Contacts that each broker is told of; so each has about twice as many neighbours. */
const CONTACTS = 3
/** Longer than brokers wait from one comparison to the next. */
const IDLE_MS = 40_000
const GIVE_UP_MS = 180_000
const POLL_MS = 100

const { sizes, offers: OFFERS } = parseArguments(process.argv.slice(2))
const report = createReport()

interface Member {
  readonly memory: MemoryNode
  readonly broker: Broker
}

interface Figures {
  readonly nodes: number
  readonly offers: number
  readonly neighbours: number
  /** Of one node that holds all offers, when there is nothing new. */
  readonly idleCpuMsPerSecond: number
  readonly idleBytesPerSecond: number
  /** Of one node, for each offer: sent by gossip, and for comparisons; processor time. */
  readonly gossipBytes: number
  readonly compareBytes: number
  readonly cpuMs: number
  /** Until the last node has an offer, ms: median and longest of all offers. */
  readonly spreadMedianMs: number
  readonly spreadLongestMs: number
  /** Part of what nodes learned by comparing. */
  readonly fetchedShare: number
  /** One that comes later and knows nothing: until it has all, ms, and bytes sent to it and by it. */
  readonly newcomerMs: number
  readonly newcomerBytes: number
  readonly rssBytes: number
  readonly wallSeconds: number
}

const results: Figures[] = []
for (const size of sizes) results.push(await simulate(size))
report.table(
  `${OFFERS} offers among brokers of one process, each with ${CONTACTS} contacts; figures are for one node`,
  [
    'nodes',
    'neighbours',
    'idle ms/s',
    'idle B/s',
    'gossip B/offer',
    'compare B/offer',
    'ms/offer',
    'spread ms',
    'longest ms',
    'fetched',
    'newcomer ms',
    'newcomer KiB',
    'RSS MiB',
  ],
  results.map((each) => [
    String(each.nodes),
    each.neighbours.toFixed(1),
    each.idleCpuMsPerSecond.toFixed(2),
    each.idleBytesPerSecond.toFixed(0),
    each.gossipBytes.toFixed(0),
    each.compareBytes.toFixed(0),
    each.cpuMs.toFixed(2),
    each.spreadMedianMs.toFixed(0),
    each.spreadLongestMs.toFixed(0),
    `${(100 * each.fetchedShare).toFixed(1)} %`,
    each.newcomerMs.toFixed(0),
    (each.newcomerBytes / 1024).toFixed(0),
    (each.rssBytes / 2 ** 20).toFixed(0),
  ]),
)
for (const each of results) report.json({ bench: 'broker-swarm', ...each })
process.exit(0)

async function simulate(size: number): Promise<Figures> {
  const begun = performance.now()
  const mesh = createMemoryMesh()
  const members: Member[] = []
  /** When each offer was published, and how many nodes have it. */
  const published = new Map<string, { at: number; had: number; done: (tookMs: number) => void }>()
  let fetched = 0
  let learned = 0

  async function join(): Promise<Member> {
    const memory = await mesh.add()
    const contacts = pick(members, Math.min(CONTACTS, members.length)).map(({ memory: { node } }) =>
      node.peerId.toString(),
    )
    const broker = await openBroker(
      {
        level: createMemoryRows(),
        node: memory.node,
        privateKey: memory.privateKey,
        hostOf: ({ remotePeer }) => remotePeer.toString(),
        neighbourhood: {
          connect: async (contact) => memory.connect(contact),
          openStream: (connection) => connection.newStream(CATALOG_PROTOCOL),
          keep: () => ({ [Symbol.dispose]: () => {} }),
        },
      },
      { contacts },
    )
    broker.catalog.onKept((kept, origin) => {
      for (const { position } of kept) {
        const offer = published.get(position)
        if (!offer) continue
        offer.had++
        if (origin !== 'published') learned++
        if (origin === 'fetched') fetched++
        if (offer.had === size) offer.done(performance.now() - offer.at)
      }
    })
    const member = { memory, broker }
    members.push(member)
    return member
  }

  report.progress(`${size} nodes: they meet`)
  for (let i = 0; i < size; i++) await join()
  await until(() => members.every(({ broker }) => broker.neighbours.length >= Math.min(CONTACTS, size - 1)))
  // The second comparison of new neighbours, and gossip that grafts its mesh.
  await delay(5_000)

  report.progress(`${size} nodes: ${OFFERS} offers`)
  const provider = await createProvider()
  const spread: number[] = []
  const news = await measured(members, async () => {
    for (let i = 0; i < OFFERS; i++) {
      const offer = await provider.publish()
      const done = Promise.withResolvers<number>()
      published.set(positionOf(decodeOffer(offer.body)), {
        at: performance.now(),
        had: 0,
        done: done.resolve,
      })
      const { catalog } = members[Math.floor(Math.random() * members.length)].broker
      await catalog.put([offer], 'published')
      // One at a time, so that none waits for the thread behind another.
      spread.push(await Promise.race([done.promise, delay(GIVE_UP_MS, Infinity, { ref: false })]))
    }
  })
  if (!spread.every(Number.isFinite))
    throw new Error(`An offer did not reach all within ${GIVE_UP_MS / 1000} s`)
  spread.sort((a, b) => a - b)

  const fetchedShare = learned === 0 ? 0 : fetched / learned
  report.progress(`${size} nodes: nothing happens`)
  const idle = await measured(members, () => delay(IDLE_MS))

  report.progress(`${size} nodes: one more`)
  const joined = performance.now()
  const before = bytesOf(members)
  const newcomer = await join()
  await until(() => newcomer.broker.catalog.offers.length === OFFERS)
  const newcomerMs = performance.now() - joined
  // What its neighbours sent it is hard to tell from their gossip: the comparisons alone.
  const newcomerBytes = bytesOf(members).compare - before.compare
  const neighbours = members.reduce((sum, { broker }) => sum + broker.neighbours.length, 0) / members.length
  const rssBytes = process.memoryUsage.rss()
  await Promise.all(members.map(({ broker }) => broker[Symbol.asyncDispose]()))
  const idleFor = idle.cpuMs / (idle.wallMs / 1000) / size
  return {
    nodes: size,
    offers: OFFERS,
    neighbours,
    idleCpuMsPerSecond: idleFor,
    idleBytesPerSecond: (idle.gossip + idle.compare) / (idle.wallMs / 1000) / size,
    gossipBytes: news.gossip / size / OFFERS,
    compareBytes: news.compare / size / OFFERS,
    cpuMs: Math.max(0, news.cpuMs / size - (idleFor * news.wallMs) / 1000) / OFFERS,
    spreadMedianMs: spread[spread.length >> 1],
    spreadLongestMs: spread.at(-1)!,
    fetchedShare,
    newcomerMs,
    newcomerBytes,
    rssBytes,
    wallSeconds: (performance.now() - begun) / 1000,
  }
}

/** What all nodes sent, and what this process worked, while `work` went on. */
async function measured(
  members: readonly Member[],
  work: () => Promise<unknown>,
): Promise<{ cpuMs: number; wallMs: number; gossip: number; compare: number }> {
  const before = bytesOf(members)
  const [cpu, wall] = [process.cpuUsage(), performance.now()]
  await work()
  const { user, system } = process.cpuUsage(cpu)
  const after = bytesOf(members)
  return {
    cpuMs: (user + system) / 1000,
    wallMs: performance.now() - wall,
    gossip: after.gossip - before.gossip,
    compare: after.compare - before.compare,
  }
}

function bytesOf(members: readonly Member[]): { gossip: number; compare: number } {
  const sum = (protocol: string) =>
    members.reduce((total, { memory }) => total + (memory.sent.get(protocol) ?? 0), 0)
  return { gossip: sum(GOSSIP_PROTOCOL), compare: sum(CATALOG_PROTOCOL) }
}

function pick<T>(all: readonly T[], count: number): T[] {
  const rest = [...all]
  return Array.from({ length: count }, () => rest.splice(Math.floor(Math.random() * rest.length), 1)[0])
}

async function until(isDone: () => boolean): Promise<void> {
  const deadline = performance.now() + GIVE_UP_MS
  while (!isDone()) {
    if (performance.now() > deadline) throw new Error(`Not within ${GIVE_UP_MS / 1000} s`)
    await delay(POLL_MS)
  }
}

function parseArguments(args: readonly string[]): { sizes: number[]; offers: number } {
  const at = args.indexOf('--offers')
  const offers = at === -1 ? 50 : Number(args[at + 1])
  const given = args.filter((_, i) => at === -1 || (i !== at && i !== at + 1)).map(Number)
  if (![...given, offers].every((count) => Number.isInteger(count) && count > 1))
    throw new Error('Usage: broker-swarm.bench.ts [nodes ...] [--offers 50]')
  return { sizes: given.length > 0 ? given : [10, 100, 1000], offers }
}
