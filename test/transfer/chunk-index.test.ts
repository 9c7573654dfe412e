import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { ENTRY_BYTES, writeEntry } from '../../protocol/manifest.ts'
import { dataBytesOf, openChunkIndex, SEED_SCOPE } from '../../transfer/chunk-index.ts'
import { stateLevel } from '../helpers/state-level.ts'
import { noise } from '../helpers/volume.ts'

const ONE = '00000000000000a1'
/** The next in the order of keys: what leaks first when a bound is wrong. */
const NEXT = '00000000000000a2'
const LAST = 'ffffffffffffffff'
const DIGEST_AT = ENTRY_BYTES - 32

/** Entries with digests of their own, the extreme ones among them. */
function entries(count: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(count * ENTRY_BYTES)
  const digests = noise(count * 32, seed)
  digests.fill(0, 0, 32)
  digests.fill(0xff, 32, 64)
  for (let i = 0; i < count; i++) writeEntry(bytes, i, i * 2 ** 40, 65_536, digests, i * 32)
  return bytes
}

test('find() gives what was added, in that scope and in no other', async (t) => {
  const index = openChunkIndex((await stateLevel(t)).level)
  const list = entries(50)
  await index.add(ONE, 7, list)
  for (let i = 0; i < 50; i++) {
    const at = i * ENTRY_BYTES + DIGEST_AT
    t.deepEqual(index.find(ONE, list, at), { file: 7, offset: i * 2 ** 40 })
    for (const scope of [NEXT, LAST, SEED_SCOPE]) t.is(index.find(scope, list, at), undefined)
  }
  t.is(index.find(ONE, entries(3, 2), 2 * ENTRY_BYTES + DIGEST_AT), undefined)
})

test('hasAny() and clear() stay within their scope', async (t) => {
  const index = openChunkIndex((await stateLevel(t)).level)
  const list = entries(3)
  const scopes = [SEED_SCOPE, ONE, NEXT, LAST]
  for (const scope of scopes) {
    t.false(await index.hasAny(scope))
    await index.add(scope, 1, list)
    t.true(await index.hasAny(scope))
  }
  for (const [i, scope] of scopes.entries()) {
    await index.clear(scope)
    for (const [j, other] of scopes.entries()) {
      t.is(await index.hasAny(other), j > i, other)
      for (let entry = 0; entry < 3; entry++)
        t.is(index.find(other, list, entry * ENTRY_BYTES + DIGEST_AT) !== undefined, j > i)
    }
  }
})

test('settle() changes nothing about what is found, forgotten, cleared and added', async (t) => {
  const { level } = await stateLevel(t)
  const index = openChunkIndex(level)
  const [old, recent] = [entries(9_000), entries(40, 2)]
  const find = (list: Uint8Array, i: number) => index.find(ONE, list, i * ENTRY_BYTES + DIGEST_AT)
  t.false(await index.settle())
  await index.add(ONE, 1, old)
  await index.add(NEXT, 1, old)
  // What lies in memory yet is not counted.
  await level.compactRange(Buffer.from([0]), Buffer.from([0xff]))
  t.false(await index.settle())
  t.true(await index.settle({ bytes: 0 }))
  t.is((await level.keys({ gte: Buffer.from('ix'), lt: Buffer.from('iy') }).all()).length, 0)
  await index.add(ONE, 2, recent)
  for (let i = 0; i < 9_000; i++) t.deepEqual(find(old, i)?.offset, i * 2 ** 40)
  // The first two digests are in both.
  t.deepEqual([find(old, 1)?.file, find(old, 2)?.file, find(recent, 39)?.file], [2, 1, 2])
  await index.forget(ONE, old, [DIGEST_AT, 5 * ENTRY_BYTES + DIGEST_AT])
  t.deepEqual([find(old, 0), find(old, 5), find(old, 6)?.file], [undefined, undefined, 1])
  await index.clear(NEXT)
  t.false(await index.hasAny(NEXT))
  t.true(await index.hasAny(ONE))
  await index.clear(ONE)
  t.false(await index.hasAny(ONE))
})

test('settle() keeps what is added meanwhile', async (t) => {
  const { level } = await stateLevel(t)
  const index = openChunkIndex(level)
  const list = entries(20_000)
  await index.add(ONE, 1, list)
  await level.compactRange(Buffer.from([0]), Buffer.from([0xff]))
  const settling = index.settle({ bytes: 0 })
  for (let i = 0; i < 20; i++) await index.add(ONE, 2, list.subarray(0, 500 * ENTRY_BYTES))
  t.true(await settling)
  for (let i = 0; i < 20_000; i++)
    t.is(index.find(ONE, list, i * ENTRY_BYTES + DIGEST_AT)?.file, i < 500 ? 2 : 1)
})

