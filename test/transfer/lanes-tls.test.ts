import { randomBytes } from 'node:crypto'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { readdirSync } from 'node:fs'
import test from 'ava'
import { openDataListener, type AcceptedSocket } from '../../agent/viaduct/data-listener.ts'
import type { FluidError } from '../../protocol/errors.ts'
import { TOKEN_BYTES } from '../../protocol/limits.ts'
import { createLaneIdentity } from '../../transfer/lanes/certificates.ts'
import { openLane, type OpenLaneFor } from '../../transfer/lanes/open-lane.ts'
import { openssl } from '../../transfer/lanes/openssl.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import { laneConformance, type LaneKind } from '../conformance/lane.ts'
import { openTlsLanePair, tryTlsLanePair } from '../helpers/tls-lane-pair.ts'

const HOST = '127.0.0.1'

type Tls = OpenLaneFor['tls']

const dialedReader = (reads: Tls, writes: Tls): LaneKind => ({
  async openPair(options) {
    const tls = { dialed: reads, accepted: writes }
    const { dialed, accepted, proxy, ...pair } = await openTlsLanePair({ options, tls })
    return { writer: accepted, reader: dialed, proxy, forth: proxy.down, ...pair }
  },
  async openHostile() {
    await using stack = new AsyncDisposableStack()
    const [mine, theirs] = await Promise.all([createLaneIdentity('reader'), createLaneIdentity('hostile')])
    const connected = Promise.withResolvers<TLSSocket>()
    const server = createTlsServer({
      key: theirs.keyPem,
      cert: theirs.certificatePem,
      requestCert: true,
      rejectUnauthorized: false,
    })
    server.on('secureConnection', connected.resolve)
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
    stack.defer(() => void server.close())
    const { port } = server.address() as AddressInfo
    const name = serverName(randomBytes(TOKEN_BYTES), 0)
    const reader = stack.use(
      await openLane(
        {
          kind: 'tls-dial',
          host: HOST,
          port,
          serverName: name,
          identity: mine,
          peerCertificate: theirs.certificateDer,
        },
        { tls: reads },
      ),
    )
    return hostile(reader, await connected.promise, stack.move())
  },
})

const acceptedReader = (reads: Tls, writes: Tls): LaneKind => ({
  async openPair(options) {
    const tls = { dialed: writes, accepted: reads }
    const { dialed, accepted, proxy, ...pair } = await openTlsLanePair({ options, tls })
    return { writer: dialed, reader: accepted, proxy, forth: proxy.up, ...pair }
  },
  async openHostile() {
    await using stack = new AsyncDisposableStack()
    const [mine, theirs] = await Promise.all([createLaneIdentity('reader'), createLaneIdentity('hostile')])
    const { socket, reader } = await dialHostile(stack, theirs, mine, theirs.certificateDer, reads)
    return hostile(stack.use(await reader), socket, stack.move())
  },
})

/** A bare TLS client against an accepting lane that expects `pin`. */
async function dialHostile(
  stack: AsyncDisposableStack,
  shows: { keyPem?: string; certificatePem?: string },
  identity: Awaited<ReturnType<typeof createLaneIdentity>>,
  pin: Uint8Array,
  tls?: Tls,
) {
  const listener = stack.use(await openDataListener({ host: HOST, port: 0 }))
  const token = randomBytes(TOKEN_BYTES)
  const taken = Promise.withResolvers<AcceptedSocket>()
  listener.expect(token, taken.resolve)
  const servername = serverName(token, 0)
  const credentials = { key: shows.keyPem, cert: shows.certificatePem }
  const socket = connectTls({
    host: HOST,
    port: listener.address.port,
    servername,
    ...credentials,
    rejectUnauthorized: false,
  })
  socket.on('error', () => {})
  const { fd, head } = await taken.promise
  const reader = openLane({ kind: 'tls-accept', fd, head, identity, peerCertificate: pin }, { tls })
  reader.catch(() => {})
  return { socket, reader }
}

