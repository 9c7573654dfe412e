/**
 * The TCP socket below a connection of the mesh, to ask the kernel of it. No part of libp2p's interface: connections that
 * have none, or hide it, are asked for nothing.
 */
import type { Connection, MessageStream } from '@libp2p/interface'
import { Socket } from 'node:net'
import { descriptorOf, tcpState } from '../../transfer/linux.ts'

/** By the timeline, an object that a connection takes over from what it is made of. */
const sockets = new WeakMap<object, Socket>()

/** The socket of what an encrypter is handed, kept for the connection that comes of it. */
export function tcpSocketOf({
  socket,
  timeline,
}: Pick<MessageStream, 'timeline'> & { readonly socket?: unknown }): Socket | undefined {
  if (!(socket instanceof Socket)) return undefined
  sockets.set(timeline, socket)
  return socket
}

/** The shortest round trip the kernel saw on the connection, ms; undefined where it does not tell. */
export function leastRoundTripMs({ timeline }: Pick<Connection, 'timeline'>): number | undefined {
  const socket = sockets.get(timeline)
  const fd = socket && descriptorOf(socket)
  return fd === undefined ? undefined : tcpState(fd)?.leastRoundTripMs
}
