/** TCP ports that nobody listens at. */
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

/** Below are ports for servers that come with the system; above, unless it says otherwise, those that Linux gives out. */
const [LEAST, MOST] = [10_000, 32_768]

/**
 * One that is free on this machine now, and stays so until somebody asks for it by its number: the system gives none of these
 * to a connection, or to a listener that leaves the choice to it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LEAST, firstGivenOut())
    if (await isPortFree(port)) return port
  }
}

/** The first port that the system gives out by itself (ip(7)); where it gives out nearly all, that of most systems. */
function firstGivenOut(): number {
  const first = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1').split(/\s+/)[0])
  return first > LEAST ? first : MOST
}

/** True when nobody listens at `port`, at any address. */
export function isPortFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, () => server.close(() => resolve(true)))
  })
}
