import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { openNbdClient, type NbdClient } from '../../../transfer/backends/nbd-client.ts'
import { openNbdSource } from '../../../transfer/backends/nbd.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const SIZE = 1 << 20
const OPTION_REPLY = Buffer.from('0003e889045565a9', 'hex')

/** Bytes of big-endian numbers: [value, bytes], and buffers as they are. */
function wire(...parts: (readonly [number | bigint, 2 | 4 | 8] | Buffer)[]): Buffer {
  return Buffer.concat(
    parts.map((part): Buffer => {
      if (Buffer.isBuffer(part)) return part
      const bytes = Buffer.alloc(8)
      bytes.writeBigUInt64BE(BigInt(part[0]))
      return bytes.subarray(8 - part[1])
    }),
  )
}

const optionReply = (option: number, type: number, data: Buffer = Buffer.alloc(0), length = data.length) =>
  wire(OPTION_REPLY, [option, 4], [type, 4], [length, 4], data)
const exportInfo = (size: number | bigint) => optionReply(7, 3, wire([0, 2], [size, 8], [1 + 4 + 64, 2]))
const chunk = (cookie: bigint, type: number, payload: Buffer, done = 1, length = payload.length) =>
  wire([0x668e33ef, 4], [done, 2], [type, 2], [cookie, 8], [length, 4], payload)
const simple = (cookie: bigint, errno = 0) => wire([0x67446698, 4], [errno, 4], [cookie, 8])

interface Lies {
  readonly hello?: Buffer
  /** Replies to an option, instead of the honest ones. */
  readonly option?: Record<number, Buffer>
  /** What is sent for a request. */
  readonly answer?: (
    request: { command: number; cookie: bigint; offset: bigint; length: number },
    socket: Socket,
  ) => Buffer
}

/** A server that negotiates honestly but for the lies told it. */
async function server(t: ExecutionContext, lies: Lies): Promise<string> {
  const listener = createServer((socket) => {
    socket.on('error', () => {})
    void serve(socket, lies).catch(() => socket.destroy())
  })
  const path = join(await tempDir(t), 'nbd')
  listener.listen(path)
  await once(listener, 'listening')
  t.teardown(() => listener.close())
  return path
}

async function serve(socket: Socket, { hello, option = {}, answer }: Lies): Promise<void> {
  const take = reader(socket)
  socket.write(hello ?? wire(Buffer.from('NBDMAGICIHAVEOPT'), [3, 2]))
  await take(4)
  while (true) {
    const head = await take(16)
    const id = head.readUInt32BE(8)
    await take(head.readUInt32BE(12))
    const honest: Record<number, Buffer> = {
      7: Buffer.concat([exportInfo(SIZE), optionReply(7, 1)]),
      8: optionReply(8, 1),
      10: Buffer.concat([
        optionReply(10, 4, wire([42, 4], Buffer.from('base:allocation'))),
        optionReply(10, 1),
      ]),
    }
    socket.write(option[id] ?? honest[id])
    if (id === 7) break
  }
  while (true) {
    const head = await take(28)
    const request = {
      command: head.readUInt16BE(6),
      cookie: head.readBigUInt64BE(8),
      offset: head.readBigUInt64BE(16),
      length: head.readUInt32BE(24),
    }
    if (request.command === 2) return void socket.end()
    socket.write(answer!(request, socket))
  }
}

function reader(socket: Socket): (length: number) => Promise<Buffer> {
  const bytes = socket[Symbol.asyncIterator]()
  let rest: Buffer = Buffer.alloc(0)
  return async (length) => {
    while (rest.length < length) {
      const { value, done } = await bytes.next()
      if (done) throw new Error('closed')
      rest = Buffer.concat([rest, value as Buffer])
    }
    const taken = rest.subarray(0, length)
    rest = rest.subarray(length)
    return taken
  }
}

