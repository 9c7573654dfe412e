/** Dialing from a port of one's own choice, which a node of libp2p does not offer: its transports do. */
import type { Connection, Transport, Upgrader } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { override } from './override.ts'

export interface LocalPort {
  /** The address that stands for all of the family: 0.0.0.0 or ::. */
  readonly host: string
  readonly port: number
}

export interface PortDialer {
  /**
   * A connection from `local` to `addr`, which ends in the peer's ID. Of two that dial each other at the same time one
   * is not `initiator`.
   */
  dialFrom(
    local: LocalPort,
    addr: Multiaddr,
    options: { signal: AbortSignal; initiator?: boolean },
  ): Promise<Connection>
}

interface Dials {
  readonly transportManager: { dialTransportForMultiaddr(addr: Multiaddr): Transport | undefined }
  readonly upgrader: Upgrader
}

/** The service for libp2p. Its TCP transport hands the options on to net.connect(). */
export function portDialer({ transportManager, upgrader }: Dials): PortDialer {
  /** Multiplexers look at the direction of the socket to know who is who. */
  const upgradeOutbound: Upgrader['upgradeOutbound'] = (socket, options) =>
    upgrader.upgradeOutbound(Object.assign(socket, { direction: 'inbound' }), {
      ...options,
      initiator: false,
    } as typeof options)
  const answering = override(upgrader, { upgradeOutbound })

  return {
    async dialFrom({ host, port }, addr, { signal, initiator = true }) {
      signal.throwIfAborted()
      const transport = transportManager.dialTransportForMultiaddr(addr)
      if (!transport) throw new Error(`${addr.toString()} cannot be dialed`)
      // net.connect() would end the connection whenever its signal aborts, also later.
      const stop = new AbortController()
      const onAbort = () => stop.abort(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      const from = { localAddress: host, localPort: port }
      try {
        return await transport.dial(addr, {
          ...from,
          signal: stop.signal,
          upgrader: initiator ? upgrader : answering,
        })
      } finally {
        signal.removeEventListener('abort', onAbort)
      }
    },
  }
}
