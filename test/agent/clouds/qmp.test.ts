import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { openQmp } from '../../../agent/clouds/qmp.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const GREETING = '{"QMP": {"version": {}, "capabilities": []}}\r\n'

test('openQmp() takes the next monitor when one is silent, gone or hangs up', async (t) => {
  const silent = await monitor(t, () => {})
  const rude = await monitor(t, (socket) => socket.destroy())
  const good = await monitor(t, (socket) => answering(socket, () => ({ return: { running: true } })))
  await using qmp = await openQmp([join(await tempDir(t), 'none'), rude, silent, good])
  t.deepEqual(await qmp.execute('query-status'), { running: true })
})

test('openQmp() says that none answers, and stops when aborted', async (t) => {
  const rude = await monitor(t, (socket) => socket.destroy())
  await t.throwsAsync(openQmp([rude]), { code: 'CLOUD_FAILED', message: /No monitor of QEMU answers/ })
  const reason = new Error('enough')
  await t.throwsAsync(openQmp([rude], { signal: AbortSignal.abort(reason) }), { is: reason })
})

test('execute() throws what QEMU said, and goes on', async (t) => {
  const path = await monitor(t, (socket) =>
    answering(socket, (command) =>
      command === 'bad' ? { error: { class: 'GenericError', desc: 'no such thing' } } : { return: 7 },
    ),
  )
  await using qmp = await openQmp([path])
  await t.throwsAsync(qmp.execute('bad'), { code: 'CLOUD_FAILED', message: /refused bad: no such thing/ })
  t.is(await qmp.execute('good'), 7)
})

test('execute() takes answers that come in pieces, between events, and of the same packet', async (t) => {
  const path = await monitor(t, (socket) =>
    answering(socket, (command) => {
      if (command === 'next') socket.write('{"event": "LATER", "data": {"n": 1}}\n{"ev')
      if (command === 'next') socket.write('ent": "LATER", "data": {"n": 2}}\n')
      return { return: command }
    }),
  )
  await using qmp = await openQmp([path])
  t.deepEqual(await Promise.all([qmp.execute('next'), qmp.execute('other')]), ['next', 'other'])
  t.deepEqual(await qmp.event('LATER', ({ n }) => n === 2), { event: 'LATER', data: { n: 2 } })
})

test('execute() has a deadline', async (t) => {
  const path = await monitor(t, (socket) => answering(socket, () => undefined))
  await using qmp = await openQmp([path])
  await t.throwsAsync(qmp.execute('stop', {}, { timeoutMs: 20 }), {
    code: 'CLOUD_FAILED',
    message: /20 ms: stop/,
  })
  await t.throwsAsync(
    qmp.event('STOP', () => true, { timeoutMs: 20 }),
    { code: 'CLOUD_FAILED' },
  )
})

const breaks = test.macro({
  exec: async (t, bytes: string | (() => Buffer), message: RegExp) => {
    const path = await monitor(t, (socket) =>
      answering(socket, () => void socket.write(typeof bytes === 'string' ? bytes : bytes())),
    )
    await using qmp = await openQmp([path])
    await t.throwsAsync(qmp.execute('query-status'), { code: 'CLOUD_FAILED', message })
    await t.throwsAsync(qmp.execute('again'), { code: 'CLOUD_FAILED', message })
  },
  title: (what = '') => `execute() ends a connection that ${what}`,
})

test('sends no JSON', breaks, 'hello\n', /no JSON/)
test('sends a line without end', breaks, () => Buffer.alloc((16 << 20) + 1, 0x61), /more than/)

/** A monitor that does as it is told; QEMU's own never breaks the protocol. */
async function monitor(t: ExecutionContext, serve: (socket: Socket) => void): Promise<string> {
  const path = join(await tempDir(t), 'qmp')
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    serve(socket)
  }).listen(path)
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return path
}

/** Greets, agrees on capabilities, and then answers as `answer` says. */
function answering(socket: Socket, answer: (command: string) => object | undefined | void): void {
  let held = ''
  socket.write(GREETING)
  socket.setEncoding('utf8').on('data', (text: string) => {
    held += text
    for (let end = held.indexOf('\n'); end !== -1; end = held.indexOf('\n')) {
      const { execute, id } = JSON.parse(held.slice(0, end)) as { execute: string; id: number }
      held = held.slice(end + 1)
      const reply = execute === 'qmp_capabilities' ? { return: {} } : answer(execute)
      if (reply) socket.write(`${JSON.stringify({ ...reply, id })}\r\n`)
    }
  })
}
