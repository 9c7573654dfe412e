/** Frames that yamux answers by itself: a peer that floods them is cut off, stranger or not. */
import { noise } from '@chainsafe/libp2p-noise'
import type { MessageStream, StreamMuxerFactory } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import test from 'ava'
import { createLibp2p } from 'libp2p'
import { boundedReplies } from '../../agent/mesh/bounded-replies.ts'
import { MAX_BARE_FRAMES_UNSENT, YAMUX_PING_BURST } from '../../protocol/limits.ts'
import { startMesh } from '../helpers/node-pair.ts'

const HEADER_BYTES = 12

/** A frame without data. */
function header(type: number, flags = 0): Uint8Array {
  const frame = Buffer.alloc(HEADER_BYTES)
  frame[1] = type
  frame.writeUInt16BE(flags, 2)
  return frame
}

test('a stranger that pings without end is cut off', async (t) => {
  const victim = await startMesh(t, 'victim', { strangerTimeoutMs: 120_000 })
  let line: MessageStream | undefined
  let pongs = 0
  const over = Promise.withResolvers<string>()
  const pings = 100 * YAMUX_PING_BURST
  const muxer = (): StreamMuxerFactory => {
    const factory = yamux({ enableKeepAlive: false })()
    const create = factory.createStreamMuxer.bind(factory)
    return Object.assign(factory, {
      createStreamMuxer: (connection: MessageStream) => {
        line = connection
        return Object.assign(create(connection), {
          handlePingResponse: () => ++pongs === pings && over.resolve('all were answered'),
        })
      },
    })
  }
  const rogue = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [muxer],
    connectionMonitor: { enabled: false },
  })
  t.teardown(() => rogue.stop())
  const connection = await rogue.dial(multiaddr(victim.addr))
  connection.addEventListener('close', () => over.resolve('cut'))
  line!.send(Buffer.concat(Array.from({ length: pings }, () => header(2, 1))))
  t.is(await over.promise, 'cut')
  t.true(pongs <= 2 * YAMUX_PING_BURST)
})

test('frames that answer a peer wait in bounded number while it reads nothing', (t) => {
  let sent = 0
  const reasons: string[] = []
  const line = Object.assign(new EventTarget(), {
    writableNeedsDrain: true,
    send: () => (sent++, false),
    abort: (error: Error) => reasons.push(error.message),
  })
  const factory = { createStreamMuxer: () => ({}) } as unknown as StreamMuxerFactory
  boundedReplies(() => factory)(undefined).createStreamMuxer(line as unknown as MessageStream)
  const send = line.send as (data: Uint8Array) => boolean
  const refusal = header(1, 8)
  for (let n = 0; n < MAX_BARE_FRAMES_UNSENT; n++) send(refusal)
  line.dispatchEvent(new Event('drain'))
  for (let n = 0; n < MAX_BARE_FRAMES_UNSENT; n++) send(refusal)
  send(new Uint8Array(HEADER_BYTES + 1))
  t.deepEqual(reasons, [])
  t.is(sent, 2 * MAX_BARE_FRAMES_UNSENT + 1)
  send(refusal)
  t.deepEqual(reasons, ['The peer reads nothing of what it has answered'])
})
