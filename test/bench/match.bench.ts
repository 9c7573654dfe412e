/**
 * Speed of the Broker's pure parts, on one core: matching, decoding and examining offers, resolving chains.
 * Usage: node test/bench/match.bench.ts [offers, default 10000] [rounds, default 101]
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { createIdentityKey, parseIdentity } from '../../agent/identity.ts'
import { resolveChain } from '../../broker/chain.ts'
import { match } from '../../broker/match.ts'
import type { Offer } from '../../protocol/catalog-message.ts'
import {
  decodeOffer,
  encodeOffer,
  encodeSignedOffer,
  examineOffer,
  offerPosition,
  offerSigningBytes,
} from '../../protocol/catalog-offer.ts'
import { requestWith } from '../helpers/offers.ts'

const GIB = 2 ** 30
const PLACES = ['CH', 'DE', 'FR', 'US', 'US-CA', 'JP', 'NO', 'IE']
const KINDS = ['raw', 'qcow2', 'vmdk', 'vhd', 'vdi', 'ova']

/** Six needs, and every goal. */
const REQUEST = requestWith({
  need: {
    vcpus: 2,
    memoryBytes: 4 * GIB,
    storageBytes: 20 * GIB,
    formats: ['qcow2'],
    features: ['live'],
    jurisdictions: ['CH', 'EU'],
  },
  want: { price: 3, egress: 1, moveTime: 2, rtt: 1, outcomes: 1 },
  have: { allocatedBytes: 6 * GIB, egressGibMicros: 90_000 },
})

const [count, rounds] = [Number(process.argv[2] ?? 10_000), Number(process.argv[3] ?? 101)]
const identity = parseIdentity(await createIdentityKey())
const offers = Array.from({ length: count }, (_, i) => offerOf(i))
const bodies = offers.map(encodeOffer)
const signed = await Promise.all(
  bodies
    .slice(0, 1000)
    .map(async (body) => ({ body, signature: await identity.sign(offerSigningBytes(body)) })),
)
const facts = new Map(
  offers.slice(0, 100).map(({ peer }, i) => [peer, { rttMs: i, bytesPerSecond: 10 ** 7 + i }]),
)
const fitting = match(offers, REQUEST, { limit: 0, failing: 0 }).fitting

const figures = {
  matchMs: median(() => match(offers, REQUEST, { facts, limit: 16, failing: 16 })),
  matchWholeMs: median(() => match(offers, REQUEST, { facts })),
  chainMs: median(() => resolveChain(['disk/ova'], ['disk/raw'], offers)),
  decodeUs: each(count, () => bodies.forEach(decodeOffer)),
  positionUs: each(count, () => offers.forEach(offerPosition)),
  examineUs: await eachAsync(signed.length, async () => {
    for (const offer of signed) await examineOffer(offer, offers[0].issuedAtMs)
  }),
  offerBytes: Math.round(
    signed.reduce((sum, offer) => sum + encodeSignedOffer(offer).length, 0) / signed.length,
  ),
}
process.stdout.write(
  `${count} offers, ${fitting} fit; medians of ${rounds}\n` +
    `match, 16 + 16 explained   ${figures.matchMs.toFixed(1)} ms\n` +
    `match, all explained       ${figures.matchWholeMs.toFixed(1)} ms\n` +
    `chain                      ${figures.chainMs.toFixed(1)} ms\n` +
    `decode                     ${figures.decodeUs.toFixed(1)} us an offer\n` +
    `position                   ${figures.positionUs.toFixed(1)} us an offer\n` +
    `examine, with signature    ${figures.examineUs.toFixed(1)} us an offer\n` +
    `signed offer               ${figures.offerBytes} bytes\n`,
)
process.stdout.write(
  `${JSON.stringify({
    bench: 'match',
    offers: count,
    fitting,
    ...figures,
    rssMiB: Math.round(process.memoryUsage.rss() / 2 ** 20),
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    node: process.version,
    cores: availableParallelism(),
  })}\n`,
)

function offerOf(i: number): Offer {
  const kinds = [0, 1].map((step) => KINDS[(i + step) % KINDS.length])
  return {
    // Scattered, so that ties are not in order already.
    id: ((i * 2_654_435_761) % 2 ** 32).toString(16).padStart(32, '0'),
    peer: identity.peerId,
    sequence: 1,
    issuedAtMs: 1_780_000_000_000,
    expiresAtMs: 1_780_003_600_000,
    withdrawn: false,
    provider: `Provider ${i}`,
    place: { region: `region-${i % 97}`, jurisdiction: PLACES[i % PLACES.length] },
    cloud: {
      kind: 'qemu',
      formats: i % 3 === 0 ? ['raw'] : ['raw', 'qcow2'],
      features: i % 4 === 0 ? [] : ['live', 'snapshot'],
      certifications: ['iso27001', 'c5'],
    },
    capacity: {
      vcpus: i % 64,
      memoryBytes: (i % 256) * GIB,
      storageBytes: (i % 1000) * GIB,
      maxVolumeBytes: 0,
    },
    price: {
      currency: i % 10 === 0 ? 'USD' : 'EUR',
      vcpuHourMicros: 10_000 + (i % 1013),
      memoryGibHourMicros: 3_000,
      storageGibMonthMicros: 50_000,
      egressGibMicros: i % 90_000,
      ingressGibMicros: 0,
    },
    migrators: [
      { name: 'convert', version: '1.0.0', accepts: [`disk/${kinds[1]}`], produces: [`disk/${kinds[0]}`] },
    ],
    addresses: [`/ip4/192.0.2.${i % 256}/tcp/4001/p2p/${identity.peerId}`],
  }
}

function median(run: () => unknown): number {
  const times = Array.from({ length: rounds }, () => {
    const start = performance.now()
    run()
    return performance.now() - start
  })
  return times.toSorted((a, b) => a - b)[Math.floor(rounds / 2)]
}

/** Microseconds of one of `items`. */
function each(items: number, run: () => void): number {
  return (median(run) * 1000) / items
}

async function eachAsync(items: number, run: () => Promise<void>): Promise<number> {
  await run()
  const start = performance.now()
  await run()
  return ((performance.now() - start) * 1000) / items
}
