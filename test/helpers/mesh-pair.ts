/** Two connected libp2p nodes in this process, with the transports and the yamux settings of an agent, and streams between them. */
import { noise } from '@chainsafe/libp2p-noise'
import type { Libp2p, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CHUNKS_PROTOCOL } from '../../protocol/ids.ts'
import { LANE_STREAM_BUFFER_BYTES } from '../../protocol/limits.ts'
import { openBrokenProxy, type BrokenProxy } from './broken-proxy.ts'

/** Dispose it to stop both nodes. */
export interface MeshPair extends AsyncDisposable {
  /** All bytes between the nodes pass it. */
  readonly proxy: BrokenProxy
  /** A fresh stream, as the node that opened it and the node that got it see it. */
  openStream(): Promise<{ readonly opened: Stream; readonly received: Stream }>
}

/** `delayMs` lengthens the line each way, from before the nodes first measure it. */
export async function openMeshPair({ delayMs = 0 } = {}): Promise<MeshPair> {
  await using stack = new AsyncDisposableStack()
  const [a, b] = await Promise.all([openNode(), openNode()])
  stack.defer(async () => {
    await Promise.all([a.stop(), b.stop()])
  })
  const received: ((stream: Stream) => void)[] = []
  await b.handle(CHUNKS_PROTOCOL, (stream) => received.shift()?.(stream))
  const port = Number(/\/tcp\/(\d+)/.exec(b.getMultiaddrs()[0].toString())?.[1])
  const proxy = stack.use(await openBrokenProxy({ host: '127.0.0.1', port }))
  proxy.up.delayMs = delayMs
  proxy.down.delayMs = delayMs
  const connection = await a.dial(multiaddr(`/ip4/127.0.0.1/tcp/${proxy.port}/p2p/${b.peerId.toString()}`))
  const owned = stack.move()
  return {
    proxy,
    async openStream() {
      const { promise, resolve } = Promise.withResolvers<Stream>()
      received.push(resolve)
      const opened = await connection.newStream(CHUNKS_PROTOCOL)
      return { opened, received: await promise }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function openNode(): Promise<Libp2p> {
  return createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        enableKeepAlive: true,
        streamOptions: {
          maxStreamWindowSize: 16 * 1024 * 1024,
          maxReadBufferLength: LANE_STREAM_BUFFER_BYTES,
        },
      }),
    ],
    connectionMonitor: { enabled: false },
  })
}
