import test from 'ava'
import fc from 'fast-check'
import { FluidError } from '../../protocol/errors.ts'
import { validateWindowEntries } from '../../protocol/manifest.ts'
import { CHUNKINGS, createChunker } from '../../transfer/chunker.ts'
import { createSlotPool, scan, type ScannedWindow } from '../../transfer/scan.ts'
import { windows } from '../../transfer/window.ts'
import { referenceManifest } from '../helpers/reference-manifest.ts'
import { LAYOUTS, sourceOf, volumeContent } from '../helpers/volume-content.ts'
import { noise } from '../helpers/volume.ts'

const MiB = 2 ** 20
const content = Buffer.concat([noise(3 * MiB, 1), Buffer.alloc(6 * MiB), noise(5 * MiB + 77, 2)])
const { signal } = new AbortController()

function planOf(source = sourceOf(content, 'blocks')) {
  return windows([{ start: 0, end: content.length }], (from) => source.extents(from))
}

test('scan() gives the entries the bytes define, and the bytes of each', async (t) => {
  const source = sourceOf(content, 'blocks')
  const entries: Uint8Array[] = []
  for await (const window of scan(source, createChunker(2), createSlotPool(2), signal)(planOf())) {
    entries.push(window.entries)
    let dataBytes = 0
    for (let i = 0; i < window.entries.length / 44; i++) {
      const offset = Number(Buffer.from(window.entries).readBigUInt64LE(i * 44))
      const chunk = window.chunk(i)
      dataBytes += chunk.length
      t.true(content.subarray(offset, offset + chunk.length).equals(chunk))
      t.true(
        Buffer.from(window.bytes.subarray(window.position(i), window.position(i) + chunk.length)).equals(
          chunk,
        ),
      )
    }
    t.is(window.dataBytes, dataBytes)
    window.release()
  }
  t.true(Buffer.concat(entries).equals(referenceManifest(content).entries))
})

for (const chunking of CHUNKINGS) {
  test(`scan() gives what validateWindowEntries() takes, whatever the volume holds: ${chunking}`, async (t) => {
    const chunker = createChunker(1, { chunking })
    await fc.assert(
      fc.asyncProperty(volumeContent, fc.constantFrom(...LAYOUTS), async (bytes, layout) => {
        const source = sourceOf(bytes, layout)
        const plan = windows([{ start: 0, end: bytes.length }], (from) => source.extents(from))
        for await (const window of scan(source, chunker, createSlotPool(1), signal)(plan)) {
          t.is(validateWindowEntries(window.entries, window.start, window.end), window.dataBytes)
          window.release()
        }
      }),
      { numRuns: 60 },
    )
  })
}

test('scan() keeps its slot until nothing is read into it any more', async (t) => {
  const late = Promise.withResolvers<void>()
  const reads = [Promise.reject(new FluidError('SOURCE_READ', 'A broken sector')), late.promise]
  const source = { ...sourceOf(content, 'blocks'), read: () => reads.shift() ?? Promise.resolve() }
  const slots = createSlotPool(1)
  const failing = t.throwsAsync(async () => {
    for await (const window of scan(source, createChunker(1), slots, signal)(planOf())) window.release()
  })
  await new Promise((resolve) => setImmediate(resolve))
  let given = false
  const taking = slots.take(signal).then(() => (given = true))
  await new Promise((resolve) => setImmediate(resolve))
  t.false(given)
  late.resolve()
  await taking
  t.like(await failing, { code: 'SOURCE_READ' })
})

test('scan() waits for a slot, and leaves the bytes of windows not released alone', async (t) => {
  const slots = createSlotPool(2)
  const scanning = scan(sourceOf(content, 'blocks'), createChunker(2), slots, signal)(planOf())
  const first = (await scanning.next()).value as ScannedWindow
  const second = (await scanning.next()).value as ScannedWindow
  const bytes = Buffer.from(first.chunk(0))
  let third: ScannedWindow | undefined
  const waiting = scanning.next().then(({ value }) => (third = value as ScannedWindow))
  await new Promise((resolve) => setImmediate(resolve))
  t.is(third, undefined)
  t.true(bytes.equals(first.chunk(0)))
  second.release()
  second.release()
  await waiting
  t.true(bytes.equals(first.chunk(0)))
  t.not(third?.bytes, first.bytes)
  // Released twice, it was given back once.
  const abort = new AbortController()
  const none = slots.take(abort.signal)
  abort.abort(new Error('None came free'))
  await t.throwsAsync(none, { message: 'None came free' })
})

test('scan() gives its slot back when the source cannot be read', async (t) => {
  const slots = createSlotPool(1)
  const source = sourceOf(content, 'blocks')
  const broken = {
    ...source,
    read(target: Uint8Array, offset: number) {
      if (offset >= 2 * MiB) throw new FluidError('SOURCE_READ', 'The disk is broken', { offset })
      return source.read(target, offset)
    },
  }
  const error = await t.throwsAsync<FluidError>(
    scan(broken, createChunker(2), slots, signal)(planOf()).next() as Promise<never>,
  )
  t.is(error?.details.offset, 2 * MiB)
  t.is(await slots.take(signal), 0)
})

test('createSlotPool() serves those who wait in order, and forgets who gave up', async (t) => {
  const slots = createSlotPool(1)
  t.is(await slots.take(signal), 0)
  const abort = new AbortController()
  const reason = new Error('enough')
  const [first, second, third] = [slots.take(signal), slots.take(abort.signal), slots.take(signal)]
  abort.abort(reason)
  await t.throwsAsync(second, { is: reason })
  slots.give(0)
  t.is(await first, 0)
  slots.give(0)
  t.is(await third, 0)
  t.throws(() => slots.take(abort.signal), { is: reason })
})
