/** TCP ports that nobody listens at. */
import { once } from 'node:events'
import { createServer } from 'node:net'

/** One that is free on this machine now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** True when nobody listens at `port`, at any address. */
export function isPortFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '::', () => server.close(() => resolve(true)))
  })
}
