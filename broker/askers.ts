/**
 * What one peer, one host and all together may ask of a broker: streams, offers, requests, bytes of answers, and time of
 * the thread that answers. Peers cost nothing to make up, so what is refused to one is refused to its host soon after.
 */
import { createAllowance } from '../protocol/allowance.ts'
import {
  CATALOG_ANSWER_BURST_BYTES,
  CATALOG_ANSWER_BYTES_PER_SECOND,
  CATALOG_OFFERS_BURST,
  CATALOG_OFFERS_PER_SECOND,
  CATALOG_REQUESTS_BURST,
  CATALOG_REQUESTS_PER_SECOND,
  CATALOG_WORK_BURST_MS,
  CATALOG_WORK_MS_PER_SECOND,
  MAX_CATALOG_STREAMS,
  MAX_CATALOG_STREAMS_PER_HOST,
  MAX_CATALOG_STREAMS_PER_PEER,
} from '../protocol/limits.ts'

/** Peers and hosts whose recent requests are remembered. */
const MAX_REMEMBERED = 8192
/** Agents behind one address, together, may do this many times what one may; and take so much more of the time. */
const PEERS_PER_HOST = 8
const WORK_PER_HOST = 4

/** Who asks. */
export interface Asker {
  readonly peer: string
  readonly host: string
}

export interface Allowed {
  /** False when the peer, or its host, has asked for too much lately. */
  take(asker: Asker, tokens?: number): boolean
  /** Counts what shows only afterwards. */
  spend(asker: Asker, tokens: number): void
}

export interface Askers {
  readonly offers: Allowed
  readonly requests: Allowed
  readonly answers: Allowed
  /** In ms. */
  readonly work: Allowed
  /** Streams open now. */
  readonly streams: number
  /** One more stream until disposed; undefined when there are as many as may be. */
  enter(asker: Asker): Disposable | undefined
}

export function createAskers(): Askers {
  const open = new Map<string, number>()
  let streams = 0

  const count = (key: string, more: number): void => {
    const now = (open.get(key) ?? 0) + more
    if (now > 0) open.set(key, now)
    else open.delete(key)
  }

  function enter({ peer, host }: Asker): Disposable | undefined {
    // A peer ID is no address: the two never meet.
    const isFull =
      streams >= MAX_CATALOG_STREAMS ||
      (open.get(peer) ?? 0) >= MAX_CATALOG_STREAMS_PER_PEER ||
      (open.get(host) ?? 0) >= MAX_CATALOG_STREAMS_PER_HOST
    if (isFull) return undefined
    streams++
    for (const key of [peer, host]) count(key, 1)
    return {
      [Symbol.dispose]: () => {
        streams--
        for (const key of [peer, host]) count(key, -1)
      },
    }
  }

  return {
    offers: allowed(CATALOG_OFFERS_BURST, CATALOG_OFFERS_PER_SECOND),
    requests: allowed(CATALOG_REQUESTS_BURST, CATALOG_REQUESTS_PER_SECOND),
    answers: allowed(CATALOG_ANSWER_BURST_BYTES, CATALOG_ANSWER_BYTES_PER_SECOND),
    work: allowed(CATALOG_WORK_BURST_MS, CATALOG_WORK_MS_PER_SECOND, WORK_PER_HOST),
    get streams() {
      return streams
    },
    enter,
  }
}

/** Bounds on one peer, and on all of one host. */
function allowed(burst: number, perSecond: number, perHost: number = PEERS_PER_HOST): Allowed {
  const [peers, hosts] = [1, perHost].map((times) =>
    createAllowance({ burst: burst * times, perSecond: perSecond * times, maxKeys: MAX_REMEMBERED }),
  )
  return {
    take: ({ peer, host }, tokens = 1) => peers.take(peer, tokens) && hosts.take(host, tokens),
    spend: ({ peer, host }, tokens) => {
      peers.spend(peer, tokens)
      hosts.spend(host, tokens)
    },
  }
}
