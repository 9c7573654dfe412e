import test, { type ExecutionContext } from 'ava'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { gatherWrites } from '../../../agent/mesh/gathered-writes.ts'

/** Both ends of a connection, the first with its writes gathered. */
async function pair(t: ExecutionContext): Promise<[Socket, Socket]> {
  const server = createServer({ noDelay: true }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const near = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true })
  const [far] = (await once(server, 'connection')) as [Socket]
  if (near.connecting) await once(near, 'connect')
  t.teardown(() => [near, far].forEach((socket) => socket.destroy()))
  gatherWrites(near)
  return [near, far]
}

async function textOf(socket: Socket): Promise<string> {
  let text = ''
  for await (const piece of socket) text += String(piece)
  return text
}

test('what is written at one moment leaves together', async (t) => {
  const [near, far] = await pair(t)
  const pieces: string[] = []
  far.on('data', (piece) => pieces.push(String(piece)))
  for (const moment of ['one ', 'two ']) {
    near.write(moment)
    // Promises that are settled belong to the moment.
    await Promise.resolve()
    near.write('and ')
    near.write('more')
    t.is(near.bytesWritten - near.writableLength, pieces.join('').length, 'Nothing left yet')
    await once(far, 'data')
    t.is(pieces.at(-1), `${moment}and more`)
  }
})

test('what was written is sent when the socket is ended at once, in order', async (t) => {
  const [near, far] = await pair(t)
  const read = textOf(far)
  const sent = Array.from({ length: 1000 }, (_, i) => `${i},`)
  for (const piece of sent) near.write(piece)
  near.end('end')
  t.is(await read, `${sent.join('')}end`)
})

test('a socket that is full says so, and drains', async (t) => {
  const [near, far] = await pair(t)
  const read = textOf(far)
  const piece = 'x'.repeat(near.writableHighWaterMark)
  t.false(near.write(piece))
  await once(near, 'drain')
  near.end()
  t.is((await read).length, piece.length)
})
