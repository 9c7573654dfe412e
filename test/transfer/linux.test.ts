import { once } from 'node:events'
import { constants, closeSync, existsSync, fstatSync, openSync } from 'node:fs'
import { open, readFile, stat, writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import test, { type ExecutionContext } from 'ava'
import {
  adviseDontNeed,
  adviseWillNeed,
  blockDeviceSize,
  duplicateFd,
  punchHole,
  renameNoReplace,
  seekData,
  seekHole,
  setBufferBytes,
  setCongestionControl,
  startWriteback,
  tcpState,
  threadCpuMs,
  zeroRange,
} from '../../transfer/linux.ts'
import { tempDir } from '../helpers/temp-dir.ts'

test('seekData() and seekHole() find data beyond 4 GiB', async (t) => {
  await using file = await sparseFile(t, 2 ** 40)
  await file.write(Buffer.alloc(4096, 1), 0, 4096, 2 ** 35)
  t.is(seekData(file.fd, 0), 2 ** 35)
  t.is(seekHole(file.fd, 2 ** 35), 2 ** 35 + 4096)
  t.is(seekData(file.fd, 2 ** 35 + 4096), undefined)
  t.is(seekHole(file.fd, 2 ** 40), undefined)
})

test('seekData() throws for what is no file, with the system name of the error', async (t) => {
  t.throws(() => seekData(-1, 0), { code: 'EBADF', message: /lseek/ })
})

test('punchHole() clears exactly the range beyond 4 GiB, and keeps the size', async (t) => {
  await using file = await sparseFile(t, 2 ** 33)
  await file.write(Buffer.alloc(12_288, 1), 0, 12_288, 2 ** 32)
  t.true(punchHole(file.fd, 2 ** 32 + 100, 8192))
  const back = Buffer.alloc(12_288)
  await file.read(back, 0, 12_288, 2 ** 32)
  t.true(back.equals(Buffer.alloc(12_288, 1).fill(0, 100, 8292)))
  t.is((await file.stat()).size, 2 ** 33)
})

test('zeroRange() is false for a file, blockDeviceSize() its end', async (t) => {
  await using file = await sparseFile(t, 5000)
  t.false(zeroRange(file.fd, 0, 4096))
  t.is(blockDeviceSize(file.fd), 5000)
})

test('adviseWillNeed(), adviseDontNeed() and startWriteback() keep the content', async (t) => {
  await using file = await sparseFile(t, 10_000)
  await file.write(Buffer.from('same'), 0, 4, 5000)
  startWriteback(file.fd, 0, 10_000)
  adviseWillNeed(file.fd, 0, 10_000)
  adviseDontNeed(file.fd, 0, 0)
  const back = Buffer.alloc(4)
  await file.read(back, 0, 4, 5000)
  t.is(back.toString(), 'same')
})

test('duplicateFd() is another descriptor of the same file', async (t) => {
  const file = await sparseFile(t, 123)
  const copy = duplicateFd(file.fd)
  await file.close()
  t.is(fstatSync(copy).size, 123)
  closeSync(copy)
})

test('renameNoReplace() leaves a taken name alone', async (t) => {
  const folder = await tempDir(t)
  await writeFile(join(folder, 'a'), 'a')
  await writeFile(join(folder, 'b'), 'b')
  await t.throwsAsync(renameNoReplace(join(folder, 'a'), join(folder, 'b')), { code: 'EEXIST' })
  t.is(await readFile(join(folder, 'b'), 'utf8'), 'b')
  await renameNoReplace(join(folder, 'a'), join(folder, 'c'))
  t.is(await readFile(join(folder, 'c'), 'utf8'), 'a')
  t.false(existsSync(join(folder, 'a')))
})

test('renameNoReplace() lets exactly one of many win a name', async (t) => {
  const folder = await tempDir(t)
  const names = Array.from({ length: 20 }, (_, i) => join(folder, String(i)))
  for (const name of names) await writeFile(name, name)
  const results = await Promise.allSettled(names.map((name) => renameNoReplace(name, join(folder, 'won'))))
  t.is(results.filter((result) => result.status === 'fulfilled').length, 1)
  const winner = names[results.findIndex((result) => result.status === 'fulfilled')]
  t.is(await readFile(join(folder, 'won'), 'utf8'), winner)
})

test('the calls work in worker threads', async (t) => {
  const path = join(await tempDir(t), 'file')
  await using file = await open(path, 'w+')
  await file.truncate(2 ** 34)
  await file.write(Buffer.from('x'), 0, 1, 2 ** 33)
  const module = new URL('../../transfer/linux.ts', import.meta.url).href
  const code = `import('${module}').then((m) => require('node:worker_threads').parentPort.postMessage(m.seekData(${file.fd}, 0)))`
  const workers = [new Worker(code, { eval: true }), new Worker(code, { eval: true })]
  const answers = await Promise.all(
    workers.map((worker) => new Promise((ok, no) => worker.once('message', ok).once('error', no))),
  )
  t.deepEqual(answers, [2 ** 33, 2 ** 33])
  t.is((await stat(path)).mode & constants.S_IFMT, constants.S_IFREG)
})

async function sparseFile(t: ExecutionContext, sizeBytes: number) {
  const file = await open(join(await tempDir(t), 'file'), 'w+')
  await file.truncate(sizeBytes)
  return file
}

test('tcpState() is that of the connection, and undefined for what is no TCP socket', async (t) => {
  const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => {
    socket.destroy()
    server.close()
  })
  socket.write('x')
  await once(socket, 'data')
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
  const { roundTripMs, leastRoundTripMs, repeats, busyMs } = tcpState(fd)!
  t.true(roundTripMs > 0 && roundTripMs < 1000, `${roundTripMs}`)
  t.true(leastRoundTripMs! > 0 && leastRoundTripMs! <= roundTripMs, `${leastRoundTripMs}`)
  t.is(repeats, 0)
  t.true(busyMs! >= 0 && busyMs! < 1000, `${busyMs}`)
  // In every Linux, and allowed to everyone.
  t.true(setCongestionControl(fd, 'reno'))
  t.false(setCongestionControl(fd, 'nonesuch'))
  t.true(setBufferBytes(fd, 'send', 64 * 1024))
  const file = openSync(process.execPath, 'r')
  t.teardown(() => closeSync(file))
  t.is(tcpState(file), undefined)
  t.false(setCongestionControl(file, 'reno'))
  t.false(setBufferBytes(file, 'receive', 64 * 1024))
})

test('threadCpuMs() counts what the thread does, not what passes', (t) => {
  const before = threadCpuMs()
  const began = performance.now()
  while (threadCpuMs() - before < 20);
  // The clock is read in another way, hence the millisecond.
  t.true(performance.now() - began >= 19)
  const idle = threadCpuMs()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
  t.true(threadCpuMs() - idle < 50)
})
