import { closeSync } from 'node:fs'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { openBlockSink, openBlockSource, openExclusively } from '../../../transfer/backends/block-device.ts'
import { blockUrl, dropCached, openSource } from '../../../transfer/open.ts'
import { testSink } from '../../conformance/sink.ts'
import { testSource } from '../../conformance/source.ts'
import { loopDevice, noLoopDevices } from '../../helpers/programs.ts'
import { tempDir } from '../../helpers/temp-dir.ts'

const skip = noLoopDevices()
const test = skip === undefined ? anyTest.serial : anyTest.skip
const why = skip === undefined ? '' : ` (${skip})`

testSource('block device', {
  granularityBytes: 512,
  skip,
  async open(t, content) {
    const path = join(await tempDir(t), 'disk')
    await writeFile(path, content)
    return openBlockSource(await loopDevice(t, path))
  },
})

testSink('block device', {
  granularityBytes: 512,
  skip,
  async create(t, sizeBytes) {
    const device = await emptyDevice(t, sizeBytes)
    return { open: () => openBlockSink(device) }
  },
})

test(`openBlockSink() zero() works while another descriptor holds the device${why}`, async (t) => {
  const device = await emptyDevice(t, 1 << 20)
  const hold = openExclusively(device)
  try {
    await using sink = await openBlockSink(device)
    await sink.write(Buffer.alloc(1 << 20, 1), 0)
    await sink.zero(1000, 900_000)
    const back = Buffer.alloc(1 << 20)
    await sink.read(back, 0)
    t.true(back.equals(Buffer.alloc(1 << 20, 1).fill(0, 1000, 901_000)))
  } finally {
    closeSync(hold)
  }
})

test(`openBlockSource() and openBlockSink() touch nothing more once they are closed${why}`, async (t) => {
  const device = await emptyDevice(t, 1 << 20)
  for (const open of [openBlockSource, openBlockSink]) {
    const volume = await open(device)
    const closing = volume[Symbol.asyncDispose]()
    t.throws(() => volume.read(Buffer.alloc(512), 0), { code: 'INTERRUPTED' })
    await closing
    t.throws(() => volume.read(Buffer.alloc(512), 0), { code: 'INTERRUPTED' })
    if ('write' in volume) t.throws(() => volume.write(Buffer.alloc(512), 0), { code: 'INTERRUPTED' })
  }
})

test(`openBlockSink() keeps its descriptor until what is being synced has reached the disk${why}`, async (t) => {
  const sink = await openBlockSink(await emptyDevice(t, 1 << 20))
  await sink.write(Buffer.alloc(1 << 20, 7), 0)
  let ended = false
  const synced = sink.sync().then(() => void (ended = true))
  await sink[Symbol.asyncDispose]()
  t.true(ended)
  await synced
})

test(`dropCached() has a device read from its disk, not from the page cache${why}`, async (t) => {
  const disk = join(await tempDir(t), 'disk')
  await writeFile(disk, Buffer.alloc(1 << 20, 1))
  const device = await loopDevice(t, disk)
  // The cache is the device's own as long as someone has it open.
  await using sink = await openBlockSink(device)
  await sink.write(Buffer.alloc(1 << 20, 2), 0)
  await sink.sync()
  await using backing = await open(disk, 'r+')
  await backing.write(Buffer.alloc(1 << 20, 3), 0, 1 << 20, 0)
  dropCached(blockUrl(device))
  await using source = await openSource(blockUrl(device))
  const back = Buffer.alloc(1 << 20)
  await source.read(back, 0)
  t.true(back.equals(Buffer.alloc(1 << 20, 3)))
})

test(`openExclusively() says that a device is in use${why}`, async (t) => {
  const device = await emptyDevice(t, 1 << 20)
  const hold = openExclusively(device)
  const error = t.throws(() => openExclusively(device), { code: 'NAME_BUSY' })
  t.regex(String(error?.message), /in use/)
  closeSync(hold)
  closeSync(openExclusively(device))
})

test(`openBlockSource() fingerprint() differs after someone wrote to the device${why}`, async (t) => {
  const device = await emptyDevice(t, 1 << 20)
  await using source = await openBlockSource(device)
  const before = await source.fingerprint()
  await using sink = await openBlockSink(device)
  await sink.write(Buffer.from('x'), 5000)
  t.not(await source.fingerprint(), before)
})

anyTest('openBlockSource() refuses a file', async (t) => {
  const path = join(await tempDir(t), 'file')
  await writeFile(path, 'x')
  await t.throwsAsync(openBlockSource(path), { code: 'SOURCE_MISSING' })
  await t.throwsAsync(openBlockSink(path), { code: 'TARGET_WRITE' })
})

async function emptyDevice(t: ExecutionContext, sizeBytes: number): Promise<string> {
  const path = join(await tempDir(t), 'disk')
  await using file = await open(path, 'w')
  await file.truncate(sizeBytes)
  return await loopDevice(t, path)
}