function hostile(
  reader: Awaited<ReturnType<typeof openLane>>,
  socket: TLSSocket,
  stack: AsyncDisposableStack,
) {
  socket.on('error', () => {})
  socket.resume()
  return {
    reader,
    send: (bytes: Uint8Array) => void socket.write(bytes),
    end: () => void socket.end(),
    [Symbol.asyncDispose]: async () => {
      socket.destroy()
      await stack.disposeAsync()
    },
  }
}

test('openssl can be called in the Node of this project', (t) => {
  t.not(openssl, undefined)
})

// Each implementation of TLS against itself and the other; without OpenSSL to call, all are node:tls.
laneConformance(test, 'TLS, dialed end reads', dialedReader('node', 'node'))
laneConformance(test, 'TLS, accepted end reads', acceptedReader('node', 'node'))
laneConformance(test, 'TLS, dialed end reads in place', dialedReader('openssl', 'node'))
laneConformance(test, 'TLS, accepted end reads in place', acceptedReader('openssl', 'node'))
laneConformance(test, 'TLS in place on both ends, dialed end reads', dialedReader('openssl', 'openssl'))
laneConformance(test, 'TLS in place on both ends, accepted end reads', acceptedReader('openssl', 'openssl'))
laneConformance(test, 'TLS, dialed end reads what is sealed in place', dialedReader('node', 'openssl'))

function outcomeCode(outcome: PromiseSettledResult<unknown>): string {
  return outcome.status === 'fulfilled' ? 'open' : (outcome.reason as FluidError).code
}

