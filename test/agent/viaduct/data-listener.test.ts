import { randomBytes } from 'node:crypto'
import { closeSync, readdirSync } from 'node:fs'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import {
  openDataListener,
  type AcceptedSocket,
  type DataListener,
  type Refusal,
} from '../../../agent/viaduct/data-listener.ts'
import { MAX_LANES, MAX_WAITING_SOCKETS_PER_ADDRESS, TOKEN_BYTES } from '../../../protocol/limits.ts'
import { parseClientHello } from '../../../transfer/lanes/client-hello.ts'
import { parseServerName, serverName } from '../../../transfer/lanes/server-name.ts'

const HOST = '127.0.0.1'

function dial(listener: DataListener): Socket {
  const socket = connect(listener.address)
  socket.on('error', () => {})
  return socket
}

/** What a TLS client sends first. */
async function helloFor(servername: string | undefined): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  await using listener = await openTap(resolve)
  const socket = connectTls({ host: HOST, port: listener.port, servername, rejectUnauthorized: false })
  socket.on('error', () => {})
  const hello = await promise
  socket.destroy()
  return hello
}

async function openTap(onFirst: (bytes: Buffer) => void) {
  const { createServer } = await import('node:net')
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', onFirst)
  })
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve))
  const { port } = server.address() as { port: number }
  return { port, [Symbol.asyncDispose]: async () => void server.close() }
}

async function refusedAs(t: ExecutionContext, reason: Refusal, bytes: Uint8Array): Promise<void> {
  await using listener = await openDataListener({ host: HOST, port: 0 })
  listener.expect(randomBytes(TOKEN_BYTES), () => t.fail('Handed to who expects another token'))
  const socket = dial(listener)
  socket.resume()
  socket.write(bytes)
  await once(socket, 'close')
  t.is(listener.refused[reason], 1)
  t.is(
    Object.values(listener.refused).reduce((sum, count) => sum + count),
    1,
  )
}

