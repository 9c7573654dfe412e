import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { openStateStore } from '../../agent/state-store.ts'
import { FluidError } from '../../protocol/errors.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const module = JSON.stringify(new URL('../../agent/state-store.ts', import.meta.url).href)

test('openStateStore() keeps rows across a reopening, table by table', async (t) => {
  const path = join(await tempDir(t), 'state')
  {
    await using store = await openStateStore(path)
    const [peers, jobs] = [store.table<{ n: number }>('peers'), store.table<{ n: number }>('jobs')]
    await peers.put('a', { n: 1 })
    await store.write([peers.putOp('b', { n: 2 }), jobs.putOp('a', { n: 3 }), peers.delOp('a')])
  }
  await using store = await openStateStore(path)
  t.deepEqual(await store.table('peers').all(), [{ n: 2 }])
  t.is(store.table('peers').get('a'), undefined)
  t.deepEqual(store.table('jobs').get('a'), { n: 3 })
})

test('write() changes nothing when one change cannot be made, and goes on working', async (t) => {
  await using store = await openStateStore(join(await tempDir(t), 'state'))
  const table = store.table<unknown>('jobs')
  const circular: { self?: unknown } = {}
  circular.self = circular
  await t.throwsAsync(store.write([table.putOp('a', 1), table.putOp('b', circular)]))
  t.deepEqual(await table.all(), [])
  await table.put('a', 1)
  t.is(table.get('a'), 1)
})

test('openStateStore() is refused while another process holds it', async (t) => {
  const path = join(await tempDir(t), 'state')
  const script = `await (await import(${module})).openStateStore(process.argv[1]); console.log('open'); setInterval(() => {}, 1e6)`
  const other = spawn(process.execPath, ['--input-type=module', '-e', script, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => other.kill('SIGKILL'))
  await once(other.stdout, 'data')
  const error = await t.throwsAsync(openStateStore(path), { instanceOf: FluidError })
  t.is(error?.code, 'STATE_LOCKED')
  other.kill('SIGKILL')
  await once(other, 'exit')
  await using _ = await openStateStore(path)
})

test('openStateStore() is shared with a worker thread of the same process', async (t) => {
  const path = join(await tempDir(t), 'state')
  await using store = await openStateStore(path)
  await store.table('jobs').put('a', { n: 1 })
  const script = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(${module}).then(async ({ openStateStore }) => {
      const store = await openStateStore(workerData)
      parentPort.postMessage(store.table('jobs').get('a'))
      await store[Symbol.asyncDispose]()
    })`
  const worker = new Worker(script, { eval: true, workerData: path })
  t.deepEqual((await once(worker, 'message'))[0], { n: 1 })
  await once(worker, 'exit')
  t.deepEqual(store.table('jobs').get('a'), { n: 1 })
})

test('openStateStore() says what is damaged, and repairs nothing', async (t) => {
  const path = join(await tempDir(t), 'state')
  await (await openStateStore(path))[Symbol.asyncDispose]()
  await writeFile(join(path, 'CURRENT'), 'garbage')
  const files = await readdir(path)
  const error = await t.throwsAsync(openStateStore(path), { instanceOf: FluidError })
  t.is(error?.code, 'STATE_DAMAGED')
  t.regex(error.message, /CURRENT/)
  t.true(new Set(await readdir(path)).isSupersetOf(new Set(files.filter((name) => !name.startsWith('LOG')))))
  await rm(path, { recursive: true })
})

test('get() and all() say so when a row is not what was written', async (t) => {
  await using store = await openStateStore(join(await tempDir(t), 'state'))
  const table = store.table<number>('jobs')
  await table.put('a', 1)
  await store.level.put(Buffer.from('!jobs!a'), Buffer.from('{broken'))
  t.is(t.throws(() => table.get('a'), { instanceOf: FluidError })?.code, 'STATE_DAMAGED')
  t.is((await t.throwsAsync(table.all(), { instanceOf: FluidError }))?.code, 'STATE_DAMAGED')
})