for (const tls of ['node', 'openssl'] as const) {
  const both = { dialed: tls, accepted: tls }
  // Beside all others a lane may take longer than it has.
  test.serial(`openLane() refuses a dialer that shows another certificate (tls ${tls})`, async (t) => {
    const stranger = await createLaneIdentity('dialing')
    const { accepted, owned } = await tryTlsLanePair({ tls: both, dialer: { shows: stranger } })
    t.teardown(() => owned.disposeAsync())
    t.is(outcomeCode(accepted), 'LANE_FAILED')
    t.regex((accepted as PromiseRejectedResult).reason.message, /another certificate/)
  })

  test.serial(`openLane() refuses a listener that shows another certificate (tls ${tls})`, async (t) => {
    const stranger = await createLaneIdentity('accepting')
    const { dialed, owned } = await tryTlsLanePair({ tls: both, accepter: { shows: stranger } })
    t.teardown(() => owned.disposeAsync())
    t.is(outcomeCode(dialed), 'LANE_FAILED')
    t.regex((dialed as PromiseRejectedResult).reason.message, /another certificate/)
  })

  test(`openLane() refuses a dialer that shows no certificate (tls ${tls})`, async (t) => {
    await using stack = new AsyncDisposableStack()
    const [mine, expected] = await Promise.all([createLaneIdentity('mine'), createLaneIdentity('expected')])
    const { reader, socket } = await dialHostile(stack, {}, mine, expected.certificateDer, tls)
    const error = await t.throwsAsync<FluidError>(reader)
    t.is(error?.code, 'LANE_FAILED')
    t.regex(error.message, /no certificate/)
    socket.destroy()
  })

  test(`openLane() gives a lane between two right certificates (tls ${tls})`, async (t) => {
    await using pair = await openTlsLanePair({ tls: both })
    t.is(pair.dialed.path, 'tls')
    t.is(pair.accepted.path, 'tls')
  })

  test(`openLane() throws LANE_FAILED where nothing listens (tls ${tls})`, async (t) => {
    // A port that no system gives out by itself.
    const error = await t.throwsAsync<FluidError>(openLane(await dialTo(1), { tls }))
    t.is(error?.code, 'LANE_FAILED')
    t.like(error?.cause, { code: 'ECONNREFUSED' })
  })

  test(`openLane() gives up a handshake that is not answered in time (tls ${tls})`, async (t) => {
    await using silent = await openSilentServer()
    const error = await t.throwsAsync<FluidError>(
      openLane(await dialTo(silent.port), { connectTimeoutMs: 100, tls }),
    )
    t.is(error?.code, 'LANE_FAILED')
    t.regex(error.message, /within 100 ms/)
  })

  test(`openLane() throws the reason of its signal during the handshake (tls ${tls})`, async (t) => {
    await using silent = await openSilentServer()
    const abort = new AbortController()
    const opening = openLane(await dialTo(silent.port), { signal: abort.signal, tls })
    const reason = new Error('enough')
    await silent.connected
    abort.abort(reason)
    await t.throwsAsync(opening, { is: reason })
  })

  test.serial(
    `openLane() leaves no descriptor behind, whatever becomes of the lane (tls ${tls})`,
    async (t) => {
      const stranger = await createLaneIdentity('stranger')
      // The first pair loads what is loaded once.
      await using _first = await openTlsLanePair({ tls: both })
      const before = sockets()
      for (const broken of [{}, { dialer: { shows: stranger } }, { accepter: { shows: stranger } }]) {
        const { owned } = await tryTlsLanePair({ tls: both, ...broken })
        await owned.disposeAsync()
      }
      const aborted = { signal: AbortSignal.abort(new Error('enough')) }
      await using stack = new AsyncDisposableStack()
      const listener = stack.use(await openDataListener({ host: HOST, port: 0 }))
      const token = randomBytes(TOKEN_BYTES)
      const taken = Promise.withResolvers<AcceptedSocket>()
      listener.expect(token, taken.resolve)
      const socket = connectTls({ host: HOST, port: listener.address.port, servername: serverName(token, 0) })
      socket.on('error', () => {})
      const closed = new Promise((resolve) => socket.on('close', resolve))
      const { fd, head } = await taken.promise
      await t.throwsAsync(
        openLane(
          { kind: 'tls-accept', fd, head, identity: stranger, peerCertificate: stranger.certificateDer },
          { ...aborted, tls },
        ),
      )
      await closed
      await stack.disposeAsync()
      for (let tries = 0; sockets() > before && tries < 100; tries++)
        await new Promise((resolve) => setTimeout(resolve, 20))
      t.is(sockets(), before)
    },
  )

  test(`openLane() refuses a peer that speaks no TLS (tls ${tls})`, async (t) => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {})
      socket.end('220 mail.example ESMTP\r\n')
    })
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
    const { port } = server.address() as AddressInfo
    const error = await t.throwsAsync<FluidError>(openLane(await dialTo(port), { tls }))
    t.is(error?.code, 'LANE_FAILED')
    server.close()
  })

  test(`openLane() speaks TLS 1.3 only (tls ${tls})`, async (t) => {
    const theirs = await createLaneIdentity('old')
    const server = createTlsServer({ key: theirs.keyPem, cert: theirs.certificatePem, maxVersion: 'TLSv1.2' })
    server.on('tlsClientError', () => {})
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
    const { port } = server.address() as AddressInfo
    const error = await t.throwsAsync<FluidError>(openLane(await dialTo(port), { tls }))
    t.is(error?.code, 'LANE_FAILED')
    server.close()
  })
}

function sockets(): number {
  return readdirSync('/proc/self/fd').length
}

async function dialTo(port: number) {
  const identity = await createLaneIdentity('dialer')
  const name = serverName(randomBytes(TOKEN_BYTES), 0)
  return {
    kind: 'tls-dial',
    host: HOST,
    port,
    serverName: name,
    identity,
    peerCertificate: identity.certificateDer,
  } as const
}

async function openSilentServer() {
  const connected = Promise.withResolvers<void>()
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    connected.resolve()
    socket.once('close', () => socket.destroy())
    socket.resume()
  })
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  return {
    port: (server.address() as AddressInfo).port,
    connected: connected.promise,
    [Symbol.asyncDispose]: async () => void server.close(),
  }
}