test('find() of what is not known has nothing of a settled index written anew', async (t) => {
  const { level, path } = await stateLevel(t)
  const index = openChunkIndex(level)
  const tables = async () => new Set((await readdir(path)).filter((name) => name.endsWith('.ldb')))
  await index.add(ONE, 1, entries(200_000))
  await level.compactRange(Buffer.from([0]), Buffer.from([0xff]))
  await index.settle({ bytes: 0 })
  const settled = await tables()
  t.true(settled.size > 2)
  // What comes later ends up in a file that spans all of it but for its range.
  await index.add(ONE, 2, entries(1_000, 3))
  await level.put(Buffer.from('!a'), Buffer.from('b'))
  await level.put(Buffer.from('z'), Buffer.from('b'))
  await level.close()
  await level.open()
  const unknown = entries(50_000, 4)
  for (let i = 2; i < 50_000; i++) {
    t.is(index.find(ONE, unknown, i * ENTRY_BYTES + DIGEST_AT), undefined)
    // Merging goes on beside this thread: this waits for one that is under way.
    if (i % 1000 === 0) await level.compactRange(Buffer.from('zz'), Buffer.from('zzz'))
  }
  for (const name of await tables()) settled.delete(name)
  t.deepEqual([...settled], [])
})

test('forget() takes one chunk of one scope', async (t) => {
  const index = openChunkIndex((await stateLevel(t)).level)
  const list = entries(3)
  await index.add(ONE, 1, list)
  await index.add(NEXT, 1, list)
  await index.forget(ONE, list, [ENTRY_BYTES + DIGEST_AT])
  t.deepEqual(
    [0, 1, 2].map((i) => index.find(ONE, list, i * ENTRY_BYTES + DIGEST_AT) !== undefined),
    [true, false, true],
  )
  t.truthy(index.find(NEXT, list, ENTRY_BYTES + DIGEST_AT))
})

test('add() points a chunk to where it was seen last', async (t) => {
  const index = openChunkIndex((await stateLevel(t)).level)
  const list = entries(3)
  await index.add(ONE, 1, list)
  await index.add(ONE, 2, list)
  t.is(index.find(ONE, list, DIGEST_AT)?.file, 2)
  await index.add(ONE, 3, new Uint8Array())
  t.is(index.find(ONE, list, DIGEST_AT)?.file, 2)
})

test('numberOf() numbers paths apart when asked all at once, and each once', async (t) => {
  const { level } = await stateLevel(t)
  const index = openChunkIndex(level)
  const paths = Array.from({ length: 60 }, (_, i) => `/disks/${i % 40}/ü "x".raw`)
  const numbers = await Promise.all(paths.map((path) => index.numberOf(path)))
  t.is(new Set(numbers).size, 40)
  for (const [i, path] of paths.entries()) {
    t.is(numbers[i], numbers[i % 40])
    t.is(index.pathOf(numbers[i]), path)
  }
  // A later opener goes on counting.
  const later = openChunkIndex(level)
  t.is(await later.numberOf(paths[3]), numbers[3])
  t.false(numbers.includes(await later.numberOf('/disks/new')))
  t.is(later.pathOf(4_000_000_000), undefined)
})

test('openChunkIndex() in another thread sees what this one adds', async (t) => {
  const { level, path } = await stateLevel(t)
  const index = openChunkIndex(level)
  const list = entries(4)
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
     ;(async () => {
       const { ClassicLevel } = await import('classic-level')
       const { openChunkIndex } = await import(workerData.module)
       const db = new ClassicLevel(workerData.path, { keyEncoding: 'view', valueEncoding: 'view', multithreading: true, createIfMissing: false })
       await db.open()
       const index = openChunkIndex(db)
       parentPort.postMessage('open')
       parentPort.on('message', async ({ scope, list, at }) => {
         if (!list) { await db.close(); return parentPort.close() }
         const found = index.find(scope, list, at)
         parentPort.postMessage(found && { ...found, path: index.pathOf(found.file) })
       })
     })()`,
    {
      eval: true,
      workerData: { path, module: new URL('../../transfer/chunk-index.ts', import.meta.url).href },
    },
  )
  await once(worker, 'message')
  const ask = async (scope: string) => {
    worker.postMessage({ scope, list, at: ENTRY_BYTES + DIGEST_AT })
    return ((await once(worker, 'message')) as unknown[])[0]
  }
  t.is(await ask(ONE), undefined)
  await index.add(ONE, await index.numberOf('/disks/a'), list)
  t.deepEqual(await ask(ONE), { file: 1, offset: 2 ** 40, path: '/disks/a' })
  t.is(await ask(NEXT), undefined)
  worker.postMessage({})
  await once(worker, 'exit')
})

test('dataBytesOf() adds up the lengths', (t) => {
  t.is(dataBytesOf(entries(5)), 5 * 65_536)
  t.is(dataBytesOf(new Uint8Array()), 0)
})

test('stampOf() tells what setStamp() kept, for one path in one scope', async (t) => {
  const index = openChunkIndex((await stateLevel(t)).level)
  t.is(await index.stampOf(ONE, '/srv/a.raw'), undefined)
  await index.setStamp(ONE, '/srv/a.raw', '1:2:3')
  await index.setStamp(NEXT, '/srv/a.raw', '4:5:6')
  t.is(await index.stampOf(ONE, '/srv/a.raw'), '1:2:3')
  t.is(await index.stampOf(ONE, '/srv/b.raw'), undefined)
  await index.setStamp(ONE, '/srv/a.raw', '7:8:9')
  t.is(await index.stampOf(ONE, '/srv/a.raw'), '7:8:9')
})