const handshakeLies: Record<string, Lies> = {
  'a wrong greeting': { hello: Buffer.from('HTTP/1.1 400 Bad Request') },
  'the old handshake': { hello: wire(Buffer.from('NBDMAGIC'), [0x00420281861253n, 8], [0, 2]) },
  'no fixed newstyle': { hello: wire(Buffer.from('NBDMAGICIHAVEOPT'), [0, 2]) },
  'an option reply with a wrong magic': { option: { 8: Buffer.alloc(20, 1) } },
  'an answer to another option': { option: { 8: optionReply(9, 1) } },
  'an option reply of 4 GB': { option: { 8: optionReply(8, 3, Buffer.alloc(0), 0xffff_ffff) } },
  'option replies without end': {
    option: { 7: Buffer.concat(Array.from({ length: 5000 }, () => exportInfo(SIZE))) },
  },
  'no size': { option: { 7: optionReply(7, 1) } },
  'a size beyond all bounds': { option: { 7: Buffer.concat([exportInfo(2n ** 63n), optionReply(7, 1)]) } },
  'blocks that are no power of two': {
    option: {
      7: Buffer.concat([
        exportInfo(SIZE),
        optionReply(7, 3, wire([3, 2], [3, 4], [4096, 4], [65536, 4])),
        optionReply(7, 1),
      ]),
    },
  },
}

for (const [what, lies] of Object.entries(handshakeLies)) {
  test(`openNbdClient() refuses a server that sends ${what}`, async (t) => {
    const path = await server(t, lies)
    await t.throwsAsync(openNbdClient({ socket: { path }, exportName: '', zeroed: false }), {
      code: 'EPROTO',
    })
  })
}

const readLies: Record<string, NonNullable<Lies['answer']>> = {
  'a wrong magic': () => Buffer.alloc(32, 9),
  'an unknown cookie': (request) => chunk(request.cookie + 1n, 0, Buffer.alloc(0)),
  'a simple reply with data': (request) => wire(simple(request.cookie), Buffer.alloc(request.length)),
  'data before the range': (request) =>
    chunk(request.cookie, 1, wire([request.offset - 1n, 8], Buffer.alloc(10))),
  'data behind the range': (request) =>
    chunk(request.cookie, 1, wire([request.offset, 8], Buffer.alloc(request.length + 1))),
  'a data chunk of 4 GB': (request) => chunk(request.cookie, 1, wire([request.offset, 8]), 1, 0xffff_ffff),
  'a data chunk without data': (request) => chunk(request.cookie, 1, wire([request.offset, 8])),
  'a hole behind the range': (request) =>
    chunk(request.cookie, 2, wire([request.offset, 8], [0xffff_ffff, 4])),
  'a hole of a wrong length': (request) => chunk(request.cookie, 2, wire([request.offset, 8])),
  'nothing but the end': (request) => chunk(request.cookie, 0, Buffer.alloc(0)),
  'half of the data': (request) =>
    chunk(request.cookie, 1, wire([request.offset, 8], Buffer.alloc(request.length / 2))),
  'the same half twice': (request) => {
    const half = wire([request.offset, 8], Buffer.alloc(request.length / 2))
    return Buffer.concat([chunk(request.cookie, 1, half, 0), chunk(request.cookie, 1, half)])
  },
  'a read in crumbs': (request) =>
    Buffer.concat(
      Array.from({ length: request.length }, (_, i) =>
        chunk(request.cookie, 1, wire([request.offset + BigInt(i), 8], Buffer.alloc(1)), 0),
      ),
    ),
  'an unknown kind of chunk': (request) => chunk(request.cookie, 77, Buffer.alloc(8)),
  'a block status for a read': (request) => chunk(request.cookie, 5, wire([42, 4], [512, 4], [0, 4])),
  'an error of 4 GB': (request) => chunk(request.cookie, 0x8001, wire([5, 4], [0, 2]), 1, 0xffff_ffff),
  'an error message longer than its chunk': (request) =>
    chunk(request.cookie, 0x8001, wire([5, 4], [9999, 2])),
  'an empty chunk that is not the last': (request) => chunk(request.cookie, 0, Buffer.alloc(0), 0),
}

