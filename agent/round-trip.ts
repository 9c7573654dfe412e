/** How far away a peer is: pings of our own, because the ping service of libp2p counts whole milliseconds only. */
import { randomBytes } from 'node:crypto'
import type { Connection } from '@libp2p/interface'
import { FluidError } from '../protocol/errors.ts'

const PING_PROTOCOL = '/ipfs/ping/1.0.0'
const PING_BYTES = 32
const PINGS = 5
const PING_TIMEOUT_MS = 5_000

/** The median of a few round trips on one stream, ms. Throws PEER_UNREACHABLE; the peer answers one at a time. */
export async function roundTrip(connection: Connection, signal: AbortSignal): Promise<number> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(PING_TIMEOUT_MS)])
  const failed = (cause: unknown): never => {
    signal.throwIfAborted()
    throw new FluidError('PEER_UNREACHABLE', 'The peer does not answer a ping', { cause })
  }
  const stream = await connection.newStream(PING_PROTOCOL, { signal: deadline }).catch(failed)
  const stop = (): void => stream.abort(new FluidError('TIMEOUT', 'The peer did not answer a ping'))
  deadline.addEventListener('abort', stop, { once: true })
  try {
    const times: number[] = []
    const answers = stream[Symbol.asyncIterator]()
    // The first one also waits for the protocol to be agreed upon.
    for (let i = 0; i <= PINGS; i++) {
      const sentAt = performance.now()
      stream.send(randomBytes(PING_BYTES))
      for (let heard = 0; heard < PING_BYTES;) {
        const { done, value } = await answers.next().catch(failed)
        if (done) return failed(undefined)
        heard += value.byteLength
      }
      if (i > 0) times.push(performance.now() - sentAt)
    }
    return times.toSorted((a, b) => a - b)[times.length >> 1]
  } finally {
    deadline.removeEventListener('abort', stop)
    await stream.close({ signal: AbortSignal.timeout(PING_TIMEOUT_MS) }).catch(() => {})
  }
}
