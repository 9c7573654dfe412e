import { closeSync } from 'node:fs'
import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { openBlockSink, openBlockSource, openExclusively } from '../../../transfer/backends/block-device.ts'
import { openDeviceZeros } from '../../../transfer/backends/device-zeros.ts'
import { openWrites } from '../../../transfer/backends/writes.ts'
import { blockUrl, dropCached, openSource } from '../../../transfer/open.ts'
import { closesOnceSynced, testSink } from '../../conformance/sink.ts'
import { testSource } from '../../conformance/source.ts'
import { loopDevice, noLoopDevices } from '../../helpers/programs.ts'
import { slowDisk } from '../../helpers/slow-disk.ts'
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

test(`openBlockSink() zero() of a large range lets others have their turns, and ends with its sink${why}`, async (t) => {
  const device = await emptyDevice(t, 64 << 20)
  const sink = await openBlockSink(device)
  await sink.write(Buffer.alloc(64 << 20, 1), 0)
  let turns = 0
  const zeroing = Promise.resolve(sink.zero(1000, (64 << 20) - 2000)).finally(() => (turns = -1))
  while (turns >= 0 && turns < 2) {
    await new Promise((resolve) => setImmediate(resolve))
    turns++
  }
  t.is(turns, 2, 'it went on meanwhile')
  await zeroing
  const back = Buffer.alloc(64 << 20)
  await sink.read(back, 0)
  t.true(back.equals(Buffer.alloc(64 << 20, 1).fill(0, 1000, (64 << 20) - 1000)))
  await sink[Symbol.asyncDispose]()
  const closing = await openBlockSink(device)
  const late = Promise.resolve(closing.zero(0, 64 << 20))
  await closing[Symbol.asyncDispose]()
  await t.throwsAsync(late, { code: 'INTERRUPTED' })
})

test(`zeros are written where the device is not prompt, exactly their range${why}`, async (t) => {
  const device = await emptyDevice(t, 8 << 20)
  await using file = await open(device, 'r+')
  const expected = Buffer.alloc(8 << 20, 1)
  await file.write(expected, 0, expected.length, 0)
  const writes = openWrites(file.fd)
  const zeros = openDeviceZeros(file.fd, writes, () => {}, slowDisk())
  for (const [offset, length] of [
    [1000, 5_000_000],
    [6_000_000, 3],
    [6_291_456, 1 << 20],
    [7_340_033, 0],
  ]) {
    await zeros.zero(offset, length)
    expected.fill(0, offset, offset + length)
  }
  await writes.close()
  t.true((await readFile(device)).equals(expected))
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
  await closesOnceSynced(t, await openBlockSink(await emptyDevice(t, 1 << 20)))
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
