/** NAT-PMP (RFC 6886): asks the default gateway for its outer address, and to forward ports. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Forwarder } from './forwarder.ts'

const PORT = 5351
const OP_ADDRESS = 0
const OP_TCP = 2
/** Requests are sent again with doubled waits (section 3.1). */
const FIRST_WAIT_MS = 250
const RESULTS = ['', 'it speaks another version', 'it refuses', 'it has no address', 'it has no room', '']

/** A client of the router at `gateway`; it opens a socket for each request. */
export function natPmp(gateway: string, port = PORT): Forwarder {
  const map = async (inner: number, outer: number, lifetimeS: number, signal: AbortSignal) => {
    const request = Buffer.alloc(12)
    request[1] = OP_TCP
    request.writeUInt16BE(inner, 4)
    request.writeUInt16BE(outer, 6)
    request.writeUInt32BE(lifetimeS, 8)
    const answer = await ask(gateway, port, request, 16, signal)
    return { outer: answer.readUInt16BE(10), lifetimeS: answer.readUInt32BE(12) }
  }
  return {
    kind: 'NAT-PMP',
    externalHost: async (signal) =>
      [...(await ask(gateway, port, Buffer.of(0, OP_ADDRESS), 12, signal)).subarray(8, 12)].join('.'),
    async forward(inner, wanted, lifetimeS, signal) {
      const forwarded = await map(inner, wanted, lifetimeS, signal)
      if (forwarded.outer === 0) throw new Error('The router forwards nothing')
      return forwarded
    },
    remove: async (inner, _outer, signal) => void (await map(inner, 0, 0, signal)),
  }
}

/** The answer to `request`, checked: at least `length` bytes, of the gateway itself, and a success. */
async function ask(
  gateway: string,
  port: number,
  request: Buffer,
  length: number,
  signal: AbortSignal,
): Promise<Buffer> {
  signal.throwIfAborted()
  const socket = createSocket('udp4')
  try {
    // What others send does not arrive at a connected socket.
    socket.connect(port, gateway)
    await once(socket, 'connect', { signal })
    return await exchange(socket, request, length, signal)
  } finally {
    socket.close()
  }
}

function exchange(socket: Socket, request: Buffer, length: number, signal: AbortSignal): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  let timer: NodeJS.Timeout
  const send = (wait: number): void => {
    socket.send(request, () => {})
    timer = setTimeout(send, wait, 2 * wait)
  }
  const abort = () => reject(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  socket.on('error', reject)
  socket.on('message', (answer) => {
    if (answer.byteLength < 4 || answer[1] !== 128 + request[1]) return
    const result = answer.readUInt16BE(2)
    if (result !== 0) reject(new Error(`The router says no: ${RESULTS[result] || `result ${result}`}`))
    else if (answer.byteLength >= length) resolve(answer)
  })
  send(FIRST_WAIT_MS)
  return promise.finally(() => {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  })
}
