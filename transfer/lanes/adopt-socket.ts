/** Makes a socket of a descriptor that a listener in another thread accepted. */
import { closeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'
import { FluidError } from '../../protocol/errors.ts'

const KEEP_ALIVE_DELAY_MS = 15_000

/** What every lane dials with; adoptSocket() has the same. */
export const DIAL_OPTIONS = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
} as const

/** Owns `fd` from the call on. Throws LANE_FAILED, or the signal's reason. */
export function adoptSocket(
  fd: number,
  signal: AbortSignal | undefined,
  options: Pick<SocketConstructorOpts, 'onread'> = {},
): Socket {
  try {
    signal?.throwIfAborted()
    const socket = new Socket({ fd, allowHalfOpen: true, readable: true, writable: true, ...options })
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS)
    return socket
  } catch (error) {
    closeSync(fd)
    throw signal?.aborted
      ? error
      : new FluidError('LANE_FAILED', 'Taking over an accepted socket failed', { cause: error })
  }
}
