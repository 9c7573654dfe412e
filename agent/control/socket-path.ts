/**
 * A name for the agent's socket that fits sockaddr_un. sun_path holds 108 bytes with its NUL (unix(7)); a deeper home is
 * reached through a descriptor of the folder, which /proc names in a few bytes. Linux only where the home is deep.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Home } from '../home.ts'

const MAX_SOCKET_PATH_BYTES = 107

/** A path to listen on or connect to. Keep it open as long as a server listens there: closing the server unlinks it. */
export interface SocketPath extends AsyncDisposable {
  readonly path: string
}

/** The socket of `home`, whatever its depth; for listening and for connecting. */
export async function socketPath(home: Home): Promise<SocketPath> {
  if (Buffer.byteLength(home.socket) <= MAX_SOCKET_PATH_BYTES) {
    return { path: home.socket, [Symbol.asyncDispose]: async () => {} }
  }
  const folder = await open(home.path, constants.O_RDONLY | constants.O_DIRECTORY)
  // FileHandle.close() waits for itself when called twice.
  return { path: `/proc/self/fd/${folder.fd}/agent.sock`, [Symbol.asyncDispose]: () => folder.close() }
}
