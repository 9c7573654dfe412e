import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { awaitHealthy, type ServiceCheck } from '../../../transfer/migrators/health.ts'
import { refusedWith } from '../../helpers/refused-with.ts'

const signal = new AbortController().signal
/** Long: no test waits for it. */
const deadlineMs = 60_000

async function port(t: ExecutionContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function web(t: ExecutionContext, answer: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await port(t, createServer(answer))}/health?token=hunter2`
}

test('awaitHealthy() asks again until all have passed, and says when', async (t) => {
  let asked = 0
  const url = await web(t, (_, response) => {
    response.statusCode = ++asked < 3 ? 503 : 200
    response.end('all is well')
  })
  const tcp = {
    kind: 'tcp',
    host: '127.0.0.1',
    port: await port(
      t,
      createTcpServer(() => {}),
    ),
  } as const
  const checks: ServiceCheck[] = [
    { kind: 'http', url, contains: 'well' },
    tcp,
    { kind: 'command', command: ['true'] },
  ]
  const told: unknown[] = []
  const passed = await awaitHealthy(checks, {
    signal,
    deadlineMs,
    intervalMs: 1,
    onPassed: (each) => told.push(each.check),
  })
  t.deepEqual(
    passed.map(({ check }) => check),
    checks,
  )
  t.is(passed[0].attempts, 3)
  t.is(told.length, 3)
  for (const check of checks) t.true(told.includes(check))
})

test('awaitHealthy() does not take for healthy what failed while another was waited for', async (t) => {
  const ups = { first: true, second: false }
  let asked = 0
  const urls = [
    await web(t, (_, response) => response.writeHead(ups.first ? 200 : 503).end()),
    await web(t, (_, response) => response.writeHead(asked++ > 0 && ups.second ? 200 : 503).end()),
  ]
  const failed: string[] = []
  await awaitHealthy(
    urls.map((url) => ({ kind: 'http', url })),
    {
      signal,
      deadlineMs,
      intervalMs: 1,
      onPassed: ({ check }) => {
        // The first breaks down as soon as it has answered, and the second comes up only then.
        if (check.kind === 'http' && check.url === urls[0]) Object.assign(ups, { first: false, second: true })
      },
      onFailed: (check) => {
        if (check.kind !== 'http' || check.url !== urls[0]) return
        failed.push(check.url)
        ups.first = true
      },
    },
  )
  t.deepEqual(failed, [urls[0]])
})

for (const kind of ['http', 'tcp'] as const)
  test(`awaitHealthy() takes localhost for 127.0.0.1, whatever is at ::1, over ${kind}`, async (t) => {
    const server = createServer((_, response) => response.end())
    t.teardown(() => server.close())
    server.listen(0, '::1')
    try {
      await once(server, 'listening')
    } catch {
      t.log('skipped: there is no IPv6 here')
      return t.pass()
    }
    const { port: at } = server.address() as AddressInfo
    const check: ServiceCheck =
      kind === 'http' ? { kind, url: `http://localhost:${at}/` } : { kind, host: 'localhost', port: at }
    const asked = awaitHealthy([check], { signal, deadlineMs: 300, intervalMs: 50 })
    t.regex((await refusedWith(t, 'HEALTH_FAILED', asked)).message, /refuses connections$/)
  })

const FAILING: Readonly<Record<string, [(t: ExecutionContext) => Promise<ServiceCheck>, RegExp]>> = {
  'another status': [
    async (t) => ({ kind: 'http', url: await web(t, (_, response) => response.writeHead(404).end()) }),
    /health answered 404, not 200 to 299$/,
  ],
  'the wrong status of several': [
    async (t) => ({ kind: 'http', status: 204, url: await web(t, (_, response) => response.end()) }),
    /answered 200, not 204$/,
  ],
  'other content': [
    async (t) => ({
      kind: 'http',
      contains: 'well',
      url: await web(t, (_, response) => response.end('ill')),
    }),
    /answered 200 without "well"$/,
  ],
  'an endless body': [
    async (t) => ({
      kind: 'http',
      contains: 'well',
      url: await web(t, (_, response) => {
        const more = () => {
          while (response.write(Buffer.alloc(65_536)));
        }
        response.on('drain', more)
        more()
      }),
    }),
    /answered 200 without "well"$/,
  ],
  'a port nobody listens at': [
    async () => ({ kind: 'tcp', host: '127.0.0.1', port: 1 }),
    /^tcp 127.0.0.1:1 refuses connections$/,
  ],
  'a connection that ends at once': [
    async (t) => ({
      kind: 'tcp',
      host: '127.0.0.1',
      port: await port(
        t,
        createTcpServer((socket) => socket.end()),
      ),
    }),
    /accepted a connection and closed it at once$/,
  ],
  'a command that fails': [
    async () => ({ kind: 'command', command: ['sh', '-c', 'echo so not >&2; exit 3'] }),
    /command sh ended with status 3: so not$/,
  ],
  'a command that does not exist': [
    async () => ({ kind: 'command', command: ['/no/such/command'] }),
    /command \/no\/such\/command ended with status 127/,
  ],
}
for (const [what, [create, words]] of Object.entries(FAILING)) {
  test(`awaitHealthy() says of ${what} what failed`, async (t) => {
    const check = await create(t)
    const { promise, resolve } = Promise.withResolvers<string>()
    const stop = new AbortController()
    const onFailed = (_: ServiceCheck, failed: string) => resolve(failed)
    const waiting = awaitHealthy([check], { signal: stop.signal, deadlineMs, onFailed })
    const failed = await promise
    stop.abort(new Error('Stop'))
    await t.throwsAsync(waiting, { message: 'Stop' })
    t.regex(failed, words)
    t.false(failed.includes('hunter2'))
  })
}

test('awaitHealthy() cuts off what hangs, and ends what a command started', async (t) => {
  const url = await web(t, () => {})
  const checks: ServiceCheck[] = [
    { kind: 'http', url },
    { kind: 'command', command: ['sh', '-c', 'sleep 1000 & sleep 1000'] },
  ]
  const waiting = awaitHealthy(checks, { signal, deadlineMs: 300, attemptMs: 100 })
  const error = await refusedWith(t, 'HEALTH_FAILED', waiting)
  t.regex(error.message, /health did not answer in time; command sh did not answer in time/)
})

test('awaitHealthy() ends with its signal', async (t) => {
  const stop = new AbortController()
  const waiting = awaitHealthy([{ kind: 'command', command: ['sleep', '1000'] }], {
    signal: stop.signal,
    deadlineMs,
  })
  stop.abort(new Error('Stop'))
  await t.throwsAsync(waiting, { message: 'Stop' })
})
