import test, { type ExecutionContext } from 'ava'
import type { Connection } from '@libp2p/interface'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { tcpSocketOf } from '../../../agent/mesh/tcp-socket.ts'
import { lineMeter, nearness, type LineMeter } from '../../../agent/viaduct/round-trip.ts'
import { NEAR_ROUND_TRIP_MS } from '../../../protocol/limits.ts'

/** A meter that knows `shortestMs`, and `laterMs` once its pings are over. */
function meter(shortestMs: number, laterMs = shortestMs) {
  const over = Promise.withResolvers<void>()
  const found = {
    shortestMs,
    settled: over.promise,
    note: () => {},
    settle() {
      found.shortestMs = laterMs
      over.resolve()
    },
  }
  return found satisfies Partial<LineMeter>
}

const never = new Promise<void>(() => {})

test('nearness() does not wait where the answer is plain', async (t) => {
  for (const shortestMs of [0.2, 8, 40, Infinity]) {
    const plain: Parameters<typeof nearness>[0] = {
      shortestMs,
      get settled(): Promise<void> {
        throw new Error('Nobody waits for pings')
      },
    }
    t.is(await nearness(plain), shortestMs)
  }
})

test('nearness() gives the pings of a peer that was slow to answer their time', async (t) => {
  const slow = meter(20, 0.3)
  const found = nearness(slow)
  slow.settle()
  t.is(await found, 0.3)
})

test('nearness() waits no longer than a little', async (t) => {
  t.is(await nearness({ ...meter(20), settled: never }), 20)
})

/** A connection over a TCP socket on loopback, at whose other end each ping takes what `pingMs` says. */
async function loopback(t: ExecutionContext, pingMs: () => Promise<unknown>): Promise<Connection> {
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [[far]] = await Promise.all([once(server, 'connection'), once(socket, 'connect')])
  t.teardown(() => [socket, far].forEach((end) => end.destroy()))
  const timeline = { open: 0 }
  tcpSocketOf({ socket, timeline })
  const stream = {
    send: () => true,
    close: async () => {},
    abort() {},
    async *[Symbol.asyncIterator]() {
      for (;;) {
        await pingMs()
        yield new Uint8Array(32)
      }
    },
  }
  return { timeline, newStream: async () => stream } as unknown as Connection
}

test('lineMeter() knows that a peer on this machine is near, however long it is too busy to answer', async (t) => {
  const answer = Promise.withResolvers<void>()
  const meter = lineMeter(await loopback(t, () => answer.promise))
  meter.note(500)
  t.true((await nearness(meter)) <= NEAR_ROUND_TRIP_MS)
  answer.resolve()
  await meter.settled
  t.true(meter.shortestMs <= NEAR_ROUND_TRIP_MS)
})

test('lineMeter() believes pings where a proxy answers for a peer that is far', async (t) => {
  const meter = lineMeter(await loopback(t, () => delay(5 * NEAR_ROUND_TRIP_MS)))
  await meter.settled
  t.true(meter.shortestMs > NEAR_ROUND_TRIP_MS)
})
