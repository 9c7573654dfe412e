/** Lanes over libp2p streams, for peers that no socket reaches: opened by the sender, matched by token at the receiver. */
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type { Connection } from '@libp2p/interface'
import { FluidError } from '../../protocol/errors.ts'
import { CHUNKS_PROTOCOL } from '../../protocol/ids.ts'
import { MAX_LANES } from '../../protocol/limits.ts'
import { bestConnection } from '../mesh/dial-peer.ts'
import { announceLane, pumpLane, readAnnouncement } from './libp2p-lane.ts'
import type { Mesh } from '../mesh.ts'
import { isRelayed } from '../mesh/relay.ts'
import { isWebRtc } from '../mesh/webrtc.ts'

/** What a lane over a stream rides on. */
export type StreamPath = 'libp2p' | 'webrtc' | 'relay'

/** Takes a lane's port; false when it is not wanted (any more). */
export type OnPort = (port: MessagePort, lane: number, path: StreamPath) => boolean

export interface StreamLanes extends AsyncDisposable {
  /** Gives lanes that `peer` opens with this token to `onPort`, until disposed. */
  expect(peer: string, token: Uint8Array, onPort: OnPort): Disposable
  /** Opens a lane to `peer`; the port belongs to a 'port' lane descriptor. Throws PEER_UNREACHABLE. */
  open(
    peer: string,
    token: Uint8Array,
    lane: number,
    signal: AbortSignal,
  ): Promise<{ port: MessagePort; path: StreamPath }>
}

/** Serves CHUNKS_PROTOCOL on the node, until disposed; over relays only if its owner allows it. */
export async function openStreamLanes(
  { node, connectionPolicy, refusals }: Mesh,
  { allowRelay = false }: { allowRelay?: boolean } = {},
): Promise<StreamLanes> {
  const expected = new Map<string, OnPort>()
  const nameOf = (peer: string, token: Uint8Array) => `${peer} ${Buffer.from(token).toString('hex')}`

  const handler = connectionPolicy.pairedOnly(async (stream, connection) => {
    const path = pathOf(connection)
    if (path === 'relay' && !allowRelay) {
      refusals.count('lane-relayed')
      stream.abort(new FluidError('POLICY_DENIED', 'Data may not pass a relay here'))
      return
    }
    const announced = await readAnnouncement(stream).catch(() => undefined)
    const take = announced && expected.get(nameOf(connection.remotePeer.toString(), announced.token))
    const { port1, port2 } = new MessageChannel()
    if (!take?.(port2, announced!.lane, path)) {
      refusals.count('lane-unknown')
      port1.close()
      stream.abort(new FluidError('POLICY_DENIED', 'No job expects this lane'))
      return
    }
    pumpLane(stream, port1, { rest: announced!.rest })
  })
  await node.handle(CHUNKS_PROTOCOL, handler, {
    maxInboundStreams: MAX_LANES,
    maxOutboundStreams: MAX_LANES,
    runOnLimitedConnection: true,
  })

  return {
    expect(peer, token, onPort) {
      const name = nameOf(peer, token)
      expected.set(name, onPort)
      return { [Symbol.dispose]: () => void expected.delete(name) }
    },
    async open(peer, token, lane, signal) {
      const connection = bestConnection(node, peer)
      const options = { signal, runOnLimitedConnection: true }
      const stream = await connection?.newStream(CHUNKS_PROTOCOL, options).catch((cause) => {
        throw new FluidError('PEER_UNREACHABLE', 'Opening a lane over the mesh failed', { cause, peer })
      })
      if (!connection || !stream)
        throw new FluidError('PEER_UNREACHABLE', 'The connection to the peer is gone', { peer })
      announceLane(stream, token, lane)
      const { port1, port2 } = new MessageChannel()
      pumpLane(stream, port1)
      return { port: port2, path: pathOf(connection) }
    },
    [Symbol.asyncDispose]: async () => node.unhandle(CHUNKS_PROTOCOL),
  }
}

function pathOf(connection: Connection): StreamPath {
  if (isRelayed(connection)) return 'relay'
  return isWebRtc(connection) ? 'webrtc' : 'libp2p'
}
