/**
 * From which address an agent's datagrams come, which it needs to punch a hole: a relay answers that on a UDP port, to
 * hosts it has connections with, and an agent asks relays that it uses. Nobody else is ever asked.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIP } from 'node:net'
import type { Connection, Startable, StreamHandler } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { STUN_PROTOCOL } from '../../protocol/ids.ts'
import {
  MAX_STUN_RELAYS,
  STUN_ANSWER_BURST,
  STUN_ANSWERS_PER_SECOND,
  STUN_ASK_TIMEOUT_MS,
} from '../../protocol/limits.ts'
import { stunResponse } from '../../protocol/stun.ts'
import { createTokenBucket } from '../../protocol/token-bucket.ts'
import { hostOf, relayOf } from './addresses.ts'
import type { Refusals } from './refusals.ts'
import { isRelayed } from './relay.ts'

interface Connected {
  readonly connectionManager: { getConnections(): Connection[] }
}
interface Registered {
  readonly registrar: {
    handle(protocol: string, handler: StreamHandler, options?: object): Promise<void>
    unhandle(protocol: string): Promise<void>
  }
}

export interface StunServer extends Startable {
  /** UDP port, while it is started. */
  readonly port: number
}

/** The service for libp2p: answers binding requests at `port`, and peers that `may` which port that is. */
export function stunService({
  host,
  port: wanted,
  may,
  refusals,
}: {
  /** Address of IPv4 to bind. */
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  readonly may: (peer: string) => boolean
  readonly refusals: Refusals
}): (components: Connected & Registered) => StunServer {
  return ({ connectionManager, registrar }) => {
    const answers = createTokenBucket({ burst: STUN_ANSWER_BURST, perSecond: STUN_ANSWERS_PER_SECOND })
    let socket: Socket | undefined
    let port = 0

    /** Hosts of peers that may ask: nobody can have others flooded from here. */
    const isConnected = (address: string) =>
      connectionManager
        .getConnections()
        .some(({ remotePeer, remoteAddr }) => hostOf(remoteAddr) === address && may(remotePeer.toString()))

    const tellPort: StreamHandler = (stream, connection) => {
      if (!may(connection.remotePeer.toString())) {
        stream.abort(new Error('This agent relays nothing for this peer'))
        return
      }
      stream.send(Uint8Array.of(port >>> 8, port & 0xff))
      void stream.close({ signal: AbortSignal.timeout(STUN_ASK_TIMEOUT_MS) }).catch(() => {})
    }

    return {
      get port() {
        return port
      },
      async start() {
        socket = createSocket('udp4')
        socket.on('message', (datagram, from) => {
          if (!answers.take() || !isConnected(from.address)) return refusals.count('stun')
          const response = stunResponse(datagram, from)
          if (response) socket?.send(response, from.port, from.address, () => {})
        })
        socket.bind(wanted, host)
        await once(socket, 'listening')
        // An answer that cannot be sent is asked for again.
        socket.on('error', () => {})
        port = socket.address().port
        await registrar.handle(STUN_PROTOCOL, tellPort, { runOnLimitedConnection: false })
      },
      async stop() {
        socket?.close()
        socket = undefined
        await registrar.unhandle(STUN_PROTOCOL)
      },
    }
  }
}

/** URL of the first to answer among the relays that connections go through now; none when no relay answers. */
export async function stunUrls({ connectionManager }: Connected): Promise<string[]> {
  const connections = connectionManager.getConnections().filter(({ status }) => status === 'open')
  const relays = new Set(connections.flatMap(({ remoteAddr }) => relayOf(remoteAddr) ?? []))
  const direct = [...relays].flatMap(
    (relay) =>
      connections.find(
        (connection) =>
          connection.remotePeer.toString() === relay &&
          !isRelayed(connection) &&
          hostOf(connection.remoteAddr),
      ) ?? [],
  )
  const signal = AbortSignal.timeout(STUN_ASK_TIMEOUT_MS)
  try {
    return [await Promise.any(direct.slice(0, MAX_STUN_RELAYS).map((connection) => ask(connection, signal)))]
  } catch {
    return []
  }
}

async function ask(connection: Connection, signal: AbortSignal): Promise<string> {
  const host = hostOf(connection.remoteAddr)!
  const stream = await connection.newStream(STUN_PROTOCOL, { signal })
  const bytes: number[] = []
  try {
    for await (const part of stream) {
      signal.throwIfAborted()
      bytes.push(...part.subarray())
      if (bytes.length >= 2) break
    }
  } finally {
    stream.abort(new Error('Asked'))
  }
  const port = bytes.length === 2 ? bytes[0] * 256 + bytes[1] : 0
  if (port === 0) throw new Error('No port was told')
  return `stun:${isIP(host) === 6 ? `[${host}]` : host}:${port}`
}

/** The address of IPv4 at which a node with these multiaddrs listens. */
export function stunHost(listen: readonly string[]): string {
  const hosts = listen.map((addr) => hostOf(multiaddr(addr))).filter((host) => isIP(host ?? '') === 4)
  return hosts[0] ?? '0.0.0.0'
}
