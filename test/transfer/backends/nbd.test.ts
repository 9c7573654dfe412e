import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import anyTest from 'ava'
import type { FluidError } from '../../../protocol/errors.ts'
import { openNbdClient } from '../../../transfer/backends/nbd-client.ts'
import { openNbdSink, openNbdSource } from '../../../transfer/backends/nbd.ts'
import { parseNbdUrl } from '../../../transfer/backends/nbd-url.ts'
import { testSink } from '../../conformance/sink.ts'
import { testSource } from '../../conformance/source.ts'
import { collect } from '../../helpers/collect.ts'
import { hasProgram, nbdkit } from '../../helpers/programs.ts'
import { writeSparse } from '../../helpers/sparse-content.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = hasProgram('nbdkit') ? undefined : 'needs nbdkit'
const test = skip === undefined ? anyTest : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`

testSource('nbd', {
  skip,
  async open(t, content) {
    const path = join(await tempDir(t), 'disk')
    await writeSparse(path, content)
    return openNbdSource(await nbdkit(t, ['--readonly', 'file', path]))
  },
})

testSource('nbd without structured replies', {
  skip,
  async open(t, content) {
    const path = join(await tempDir(t), 'disk')
    await writeFile(path, content)
    return openNbdSource(await nbdkit(t, ['--no-sr', '--readonly', 'file', path]))
  },
})

for (const filters of [[], ['--filter=nozero', '--filter=noextents'], ['--filter=blocksize-policy']]) {
  testSink(`nbd ${filters.join(' ')}`, {
    skip,
    granularityBytes: filters.includes('--filter=blocksize-policy') ? 4096 : 1,
    async create(t, sizeBytes) {
      const strict = filters.includes('--filter=blocksize-policy')
      const policy = [
        'blocksize-minimum=4096',
        'blocksize-preferred=4096',
        'blocksize-maximum=65536',
        'blocksize-error-policy=error',
      ]
      const url = await nbdkit(t, [...filters, 'memory', String(sizeBytes), ...(strict ? policy : [])])
      return { open: () => openNbdSink(url) }
    },
  })
}

test(`openNbdSource() read() gives EIO of the server with its offset${why}`, async (t) => {
  const url = await nbdkit(t, ['--filter=error', 'memory', '4M', 'error-pread=EIO', 'error-pread-rate=100%'])
  await using source = await openNbdSource(url)
  const error = await t.throwsAsync<FluidError>(async () => source.read(Buffer.alloc(65_536), 1 << 20), {
    code: 'SOURCE_READ',
  })
  t.is(error?.details.offset, 1 << 20)
  t.regex(error.message, /EIO/)
})

test(`openNbdSink() write() tells a full server from a broken one${why}`, async (t) => {
  await using full = await openNbdSink(
    await nbdkit(t, ['--filter=error', 'memory', '1M', 'error-pwrite=ENOSPC', 'error-pwrite-rate=1']),
  )
  await t.throwsAsync(async () => full.write(Buffer.alloc(4096, 1), 8192), {
    code: 'NO_SPACE',
    message: /offset 8192/,
  })
  await using broken = await openNbdSink(
    await nbdkit(t, ['--filter=error', 'memory', '1M', 'error-pwrite=EIO', 'error-pwrite-rate=1']),
  )
  await t.throwsAsync(async () => broken.write(Buffer.alloc(4096, 1), 8192), {
    code: 'TARGET_WRITE',
    message: /offset 8192/,
  })
})

test(`openNbdSink() refuses a read-only export${why}`, async (t) => {
  const url = await nbdkit(t, ['--readonly', 'memory', '1M'])
  await t.throwsAsync(openNbdSink(url), { code: 'TARGET_WRITE', message: /read-only/ })
})

test(`openNbdSink() refuses an export that cannot be flushed${why}`, async (t) => {
  const error = await t.throwsAsync<FluidError>(openNbdSink(await nbdkit(t, ['full', '1M'])), {
    code: 'FORMAT_UNSUPPORTED',
  })
  t.regex(error.message, /takes no flush/)
  t.truthy(error.hint)
  await using source = await openNbdSource(await nbdkit(t, ['full', '1M']))
  t.is(source.sizeBytes, 1 << 20)
})

test(`openNbdSource() finds the data in 1 TiB of hole with a question a GiB and no read${why}`, async (t) => {
  const log = join(await tempDir(t), 'log')
  const url = await nbdkit(t, ['--filter=log', 'memory', String(2 ** 40), `logfile=${log}`])
  await using sink = await openNbdSink(url)
  await sink.write(Buffer.from('x'), 2 ** 39 + 5)
  await using source = await openNbdSource(url)
  const extents = await collect(source.extents(0))
  t.is(extents.length, 1)
  t.true(extents[0].offset <= 2 ** 39 + 5 && extents[0].offset + extents[0].length > 2 ** 39 + 5)
  const asked = (await readFile(log, 'utf8')).match(/\.\.\.(Extents|Read)\b/g)?.toSorted() ?? []
  // A question covers 1 GiB where nothing is.
  t.true(asked.length >= 1024 && asked.length < 1100, `${asked.length} questions`)
  t.is(asked.at(-1), '...Extents')
})

anyTest('openNbdSource() throws SOURCE_READ when the server goes before it agreed', async (t) => {
  const server = createServer((socket) => socket.destroy())
  const path = join(await tempDir(t), 'nbd')
  server.listen(path)
  t.teardown(() => server.close())
  await t.throwsAsync(openNbdSource(`nbd+unix:///?socket=${path}`), { code: 'SOURCE_READ' })
})

