import test from 'ava'
import fc from 'fast-check'
import { DATA_FRAME_BYTES } from '../../protocol/limits.ts'
import { entryCount, entryLength, ENTRY_BYTES, writeEntry } from '../../protocol/manifest.ts'
import { createFrameDecoder } from '../../transfer/compress.ts'
import { pack, type DataFrame, type PackedWindow } from '../../transfer/pack.ts'
import type { ScannedWindow } from '../../transfer/scan.ts'
import type { WantedWindow } from '../../transfer/want.ts'
import { collect } from '../helpers/collect.ts'
import { noise, prose } from '../helpers/volume.ts'

interface Part {
  readonly kind: 'noise' | 'prose'
  readonly lengthBytes: number
  readonly wanted: boolean
  /** Bytes of the slot between this chunk and the one before. */
  readonly gapBytes: number
}

function wantedWindow(parts: readonly Part[]): WantedWindow {
  const bytes = new Uint8Array(
    parts.reduce((sum, { lengthBytes, gapBytes }) => sum + lengthBytes + gapBytes, 0),
  )
  const entries = new Uint8Array(parts.length * ENTRY_BYTES)
  const positions: number[] = []
  let at = 0
  for (const [i, { kind, lengthBytes, gapBytes }] of parts.entries()) {
    at += gapBytes
    positions.push(at)
    bytes.set(kind === 'noise' ? noise(lengthBytes, i) : prose(lengthBytes, i), at)
    writeEntry(entries, i, at, lengthBytes, new Uint8Array(32))
    at += lengthBytes
  }
  const window: ScannedWindow = {
    start: 0,
    end: at,
    entries,
    dataBytes: parts.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
    bytes,
    position: (index) => positions[index],
    chunk: (index) => bytes.subarray(positions[index], positions[index] + parts[index].lengthBytes),
    release() {},
  }
  return { number: 5, window, wants: (index) => parts[index].wanted, unaskedBytes: 0, parts: new Map() }
}

async function packed(parts: readonly Part[], shouldCompress: boolean) {
  const asked = { times: 0, earnedBytes: 0 }
  const control = {
    earn: (bytes: number) => void (asked.earnedBytes += bytes),
    shouldCompress: () => (asked.times++, shouldCompress),
    level: 1,
  }
  const wanted = wantedWindow(parts)
  async function* one() {
    yield wanted
  }
  const [window] = (await collect(pack(control)(one()))) as [PackedWindow]
  const frames: DataFrame[] = []
  for (const frame of window.frames()) frames.push({ ...frame, payload: Uint8Array.from(frame.payload) })
  return { wanted, window, frames, asked }
}

const part: fc.Arbitrary<Part> = fc.record({
  kind: fc.constantFrom('noise', 'prose'),
  lengthBytes: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 32_768, max: 262_144 })),
  wanted: fc.boolean(),
  gapBytes: fc.constantFrom(0, 0, 64, 4096),
})

test('pack() sends each wanted chunk once, in order, in frames within the limit', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 14 }), fc.boolean(), async (parts, compress) => {
      const { wanted, window, frames, asked } = await packed(parts, compress)
      const { entries } = wanted.window
      const sent: number[] = []
      for (const { message, payload } of frames) {
        const { first, count, codec, rawBytes } = message
        t.is(message.window, 5)
        t.true(rawBytes <= DATA_FRAME_BYTES)
        t.true(compress || codec === 'raw')
        const raw = codec === 'zstd' ? createFrameDecoder()(payload, rawBytes) : payload
        const chunks = Array.from({ length: count }, (_, i) => Buffer.from(wanted.window.chunk(first + i)))
        t.true(Buffer.concat(chunks).equals(raw))
        for (let i = first; i < first + count; i++) sent.push(i)
      }
      t.deepEqual(
        sent,
        parts.flatMap(({ wanted: wants }, i) => (wants ? [i] : [])),
      )
      const sentBytes = sent.reduce((sum, i) => sum + entryLength(entries, i), 0)
      t.is(window.sentBytes, sentBytes)
      t.is(asked.earnedBytes, wanted.window.dataBytes - sentBytes)
      t.is(asked.times, frames.length)
      t.is(entryCount(entries), parts.length)
    }),
    { numRuns: 60, includeErrorInReport: true },
  )
})

const chunk = (kind: Part['kind'], lengthBytes = 65_536): Part => ({
  kind,
  lengthBytes,
  wanted: true,
  gapBytes: 0,
})

test('pack() puts neighbours that are worth compressing into one frame, and those that are not into another', async (t) => {
  const parts = [chunk('prose'), chunk('prose'), chunk('noise'), chunk('noise'), chunk('prose')]
  const { frames } = await packed(parts, true)
  t.deepEqual(
    frames.map(({ message: { first, count, codec } }) => [first, count, codec]),
    [
      [0, 2, 'zstd'],
      [2, 2, 'raw'],
      [4, 1, 'zstd'],
    ],
  )
  t.deepEqual(
    frames.map(({ compressMs }) => compressMs > 0),
    [true, false, true],
  )
})

test('pack() groups without regard to compressibility when nothing is to be compressed', async (t) => {
  const { frames } = await packed([chunk('prose'), chunk('noise'), chunk('prose')], false)
  t.deepEqual(
    frames.map(({ message: { count, codec } }) => [count, codec]),
    [[3, 'raw']],
  )
})

test('pack() fills a frame to its limit exactly', async (t) => {
  const { frames } = await packed(
    Array.from({ length: 17 }, () => chunk('noise')),
    false,
  )
  t.deepEqual(
    frames.map(({ message }) => message.rawBytes),
    [DATA_FRAME_BYTES, 65_536],
  )
})

test('pack() makes no copy of chunks that touch', async (t) => {
  const wanted = wantedWindow([chunk('noise'), chunk('noise')])
  async function* one() {
    yield wanted
  }
  const [window] = await collect(pack({ earn() {}, shouldCompress: () => false, level: 1 })(one()))
  const [frame] = window.frames()
  t.is(frame.payload.buffer, wanted.window.bytes.buffer)
})

test('pack() sends raw what compressing would not shorten', async (t) => {
  // Too short for the probe, so that it is tried.
  const { frames } = await packed([chunk('noise', 4000)], true)
  t.is(frames[0].message.codec, 'raw')
  t.is(frames[0].payload.length, 4000)
})

test('pack() makes each frame in memory that no frame before it still holds', async (t) => {
  const parts = Array.from({ length: 48 }, (_, i): Part => ({
    ...chunk(i % 3 ? 'prose' : 'noise'),
    gapBytes: 4096,
  }))
  const wanted = wantedWindow(parts)
  async function* one() {
    yield wanted
  }
  const [window] = await collect(pack({ earn() {}, shouldCompress: () => true, level: 1 })(one()))
  const held: DataFrame[] = []
  const buffers = new Set<ArrayBufferLike>()
  const arrives = ({ message: { first, count, codec, rawBytes }, payload, release }: DataFrame) => {
    const raw = codec === 'zstd' ? createFrameDecoder()(payload, rawBytes) : payload
    const chunks = Array.from({ length: count }, (_, i) => wanted.window.chunk(first + i))
    t.true(Buffer.concat(chunks).equals(raw))
    release()
  }
  for (const frame of window.frames()) {
    buffers.add(frame.payload.buffer)
    held.push(frame)
    if (held.length > 3) arrives(held.shift()!)
  }
  held.forEach(arrives)
  // The window's own, for single chunks; four frames that are held; one that is compressed, and one gathered for it.
  t.true(buffers.size <= 6, `${buffers.size} buffers`)
})
