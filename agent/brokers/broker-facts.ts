/**
 * What this agent knows of providers beside their offers, for matching: past moves by its own receipts, the rate they
 * went at, and, if the request weighs it, the round trip, as a TCP connection to an offered address takes it.
 */
import { createConnection } from 'node:net'
import { multiaddr } from '@multiformats/multiaddr'
import type { Offer } from '../../protocol/catalog-message.ts'
import { MAX_PROVIDERS_MEASURED, PROVIDER_MEASURE_TIMEOUT_MS } from '../../protocol/limits.ts'
import type { Facts, PeerFacts } from '../../broker/peer-facts.ts'
import type { JobReport } from '../reports/job-reports.ts'

/** Below this a job says little about a line. */
const MIN_RATED_BYTES = 16 * 2 ** 20

/** Outcomes and rates of the jobs that this agent sent. */
export function factsOfJobs(jobs: readonly JobReport[]): Map<string, PeerFacts> {
  const facts = new Map<string, PeerFacts>()
  for (const job of jobs) {
    if (job.direction !== 'out' || (job.state !== 'complete' && job.state !== 'failed')) continue
    const before = facts.get(job.peer)
    const { complete, failed } = before?.outcomes ?? { complete: 0, failed: 0 }
    // Of several, the fastest: a rate limit or a busy disk says nothing about the line.
    const rate = job.state === 'complete' ? rateOf(job) : undefined
    const bytesPerSecond = Math.max(rate ?? 0, before?.bytesPerSecond ?? 0) || undefined
    const outcomes =
      job.state === 'complete' ? { complete: complete + 1, failed } : { complete, failed: failed + 1 }
    facts.set(job.peer, { ...before, ...(bytesPerSecond && { bytesPerSecond }), outcomes })
  }
  return facts
}

function rateOf({ sentBytes, seconds }: JobReport): number | undefined {
  return sentBytes >= MIN_RATED_BYTES && seconds > 0 ? sentBytes / seconds : undefined
}

/** Adds round trips to `facts`, for the first MAX_PROVIDERS_MEASURED providers of `offers`. */
export async function measureRoundTrips(
  offers: readonly Offer[],
  facts: Facts,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Facts> {
  const byPeer = new Map(offers.map((offer) => [offer.peer, offer]))
  const measured = [...byPeer.values()].slice(0, MAX_PROVIDERS_MEASURED).map(async (offer) => {
    const times = await Promise.all(offer.addresses.map((addr) => connectMs(addr, signal)))
    const known = times.filter((ms) => ms !== undefined)
    return [offer.peer, known.length > 0 ? Math.min(...known) : undefined] as const
  })
  const result = new Map(facts)
  for (const [peer, rttMs] of await Promise.all(measured))
    if (rttMs !== undefined) result.set(peer, { ...result.get(peer), rttMs })
  return result
}

/** Time to open a TCP connection, ms to two digits; nothing is sent. Undefined: not a direct TCP address, or nobody there. */
async function connectMs(text: string, signal: AbortSignal | undefined): Promise<number | undefined> {
  const target = tcpTarget(text)
  if (!target) return undefined
  const begun = performance.now()
  const socket = createConnection(target)
  const { promise, resolve } = Promise.withResolvers<number | undefined>()
  socket.once('connect', () => resolve(Math.round((performance.now() - begun) * 100) / 100))
  socket.once('error', () => resolve(undefined))
  const stop = (): void => resolve(undefined)
  const timer = setTimeout(stop, PROVIDER_MEASURE_TIMEOUT_MS)
  signal?.addEventListener('abort', stop)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
    socket.destroy()
  }
}

function tcpTarget(text: string): { host: string; port: number } | undefined {
  try {
    const [host, port, ...rest] = multiaddr(text).getComponents()
    const isDirect = rest.every(({ name }) => name === 'p2p')
    if (!/^(ip4|ip6|dns|dns4|dns6)$/.test(host.name) || port?.name !== 'tcp' || !isDirect) return undefined
    return { host: host.value!, port: Number(port.value) }
  } catch {
    return undefined
  }
}