test(`openNbdSource() says that an export is unknown${why}`, async (t) => {
  const url = await nbdkit(t, [
    '--filter=exportname',
    'memory',
    '1M',
    'exportname-strict=true',
    'exportname=one',
  ])
  await t.throwsAsync(openNbdSource(url.replace('nbd+unix:///?', 'nbd+unix:///two?')), {
    code: 'SOURCE_MISSING',
  })
  await using source = await openNbdSource(url.replace('nbd+unix:///?', 'nbd+unix:///one?'))
  t.is(source.sizeBytes, 1 << 20)
})

anyTest('openNbdClient() gives up on a server that stays silent', async (t) => {
  const path = join(await tempDir(t), 'nbd')
  const server = createServer(() => {})
  server.listen(path)
  t.teardown(() => server.close())
  const address = parseNbdUrl(`nbd+unix:///?socket=${path}`)
  await t.throwsAsync(openNbdClient(address, { connectTimeoutMs: 50 }), { code: 'ETIMEDOUT' })
  const reason = new Error('enough')
  const controller = new AbortController()
  const opening = openNbdClient(address, { signal: controller.signal })
  controller.abort(reason)
  await t.throwsAsync(opening, { is: reason })
})

anyTest('parseNbdUrl() reads both forms', (t) => {
  t.deepEqual(parseNbdUrl('nbd://[::1]:10810/a%20b'), {
    socket: { host: '::1', port: 10810 },
    exportName: 'a b',
    zeroed: false,
  })
  t.deepEqual(parseNbdUrl('nbd://host'), {
    socket: { host: 'host', port: 10809 },
    exportName: '',
    zeroed: false,
  })
  t.deepEqual(parseNbdUrl('nbd+unix:///x?socket=/run/s&zeroed=1'), {
    socket: { path: '/run/s' },
    exportName: 'x',
    zeroed: true,
  })
  for (const bad of [
    'nbd+unix:///x',
    'nbd+unix:///x?socket=rel',
    'nbd:///x',
    'http://x',
    'nbd://h/%ff',
    'nbd://h:99999/',
  ]) {
    t.throws(() => parseNbdUrl(bad), { code: 'USAGE' }, bad)
  }
})
