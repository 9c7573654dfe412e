/**
 * What is known of a connection to a peer: how far it is, by the kernel and by pings of our own, because the ping service
 * of libp2p counts whole milliseconds only; whether its line loses packets, as lanes saw; and which minor both ends speak.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection } from '@libp2p/interface'
import { FluidError } from '../../protocol/errors.ts'
import { NEAR_ROUND_TRIP_MS } from '../../protocol/limits.ts'
import { leastRoundTripMs } from '../mesh/tcp-socket.ts'

const PING_PROTOCOL = '/ipfs/ping/1.0.0'
const PING_BYTES = 32
const PINGS = 5
const PING_TIMEOUT_MS = 5_000

/** An agent that has just started takes this long to answer next door; what took longer came from afar. */
const DOUBTFUL_MS = 4 * NEAR_ROUND_TRIP_MS
/** How long a line is taken for one that loses packets after lanes saw it lose some. */
const LOSSY_MS = 10 * 60_000
/** How long a doubt is worth waiting for. */
const PATIENCE_MS = 2 * NEAR_ROUND_TRIP_MS

export interface LineMeter {
  /** The shortest round trip so far, ms; Infinity while none is known. No line is faster than it is. */
  readonly shortestMs: number
  /** Resolves when the pings are over. */
  readonly settled: Promise<void>
  /** Takes into account what else took a round trip, at least. */
  note(roundTripMs: number): void
  /** Lanes saw the line lose packets, not long ago. */
  readonly loses: boolean
  noteLosses(): void
  /** Of the viaduct protocol, that both ends speak; 0 before it was told. */
  minor: number
}

const meters = new WeakMap<Connection, LineMeter>()

/**
 * The meter of a connection. The kernel knows best how far the other end of a TCP connection is, however busy both are;
 * but not what lies behind a proxy there, which pings show. The first call sends a few pings beside whatever else goes
 * on, so that nobody waits for them; they end as soon as one shows that the peer is near.
 */
export function lineMeter(connection: Connection): LineMeter {
  const known = meters.get(connection)
  if (known) return known
  const kernelMs = leastRoundTripMs(connection) ?? Infinity
  let answeredMs = Infinity
  let heard = false
  let over = false
  let lossyUntil = -Infinity
  const note = (roundTripMs: number) => void (answeredMs = Math.min(answeredMs, roundTripMs))
  const measure = async () => {
    for await (const ms of pings(connection, AbortSignal.timeout(PING_TIMEOUT_MS))) {
      heard = true
      note(ms)
      if (ms <= NEAR_ROUND_TRIP_MS) return
    }
  }
  const settled = measure().then(
    () => void (over = true),
    () => {
      // A peer that answers no ping is asked again another time.
      if (!heard) meters.delete(connection)
    },
  )
  const meter: LineMeter = {
    get shortestMs() {
      return over && answeredMs >= DOUBTFUL_MS ? answeredMs : Math.min(kernelMs, answeredMs)
    },
    settled,
    note,
    get loses() {
      return performance.now() < lossyUntil
    },
    noteLosses: () => void (lossyUntil = performance.now() + LOSSY_MS),
    minor: 0,
  }
  meters.set(connection, meter)
  return meter
}

/** Whether a round trip is worth saving; false where none was measured. */
export function isFar({ roundTripMs = 0 }: { readonly roundTripMs?: number }): boolean {
  return roundTripMs > NEAR_ROUND_TRIP_MS
}

/** What the meter knows; where it leaves in doubt whether the peer is near, it has a little more time. */
export async function nearness(meter: Pick<LineMeter, 'shortestMs' | 'settled'>): Promise<number> {
  const { shortestMs } = meter
  if (shortestMs > NEAR_ROUND_TRIP_MS && shortestMs < DOUBTFUL_MS)
    await Promise.race([meter.settled, delay(PATIENCE_MS)])
  return meter.shortestMs
}

/** The median of a few round trips on one stream, ms, once the meter's own are over. Throws PEER_UNREACHABLE. */
export async function roundTrip(connection: Connection, signal: AbortSignal): Promise<number> {
  await meters.get(connection)?.settled
  const times: number[] = []
  for await (const ms of pings(connection, signal)) times.push(ms)
  // The first one also waits for the protocol to be agreed upon.
  return times.slice(1).toSorted((a, b) => a - b)[(times.length - 1) >> 1]
}

/** Round trips on one stream, one after the other. */
async function* pings(connection: Connection, signal: AbortSignal): AsyncGenerator<number> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(PING_TIMEOUT_MS)])
  const failed = (cause: unknown): never => {
    signal.throwIfAborted()
    throw new FluidError('PEER_UNREACHABLE', 'The peer does not answer a ping', { cause })
  }
  const options = { signal: deadline, runOnLimitedConnection: true }
  const stream = await connection.newStream(PING_PROTOCOL, options).catch(failed)
  const stop = (): void => stream.abort(new FluidError('TIMEOUT', 'The peer did not answer a ping'))
  deadline.addEventListener('abort', stop, { once: true })
  try {
    const answers = stream[Symbol.asyncIterator]()
    for (let i = 0; i <= PINGS; i++) {
      const sentAt = performance.now()
      stream.send(randomBytes(PING_BYTES))
      for (let heard = 0; heard < PING_BYTES;) {
        const { done, value } = await answers.next().catch(failed)
        if (done) return failed(undefined)
        heard += value.byteLength
      }
      yield performance.now() - sentAt
    }
  } finally {
    deadline.removeEventListener('abort', stop)
    await stream.close({ signal: AbortSignal.timeout(PING_TIMEOUT_MS) }).catch(() => {})
  }
}
