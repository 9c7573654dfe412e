import { randomBytes } from 'node:crypto'
import { closeSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { openDataListener, type AcceptedSocket } from '../../../agent/viaduct/data-listener.ts'
import { EarlySockets } from '../../../agent/viaduct/early-sockets.ts'
import { dialableLanes } from '../../../agent/viaduct/lane-dialing.ts'
import { TOKEN_BYTES } from '../../../protocol/limits.ts'
import { createLaneIdentity } from '../../../transfer/lanes/certificates.ts'
import { openLane } from '../../../transfer/lanes/open-lane.ts'
import { eventually } from '../../helpers/eventually.ts'

const HOST = '127.0.0.1'

/** A server that keeps what connects. */
async function listen(t: ExecutionContext) {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    sockets.push(socket.resume())
  })
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { sockets, at: { host: HOST, port: (server.address() as AddressInfo).port } }
}

for (const tls of ['openssl', 'node'] as const) {
  test(`a lane opens over an early connection, or instead of it (${tls})`, async (t) => {
    await using listener = await openDataListener({ host: HOST, port: 0 })
    const [mine, theirs] = await Promise.all([createLaneIdentity('dialing'), createLaneIdentity('accepting')])
    const endpoint = {
      addresses: [],
      token: randomBytes(TOKEN_BYTES),
      certificate: theirs.certificateDer,
    }
    const came = Promise.withResolvers<AcceptedSocket>()
    using _expected = listener.expect(endpoint.token, (socket) => came.resolve(socket))
    using early = new EarlySockets(listener.address, 1)
    const [descriptor] = await eventually(() => {
      const lanes = dialableLanes(endpoint, listener.address, { to: 1, identity: mine, early })
      return lanes[0].fd === undefined ? undefined : lanes
    })
    const opening = openLane(descriptor, { tls })
    const { fd, head } = await came.promise
    const accepted = { kind: 'tls-accept', fd, head, identity: theirs, peerCertificate: mine.certificateDer }
    await using there = await openLane(accepted as Parameters<typeof openLane>[0])
    await using here = await opening
    await here.write({ kind: 'bye' })
    for await (const { message } of there.frames()) {
      t.is(message.kind, 'bye')
      break
    }
  })
}

test('take() gives each connection once, to its own address only, and what nobody takes is closed', async (t) => {
  const [{ sockets, at }, other] = await Promise.all([listen(t), listen(t)])
  const early = new EarlySockets(at, 3)
  await eventually(() => sockets.length === 3 || undefined)
  t.is(early.take(other.at), undefined)
  const fds = await eventually(() => {
    const fd = early.take(at)
    return fd === undefined ? undefined : [fd]
  })
  t.is(new Set(fds).size, fds.length)
  early[Symbol.dispose]()
  t.is(early.take(at), undefined)
  // Of the one that was taken the other end hears nothing until its owner closes it.
  await eventually(() => sockets.filter(({ readableEnded }) => readableEnded).length === 2 || undefined)
  for (const fd of fds) closeSync(fd)
  await eventually(() => sockets.every(({ readableEnded }) => readableEnded) || undefined)
})

test('take() passes over what was refused, and what the other side closed', async (t) => {
  const { sockets, at } = await listen(t)
  using early = new EarlySockets(at, 2)
  await eventually(() => sockets.length === 2 || undefined)
  for (const socket of sockets) socket.destroy()
  await eventually(() => sockets.every(({ closed }) => closed) || undefined)
  await eventually(() => early.take(at) === undefined || undefined)
  using nowhere = new EarlySockets(undefined, 2)
  t.is(nowhere.take(at), undefined)
})