for (const [what, answer] of Object.entries(readLies)) {
  test(`NbdClient read() ends the connection on ${what}, and writes nothing outside the target`, async (t) => {
    await using client = await open(t, { answer })
    const around = Buffer.alloc(3 * 8192, 0xaa)
    const other = t.throwsAsync(client.read(Buffer.alloc(4096), 500_000))
    await t.throwsAsync(client.read(around.subarray(8192, 16_384), 65_536), { code: 'EPROTO' })
    await other
    t.true(around.subarray(0, 8192).every((byte) => byte === 0xaa))
    t.true(around.subarray(16_384).every((byte) => byte === 0xaa))
    await t.throwsAsync(client.read(Buffer.alloc(1), 0), { code: 'EPROTO' }, 'the connection stays dead')
  })
}

const statusLies: Record<string, Buffer> = {
  'another context': wire([43, 4], [SIZE, 4], [0, 4]),
  'an extent of nothing': wire([42, 4], [0, 4], [0, 4]),
  'half an extent': wire([42, 4], [SIZE, 4], [0, 4], [1, 4]),
  'no extent': wire([42, 4]),
}

for (const [what, payload] of Object.entries(statusLies)) {
  test(`openNbdSource() extents() throws SOURCE_READ on a block status with ${what}`, async (t) => {
    const path = await server(t, { answer: (request) => chunk(request.cookie, 5, payload) })
    await using source = await openNbdSource(`nbd+unix:///?socket=${path}`)
    await t.throwsAsync(async () => source.extents(0)[Symbol.asyncIterator]().next(), { code: 'SOURCE_READ' })
  })
}

test('NbdClient read() puts chunks together in any order, holes and errors with offset included', async (t) => {
  await using client = await open(t, {
    answer: ({ cookie, offset, length }) => {
      if (offset === 0n) return chunk(cookie, 0x8002, wire([5, 4], [4, 2], Buffer.from('disk'), [4000, 8]))
      const half = length / 2
      return Buffer.concat([
        chunk(cookie, 2, wire([offset + BigInt(half), 8], [half, 4]), 0),
        chunk(cookie, 1, wire([offset, 8], Buffer.alloc(half, 7)), 0),
        chunk(cookie, 0, Buffer.alloc(0)),
      ])
    },
  })
  const target = Buffer.alloc(8192, 0xaa)
  await client.read(target, 4096)
  t.true(target.equals(Buffer.concat([Buffer.alloc(4096, 7), Buffer.alloc(4096)])))
  await t.throwsAsync(client.read(target, 0), { code: 'EIO', message: /offset 4000: disk/ })
  await client.read(target, 4096)
})

test('NbdClient gives up on a server that owes an answer and is silent', async (t) => {
  await using client = await open(t, { answer: () => Buffer.alloc(0) }, 50)
  await t.throwsAsync(client.read(Buffer.alloc(10), 0), { code: 'ETIMEDOUT' })
})

test('NbdClient gives up on a silent server after a long rest too', async (t) => {
  await using client = await open(t, { answer: () => Buffer.alloc(0) }, 5)
  await delay(50)
  await t.throwsAsync(client.read(Buffer.alloc(10), 0), { code: 'ETIMEDOUT' })
})

test('NbdClient throws for everything in flight when the server goes', async (t) => {
  await using client = await open(t, { answer: (_request, socket) => (socket.destroy(), Buffer.alloc(0)) })
  const reads = [client.read(Buffer.alloc(10), 0), client.read(Buffer.alloc(10), 100), client.flush()]
  for (const read of reads) await t.throwsAsync(read)
})

async function open(t: ExecutionContext, lies: Lies, stallTimeoutMs?: number): Promise<NbdClient> {
  return openNbdClient(
    { socket: { path: await server(t, lies) }, exportName: '', zeroed: false },
    { stallTimeoutMs },
  )
}
