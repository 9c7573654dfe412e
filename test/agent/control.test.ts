import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, stat, writeFile } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import path from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import type { AgentApi } from '../../agent/api.ts'
import { connectAgent } from '../../agent/control/client.ts'
import { serveControl } from '../../agent/control/server.ts'
import { CALLS } from '../../agent/control/wire.ts'
import { homeAt, initHome, type Home } from '../../agent/home.ts'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_SOCKET_CALLS, MAX_SOCKET_LINE_BYTES } from '../../protocol/limits.ts'
import { openTempFolder } from '../helpers/command-line.ts'
import {
  createFakeAgent,
  failing,
  fakeComplete,
  fakeJob,
  streamUntilAborted,
  type FakeAnswers,
} from '../helpers/fake-agent.ts'

interface Served extends AsyncDisposable {
  readonly home: Home
  readonly calls: unknown[]
  readonly clients: () => number
}

async function serveFake(answers: FakeAnswers = {}, name = 'home'): Promise<Served> {
  const folder = await openTempFolder()
  const home = await initHome(path.join(folder.path, name), { name: 'alpha' })
  const { api, calls } = createFakeAgent(answers)
  const server = await serveControl(api, home)
  return {
    home,
    calls,
    clients: () => server.clients,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

interface Answer {
  readonly id: number | null
  readonly error?: { readonly code: string; readonly message: string }
}

/** A client that writes what it likes and reads whole lines. */
async function openRaw(home: Home): Promise<{ socket: Socket; line: () => Promise<Answer | undefined> }> {
  const socket = createConnection(home.socket)
  socket.on('error', () => {})
  await once(socket, 'connect')
  let held = ''
  const chunks = socket[Symbol.asyncIterator]()
  const line = async (): Promise<Answer | undefined> => {
    while (!held.includes('\n')) {
      const { value, done } = await chunks.next()
      if (done) return undefined
      held += String(value)
    }
    const end = held.indexOf('\n')
    const first = held.slice(0, end)
    held = held.slice(end + 1)
    return JSON.parse(first)
  }
  return { socket, line }
}

test('connectAgent() answers every call of the api', async (t) => {
  await using served = await serveFake()
  await using agent = await connectAgent(served.home)
  for (const call of Object.keys(CALLS)) t.is(typeof agent[call as keyof AgentApi], 'function', call)
  t.is((await agent.status()).pid, 4321)
  const reports: unknown[] = []
  for await (const report of agent.watch({ job: 'job-1' })) reports.push(report)
  t.deepEqual(reports, [fakeJob, JSON.parse(JSON.stringify(fakeComplete))])
  t.is(await agent.stop(), null as never)
})

test('connectAgent() carries errors with code, message, hint and offset', async (t) => {
  await using served = await serveFake({
    move: async () => {
      throw new FluidError('SOURCE_READ', 'Reading failed', {
        hint: 'Look at dmesg',
        offset: 4096,
        cause: new Error('EIO'),
      })
    },
    jobs: async () => {
      throw new TypeError('undefined is not a function')
    },
  })
  await using agent = await connectAgent(served.home)
  const error = await t.throwsAsync<FluidError>(agent.move({ source: '/a', peer: 'b', destination: 'c' }), {
    instanceOf: FluidError,
  })
  t.like(error, { code: 'SOURCE_READ', message: 'Reading failed', hint: 'Look at dmesg', exit: 1 })
  t.is(error?.details.offset, 4096)
  await t.throwsAsync(agent.jobs(), { code: 'UNEXPECTED', message: 'undefined is not a function' })
})

test('connectAgent() throws AGENT_NOT_RUNNING without a socket and with a dead one', async (t) => {
  await using folder = await openTempFolder()
  const home = await initHome(path.join(folder.path, 'home'), { name: 'alpha' })
  await t.throwsAsync(connectAgent(home.path), { code: 'AGENT_NOT_RUNNING' })
  await writeFile(home.socket, '')
  await t.throwsAsync(connectAgent(home), { code: 'AGENT_NOT_RUNNING' })
})

test('connectAgent() fails open calls when the agent goes away', async (t) => {
  await using served = await serveFake({
    verify: () => new Promise(() => {}),
    watch: (_, call) => streamUntilAborted(fakeJob, call),
  })
  await using agent = await connectAgent(served.home)
  const pending = t.throwsAsync(agent.verify({ job: 'a', deep: true }), { code: 'AGENT_NOT_RUNNING' })
  const stream = agent.watch({})[Symbol.asyncIterator]()
  await stream.next()
  const next = t.throwsAsync(stream.next() as Promise<unknown>, { code: 'AGENT_NOT_RUNNING' })
  await served[Symbol.asyncDispose]()
  await Promise.all([pending, next])
  await t.throwsAsync(agent.jobs(), { code: 'AGENT_NOT_RUNNING' })
})

test('serveControl() aborts a stream when its reader stops, and when its client leaves', async (t) => {
  const aborted: string[] = []
  const left = Promise.withResolvers<void>()
  await using served = await serveFake({
    watch: ({ job = '' }, call) => {
      call?.signal?.addEventListener('abort', () => {
        aborted.push(job)
        if (aborted.length === 2) left.resolve()
      })
      return streamUntilAborted(fakeJob, call)
    },
  })
  const agent = await connectAgent(served.home)
  for await (const report of agent.watch({ job: 'first' })) {
    t.is(report.job, 'job-1')
    break
  }
  await agent.watch({ job: 'second' })[Symbol.asyncIterator]().next()
  await agent[Symbol.asyncDispose]()
  await left.promise
  t.deepEqual(aborted, ['first', 'second'])
})

test('connectAgent() abandons a call when its signal aborts', async (t) => {
  const seen = Promise.withResolvers<void>()
  await using served = await serveFake({
    verify: (_, call) => new Promise(() => call?.signal?.addEventListener('abort', () => seen.resolve())),
  })
  await using agent = await connectAgent(served.home)
  const controller = new AbortController()
  const call = agent.verify({ job: 'a', deep: false }, { signal: controller.signal })
  controller.abort(new Error('enough'))
  await t.throwsAsync(call, { message: 'enough' })
  await seen.promise
  t.is((await agent.jobs()).length, 1)
})

test('serveControl() makes a socket for its owner alone and removes it', async (t) => {
  await using served = await serveFake()
  t.is((await stat(served.home.socket)).mode & 0o777, 0o600)
  t.is((await stat(served.home.path)).mode & 0o777, 0o700)
  const gone = served.home.socket
  await served[Symbol.asyncDispose]()
  await t.throwsAsync(stat(gone), { code: 'ENOENT' })
})

test('serveControl() replaces the socket of a dead agent and refuses that of a living one', async (t) => {
  await using served = await serveFake()
  await t.throwsAsync(serveControl(createFakeAgent().api, served.home), { code: 'STATE_LOCKED' })
  await using folder = await openTempFolder()
  const home = await initHome(path.join(folder.path, 'home'), { name: 'alpha' })
  const program = `require('net').createServer().listen(${JSON.stringify(home.socket)}, () => console.log('ready'))`
  const dead = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(dead.stdout, 'data')
  dead.kill('SIGKILL')
  await once(dead, 'exit')
  t.true((await stat(home.socket)).isSocket())
  await using _server = await serveControl(createFakeAgent().api, home)
  await using agent = await connectAgent(home)
  t.is((await agent.jobs()).length, 1)
})

for (const bytes of [107, 108, 200]) {
  test(`serveControl() listens on a socket path of ${bytes} bytes`, async (t) => {
    await using folder = await openTempFolder()
    const name = 'x'.repeat(bytes - Buffer.byteLength(path.join(folder.path, 'x', 'agent.sock')) + 1)
    const home = homeAt(path.join(folder.path, name))
    t.is(Buffer.byteLength(home.socket), bytes)
    await mkdir(home.path, { mode: 0o700 })
    const server = await serveControl(createFakeAgent().api, home)
    {
      await using agent = await connectAgent(home)
      t.is((await agent.jobs()).length, 1)
    }
    t.is((await stat(home.socket)).mode & 0o777, 0o600)
    await server[Symbol.asyncDispose]()
    await t.throwsAsync(stat(home.socket), { code: 'ENOENT' })
  })
}

const hostile: readonly [what: string, line: string, id: number | null, message: RegExp][] = [
  ['no JSON', 'GET / HTTP/1.1', null, /not JSON/],
  ['an array', '[1,2]', null, /not a JSON object/],
  ['null', 'null', null, /not a JSON object/],
  ['no id', '{"call":"jobs"}', null, /no integer id/],
  ['a text as id', '{"id":"1","call":"jobs"}', null, /no integer id/],
  ['a huge id', '{"id":1e300,"call":"jobs"}', null, /no integer id/],
  ['no call', '{"id":1}', 1, /does not exist/],
  ['an unknown call', '{"id":1,"call":"format"}', 1, /does not exist/],
  ['an inherited call', '{"id":1,"call":"constructor"}', 1, /does not exist/],
  ['the prototype as call', '{"id":1,"call":"__proto__"}', 1, /does not exist/],
  ['an object as call', '{"id":1,"call":{}}', 1, /does not exist/],
  ['arguments as list', '{"id":1,"call":"pause","args":["a"]}', 1, /not an object/],
  ['a missing argument', '{"id":1,"call":"pause","args":{}}', 1, /needs the argument job/],
  ['a wrong type', '{"id":1,"call":"pause","args":{"job":1}}', 1, /not a string/],
  ['a negative number', '{"id":1,"call":"bench","args":{"peer":"b","bytes":-1}}', 1, /not a number/],
  ['an unknown argument', '{"id":1,"call":"jobs","args":{"x":1}}', 1, /takes no argument x/],
  [
    'an unknown choice',
    '{"id":1,"call":"policySet","args":{"peer":"b","approve":"yes"}}',
    1,
    /none of auto, ask/,
  ],
  ['a map of numbers', '{"id":1,"call":"policySet","args":{"peer":"b","targets":{"a":1}}}', 1, /not a map/],
]

for (const [what, line, id, message] of hostile) {
  test(`serveControl() answers ${what} with USAGE and goes on`, async (t) => {
    await using served = await serveFake()
    const client = await openRaw(served.home)
    client.socket.write(`${line}\n\n{"id":7,"call":"jobs"}\n`)
    const error = await client.line()
    t.is(error?.id, id)
    t.is(error?.error?.code, 'USAGE')
    t.regex(error?.error?.message ?? '', message)
    t.is((await client.line())?.id, 7)
    t.deepEqual(served.calls, [['jobs', {}]])
    client.socket.destroy()
  })
}

test('serveControl() ends a client whose line is longer than MAX_SOCKET_LINE_BYTES', async (t) => {
  await using served = await serveFake()
  const client = await openRaw(served.home)
  client.socket.write(Buffer.alloc(MAX_SOCKET_LINE_BYTES + 1, 0x20))
  t.like(await client.line(), { id: null, error: { code: 'LIMIT_EXCEEDED' } })
  t.is(await client.line(), undefined)
})

test('serveControl() answers LIMIT_EXCEEDED when the answer itself is too long', async (t) => {
  await using served = await serveFake({
    jobs: async () => [{ ...fakeJob, source: 'x'.repeat(MAX_SOCKET_LINE_BYTES) }],
  })
  await using agent = await connectAgent(served.home)
  await t.throwsAsync(agent.jobs(), { code: 'LIMIT_EXCEEDED' })
  t.is((await agent.status()).pid, 4321)
})

test('serveControl() refuses calls beyond MAX_SOCKET_CALLS and an id in use', async (t) => {
  await using served = await serveFake({ verify: () => new Promise(() => {}) })
  const client = await openRaw(served.home)
  const verify = (id: number): string => `{"id":${id},"call":"verify","args":{"job":"a","deep":false}}\n`
  for (let id = 1; id <= MAX_SOCKET_CALLS; id++) client.socket.write(verify(id))
  client.socket.write(verify(3))
  t.like(await client.line(), { id: null, error: { code: 'USAGE', message: 'The id 3 is in use' } })
  client.socket.write(verify(1000))
  t.like(await client.line(), { id: 1000, error: { code: 'LIMIT_EXCEEDED' } })
  client.socket.write('{"id":5,"abort":true}\n{"id":999,"abort":true}\n')
  client.socket.destroy()
  t.is(served.calls.length, MAX_SOCKET_CALLS)
})

test('serveControl() does not run ahead of a client that reads nothing', async (t) => {
  let produced = 0
  const left = Promise.withResolvers<void>()
  await using served = await serveFake({
    async *watch() {
      try {
        for (; produced < 100_000; produced++) yield { ...fakeJob, source: 'x'.repeat(10_000) }
      } finally {
        left.resolve()
      }
    },
  })
  const socket = createConnection(served.home.socket)
  await once(socket, 'connect')
  socket.pause()
  socket.write('{"id":1,"call":"watch"}\n')
  // The other client is answered while the first one stalls.
  await using agent = await connectAgent(served.home)
  for (let turn = 0; turn < 50; turn++) await agent.jobs()
  t.true(produced < 200, `${produced} items of 10 kB were made for a reader of none`)
  socket.destroy()
  await left.promise
  t.true(produced < 200)
})

test('serveControl() survives any bytes', async (t) => {
  await using served = await serveFake()
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), async (writes) => {
      const socket = createConnection(served.home.socket)
      socket.on('error', () => {})
      for (const bytes of writes) socket.write(Buffer.concat([bytes, Buffer.from('\n')]))
      socket.end()
      socket.resume()
      await once(socket, 'close')
    }),
    { numRuns: 50 },
  )
  await using agent = await connectAgent(served.home)
  t.is((await agent.jobs()).length, 1)
})

test('connectAgent() fails calls when what answers is no agent', async (t) => {
  await using folder = await openTempFolder()
  const home = await initHome(path.join(folder.path, 'home'), { name: 'alpha' })
  const server = createServer((socket) => socket.write('HTTP/1.1 400 Bad Request\r\n')).listen(home.socket)
  await once(server, 'listening')
  await using agent = await connectAgent(home)
  await t.throwsAsync(agent.jobs(), { code: 'AGENT_NOT_RUNNING' })
  server.close()
})

test('toWireError() keeps a failure of the fake as its code', async (t) => {
  await using served = await serveFake({ pause: failing('JOB_STATE', 'Job a is complete') })
  await using agent = await connectAgent(served.home)
  await t.throwsAsync(agent.pause({ job: 'a' }), { code: 'JOB_STATE', message: 'Job a is complete' })
})
