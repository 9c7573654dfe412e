/**
 * TCP connections of the mesh that send in one packet what is written at one moment.
 *
 * libp2p writes a message in pieces, a packet each: header and data of a yamux frame, of either the length and the body
 * of a Noise message. A connection that was idle may have ten packets on the way before it hears from the other end, so
 * an answer of a few messages took a round trip more than it has to.
 */
import type { ConnectionEncrypter, MessageStream } from '@libp2p/interface'
import type { Socket } from 'node:net'
import { override } from './override.ts'
import { tcpSocketOf } from './tcp-socket.ts'

/** The encrypter, which is the first to be handed each connection, with the writes of those over TCP gathered. */
export function gatheringWrites<C>(
  encrypterOf: (components: C) => ConnectionEncrypter,
): (components: C) => ConnectionEncrypter {
  return (components) => {
    const encrypter = encrypterOf(components)
    return override(encrypter, {
      secureInbound: (async (connection, options) => {
        gather(connection)
        return await encrypter.secureInbound(connection, options)
      }) satisfies ConnectionEncrypter['secureInbound'],
      secureOutbound: (async (connection, options) => {
        gather(connection)
        return await encrypter.secureOutbound(connection, options)
      }) satisfies ConnectionEncrypter['secureOutbound'],
    })
  }
}

function gather(connection: MessageStream): void {
  const socket = tcpSocketOf(connection)
  if (socket) gatherWrites(socket)
}

/** Has the socket hold what is written until what happens at this moment is dealt with. */
export function gatherWrites(socket: Socket): void {
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
  socket.write = (...args: unknown[]) => {
    if (socket.writableCorked === 0) {
      socket.cork()
      setImmediate(() => socket.uncork())
    }
    return write(...args)
  }
}