test('openDataListener() hands an expected socket over with its ClientHello and lane', async (t) => {
  await using listener = await openDataListener({ host: HOST, port: 0 })
  const token = randomBytes(TOKEN_BYTES)
  const taken = Promise.withResolvers<AcceptedSocket>()
  using _expected = listener.expect(token, taken.resolve)
  const hello = await helloFor(serverName(token, 7))
  const socket = dial(listener)
  // In pieces, as a slow line would bring it.
  for (const part of [hello.subarray(0, 3), hello.subarray(3, 100), hello.subarray(100)]) {
    socket.write(part)
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { fd, sameMachine, head, lane } = await taken.promise
  t.true(sameMachine)
  t.is(lane, 7)
  t.deepEqual(Buffer.from(head), hello)
  t.false(socket.destroyed)
  closeSync(fd)
  socket.resume()
  await once(socket, 'close')
  t.deepEqual(
    Object.values(listener.refused).filter((count) => count > 0),
    [],
  )
})

test('openDataListener() keeps the connection open across the handing over', async (t) => {
  await using listener = await openDataListener({ host: HOST, port: 0 })
  const token = randomBytes(TOKEN_BYTES)
  const taken = Promise.withResolvers<AcceptedSocket>()
  listener.expect(token, taken.resolve)
  const socket = dial(listener)
  socket.write(await helloFor(serverName(token, 0)))
  const { fd } = await taken.promise
  const { Socket } = await import('node:net')
  const adopted = new Socket({ fd })
  adopted.end('still here')
  const [answer] = (await once(socket, 'data')) as [Buffer]
  t.is(answer.toString(), 'still here')
  adopted.destroy()
})

test('openDataListener() drops a token it does not expect', async (t) => {
  await refusedAs(t, 'unknown-name', await helloFor(serverName(randomBytes(TOKEN_BYTES), 0)))
})

test('openDataListener() drops a name that is not of a lane', async (t) => {
  await refusedAs(t, 'unknown-name', await helloFor('example.org'))
})

test('openDataListener() drops a hello without a name', async (t) => {
  await refusedAs(t, 'unknown-name', await helloFor(undefined))
})

test('openDataListener() drops what is not TLS', async (t) => {
  await refusedAs(t, 'not-tls', Buffer.from('GET / HTTP/1.1\r\n\r\n'))
})

test('openDataListener() drops a hello that never ends', async (t) => {
  const record = Buffer.concat([Buffer.from([22, 3, 1, 0x40, 0x00, 1]), Buffer.alloc(17 * 1024)])
  await refusedAs(t, 'too-large', record)
})

test('openDataListener() drops a socket that closes before its hello', async (t) => {
  await using listener = await openDataListener({ host: HOST, port: 0 })
  const socket = dial(listener)
  socket.resume()
  socket.end(Buffer.from([22, 3]))
  await once(socket, 'close')
  t.is(listener.refused.closed, 1)
})

test('openDataListener() drops the oldest silent socket when one address opens too many', async (t) => {
  await using listener = await openDataListener({ host: HOST, port: 0 })
  const sockets = Array.from({ length: MAX_WAITING_SOCKETS_PER_ADDRESS }, () => dial(listener))
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  for (const socket of sockets) socket.resume()
  const anyClosed = Promise.race(sockets.map((socket) => once(socket, 'close')))
  const token = randomBytes(TOKEN_BYTES)
  const taken = Promise.withResolvers<AcceptedSocket>()
  listener.expect(token, taken.resolve)
  const honest = dial(listener)
  honest.write(await helloFor(serverName(token, 1)))
  closeSync((await taken.promise).fd)
  await anyClosed
  t.is(listener.refused.crowded, 1)
  for (const socket of [...sockets, honest]) socket.destroy()
})

test.serial('openDataListener() closes the descriptor nobody takes', async (t) => {
  await using listener = await openDataListener({ host: HOST, port: 0 })
  const token = randomBytes(TOKEN_BYTES)
  let mode: 'decline' | 'throw' = 'decline'
  const fds: number[] = []
  listener.expect(token, ({ fd }) => {
    fds.push(fd)
    if (mode === 'throw') throw new Error('worker is gone')
    return false
  })
  const hello = await helloFor(serverName(token, 0))
  for (mode of ['decline', 'throw'] as const) {
    const socket = dial(listener)
    socket.resume()
    socket.write(hello)
    await once(socket, 'close') // Only once every descriptor of it is closed.
  }
  t.is(fds.length, 2)
  t.is(listener.refused['not-taken'], 2)
})

test('expect() ends when disposed, and takes a token once', async (t) => {
  await using listener = await openDataListener({ host: HOST, port: 0 })
  const token = randomBytes(TOKEN_BYTES)
  const first = listener.expect(token, () => {})
  t.throws(() => listener.expect(token, () => {}), { instanceOf: RangeError })
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  const socket = dial(listener)
  socket.resume()
  socket.write(await helloFor(serverName(token, 0)))
  await once(socket, 'close')
  t.is(listener.refused['unknown-name'], 1)
  t.notThrows(() => listener.expect(token, () => {}))
  t.throws(() => listener.expect(new Uint8Array(3), () => {}), { instanceOf: RangeError })
})

test('openDataListener() is disposed twice, with sockets waiting', async (t) => {
  const listener = await openDataListener({ host: HOST, port: 0 })
  const socket = dial(listener)
  await once(socket, 'connect')
  socket.resume()
  const closed = once(socket, 'close')
  await listener[Symbol.asyncDispose]()
  await listener[Symbol.asyncDispose]()
  await closed
  t.pass()
})

test('openDataListener() rejects where it cannot listen', async (t) => {
  await using listener = await openDataListener({ host: HOST, port: 0 })
  await t.throwsAsync(openDataListener(listener.address), { code: 'EADDRINUSE' })
})

test('openDataListener() passes no descriptor on to child processes', async (t) => {
  await using listener = await openDataListener({ host: HOST, port: 0 })
  const token = randomBytes(TOKEN_BYTES)
  const taken = Promise.withResolvers<AcceptedSocket>()
  listener.expect(token, taken.resolve)
  const socket = dial(listener)
  socket.write(await helloFor(serverName(token, 0)))
  const { fd } = await taken.promise
  const { execFileSync } = await import('node:child_process')
  const inherited = execFileSync('ls', ['/proc/self/fd']).toString().split('\n')
  t.true(readdirSync('/proc/self/fd').includes(String(fd)))
  t.false(inherited.includes(String(fd)))
  closeSync(fd)
  socket.destroy()
})

test('parseClientHello() reads the name from any whole hello, and asks for more before', async (t) => {
  const name = serverName(randomBytes(TOKEN_BYTES), 63)
  const hello = await helloFor(name)
  t.deepEqual(parseClientHello(hello), { kind: 'hello', serverName: name })
  t.deepEqual(parseClientHello(Buffer.concat([hello, randomBytes(50)])), { kind: 'hello', serverName: name })
  for (let length = 0; length < hello.length; length++) {
    if (parseClientHello(hello.subarray(0, length)).kind !== 'partial')
      t.fail(`Not partial at ${length} bytes`)
  }
})

test('parseClientHello() never throws on a hello with changed bytes', async (t) => {
  const hello = await helloFor(serverName(randomBytes(TOKEN_BYTES), 0))
  const change = fc.record({ at: fc.nat(hello.length - 1), byte: fc.nat(255) })
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 20 }),
        fc.nat(hello.length),
        (changes, length) => {
          const bytes = Buffer.from(hello)
          for (const { at, byte } of changes) bytes[at] = byte
          for (const part of [bytes, bytes.subarray(0, length)]) {
            const { kind } = parseClientHello(part)
            if (!['hello', 'partial', 'malformed'].includes(kind)) throw new Error(kind)
          }
        },
      ),
      { numRuns: 5_000 },
    ),
  )
})

test('parseClientHello() never throws on random bytes behind a right beginning', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (body) => {
        const head = Buffer.from([22, 3, 1, body.length >> 8, body.length & 255])
        parseClientHello(body)
        if (body.length > 0) body[0] = 1
        const { kind } = parseClientHello(Buffer.concat([head, body]))
        if (body.length > 0 && kind === 'partial') throw new Error('A whole record is never partial')
      }),
      { numRuns: 5_000 },
    ),
  )
})

test('serverName() and parseServerName() are inverse', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: TOKEN_BYTES, maxLength: TOKEN_BYTES }),
      fc.integer({ min: 0, max: MAX_LANES - 1 }),
      (token, lane) => {
        t.deepEqual(parseServerName(serverName(token, lane)), {
          token: Buffer.from(token).toString('hex'),
          lane,
        })
      },
    ),
  )
})

for (const name of [
  '',
  'lane.fluidcloud',
  `${'a'.repeat(31)}.0.lane.fluidcloud`,
  `${'A'.repeat(32)}.0.lane.fluidcloud`,
  `${'a'.repeat(32)}.64.lane.fluidcloud`,
  `${'a'.repeat(32)}.01.lane.fluidcloud`,
  `${'a'.repeat(32)}.-1.lane.fluidcloud`,
  `${'a'.repeat(32)}.0.lane.fluidcloud\n`,
  `${'a'.repeat(32)}.0.lane.fluidcloud.example.org`,
]) {
  test(`parseServerName() knows no lane in ${JSON.stringify(name)}`, (t) => {
    t.is(parseServerName(name), undefined)
  })
}
