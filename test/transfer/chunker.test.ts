import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import fc from 'fast-check'
import { CHUNK_MAX_BYTES, HOLE_BLOCK_BYTES, MAX_WINDOW_CHUNKS, WINDOW_BYTES } from '../../protocol/limits.ts'
import {
  CHUNKING_FASTCDC_64K,
  CHUNKING_FIXED_64K,
  CHUNKINGS,
  createChunker,
  createChunkList,
  isChunking,
} from '../../transfer/chunker.ts'
import type { Chunking, ChunkList } from '../../transfer/chunker.ts'
import {
  dataRuns,
  GEAR,
  referenceFastCdc,
  referenceFixed,
  referenceVerdict,
} from '../helpers/reference-chunker.ts'
import type { ReferenceChunk } from '../helpers/reference-chunker.ts'

const KiB = 1024
const MiB = 1024 * KiB
const chunkers = new Map(CHUNKINGS.map((chunking) => [chunking, createChunker(2, { chunking })]))
const references = { [CHUNKING_FASTCDC_64K]: referenceFastCdc, [CHUNKING_FIXED_64K]: referenceFixed }

/** Pseudorandom bytes, the same for the same seed (xorshift32). */
function randomBytes(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = (seed * 2654435761 + 1) >>> 0 || 1
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[i] = state
  }
  return new Uint8Array(words.buffer, 0, length)
}

interface Scanned extends ReferenceChunk {
  readonly volumeOffset: number
}

interface Placing {
  readonly chunking?: Chunking
  readonly slotOffset?: number
  readonly volumeOffset?: number
  readonly steps?: readonly number[]
}

/** Scans `bytes` with the real chunker, fed by `steps`; offsets are from the extent's start. */
function chunksOf(bytes: Uint8Array, placing: Placing = {}): Scanned[] {
  const { chunking = CHUNKING_FASTCDC_64K, slotOffset = 0, volumeOffset = 0, steps = [] } = placing
  const chunker = chunkers.get(chunking)!
  const out = createChunkList()
  const scan = chunker.scan(1, slotOffset, volumeOffset, out)
  // What has not been fed yet is noise, so that looking ahead shows.
  chunker.slot(1).fill(0x5a)
  let have = 0
  for (let i = 0; have < bytes.length && steps.length > 0; i++) {
    const next = Math.min(bytes.length, have + steps[i % steps.length])
    chunker.slot(1).set(bytes.subarray(have, next), slotOffset + have)
    scan.feed(next, false)
    have = next
  }
  chunker.slot(1).set(bytes.subarray(have), slotOffset + have)
  scan.feed(bytes.length, true)
  return listed(out).map(({ offset, ...rest }) => ({ ...rest, offset: offset - slotOffset }))
}

function listed(list: ChunkList): Scanned[] {
  return Array.from({ length: list.count }, (_, i) => ({
    offset: list.slotOffsets[i],
    length: list.lengths[i],
    volumeOffset: list.volumeOffsets[i],
  }))
}

/** Stretches of different character, as disks have them. */
const stretch = fc.record({
  kind: fc.constantFrom('random', 'zero', 'constant', 'text', 'period2', 'sparse'),
  length: fc.oneof(
    fc.integer({ min: 1, max: 300 }),
    fc.integer({ min: 1, max: 24 }).map((blocks) => blocks * HOLE_BLOCK_BYTES),
    fc
      .constantFrom(32 * KiB, 64 * KiB, 256 * KiB)
      .chain((edge) => fc.integer({ min: edge - 66, max: edge + 66 })),
    fc.integer({ min: 1, max: 400 * KiB }),
  ),
  seed: fc.nat(1 << 20),
})

function bytesOf({ kind, length, seed }: { kind: string; length: number; seed: number }): Uint8Array {
  const random = randomBytes(length, seed)
  const words = ['disk ', 'image ', 'moves ', 'from ', 'one ', 'agent ', 'to ', 'another\n']
  switch (kind) {
    case 'zero':
      return random.fill(0)
    case 'constant':
      return random.fill(seed & 255)
    case 'period2':
      return random.map((_, i) => (i & 1 ? seed : seed >> 8) & 255)
    case 'sparse':
      return random.map((byte, i) => (i % 3000 === 0 ? byte : 0))
    case 'text':
      return Buffer.from(Array.from(random, (byte) => words[byte & 7]).join('')).subarray(0, length)
    default:
      return random
  }
}

const volume = fc
  .array(stretch, { minLength: 1, maxLength: 6 })
  .map((stretches) => Buffer.concat(stretches.map(bytesOf)))
  .filter((bytes) => bytes.length <= 2 * MiB)
const steps = fc
  .array(fc.oneof(fc.integer({ min: 1, max: 70 * KiB }), fc.constantFrom(4096, 256 * KiB)), {
    minLength: 1,
    maxLength: 5,
  })
  .filter((sizes) => sizes.some((size) => size > 1000))

for (const chunking of CHUNKINGS) {
  test(`createChunker() cuts as the reference does, whatever the read steps: ${chunking}`, (t) => {
    fc.assert(
      fc.property(
        volume,
        steps,
        fc.nat(40).map((n) => n * 64),
        fc.oneof(
          fc.nat(2000).map((n) => n * 4096),
          fc.nat(9000),
        ),
        (bytes, stepBytes, slotOffset, volumeOffset) => {
          const expected = references[chunking](bytes, volumeOffset).map((chunk) => ({
            ...chunk,
            volumeOffset: volumeOffset + chunk.offset,
          }))
          const placing = { chunking, slotOffset, volumeOffset }
          t.deepEqual(sorted(chunksOf(bytes, placing)), sorted(expected))
          t.deepEqual(sorted(chunksOf(bytes, { ...placing, steps: stepBytes })), sorted(expected))
        },
      ),
      { numRuns: 60 },
    )
  })
}

const sorted = (chunks: Scanned[]) =>
  chunks.map(({ offset, length, volumeOffset }) => [offset, length, volumeOffset])

test('createChunker() cuts as the reference does at every length near an edge', (t) => {
  const bytes = randomBytes(300 * KiB, 3)
  const constant = new Uint8Array(600 * KiB).fill(0xa5)
  for (const edge of [0, 64, 4096, 8192, 32 * KiB, 64 * KiB, 256 * KiB]) {
    for (let length = Math.max(1, edge - 66); length <= edge + 66; length += edge < 10_000 ? 1 : 13) {
      for (const source of [bytes, constant]) {
        const part = source.subarray(0, length)
        t.deepEqual(
          sorted(chunksOf(part)).map(([o, l]) => [o, l]),
          referenceFastCdc(part, 0).map((c) => [c.offset, c.length]),
        )
      }
    }
  }
})

/** 32 bytes whose end is a cut of this kind, and the only cut when they stand among ones. */
function cutting(kind: 'strict' | 'loose'): Uint8Array {
  for (let seed = 1; ; seed++) {
    const noise = randomBytes(64 * KiB, seed)
    for (let at = 0; at + 32 <= noise.length; at++) {
      const unit = noise.subarray(at, at + 32)
      if (referenceVerdict(unit) === kind && cutsAmongOnes(unit) === 1) return unit
    }
  }
}

function cutsAmongOnes(unit: Uint8Array): number {
  const bytes = new Uint8Array(96).fill(1)
  bytes.set(unit, 32)
  return Array.from({ length: 64 }, (_, at) => referenceVerdict(bytes.subarray(at, at + 32))).filter(Boolean)
    .length
}

test('scan() cuts behind a planted unit exactly where the definition allows it', (t) => {
  const units = { strict: cutting('strict'), loose: cutting('loose') }
  const run = 300 * KiB + 4096
  const edges = [32 * KiB, 64 * KiB, 128 * KiB, 256 * KiB]
  const around = [-65, -64, -63, -2, -1, 0, 1, 62, 63, 64, 65]
  for (const [kind, unit] of Object.entries(units)) {
    for (const edge of edges) {
      for (const last of around.map((by) => edge + by)) {
        const bytes = new Uint8Array(run).fill(1)
        bytes.set(unit, last - 31)
        const allowed = last >= (kind === 'strict' ? 32 : 64) * KiB && last < 256 * KiB
        const expected = allowed ? last + 1 : 256 * KiB
        for (const steps of [[], [4096], [last + 1, 4096], [last - 10, 4096]]) {
          t.is(
            chunksOf(bytes, { steps })[0].length,
            expected,
            `${kind} unit that ends at ${last}, steps ${steps.join()}`,
          )
        }
      }
    }
  }
})

test('scan() looks for cuts in the last whole block of a run, not in what is left after it', (t) => {
  const unit = cutting('strict')
  for (const rest of [0, 1, 63]) {
    const length = 40 * KiB + rest
    for (const last of [length - rest - 64, length - rest - 1, length - 1]) {
      const bytes = new Uint8Array(length).fill(1)
      bytes.set(unit, last - 31)
      t.is(chunksOf(bytes)[0].length, last < length - rest ? last + 1 : length)
    }
  }
})

test('feed() gives each chunk as soon as it is certain', (t) => {
  const chunker = createChunker(1)
  const out = createChunkList()
  chunker
    .slot(0)
    .fill(9, 0, 8 * KiB)
    .fill(9, 12 * KiB)
  const scan = chunker.scan(0, 0, 0, out)
  const countAfter = (available: number) => {
    scan.feed(available, false)
    return out.count
  }
  t.is(countAfter(8 * KiB), 0)
  t.is(countAfter(12 * KiB), 1)
  t.is(countAfter((12 + 255) * KiB), 1)
  t.is(countAfter((12 + 256) * KiB), 2)
})

test('scan() covers every byte that is not zero exactly once, in order', (t) => {
  fc.assert(
    fc.property(volume, (bytes) => {
      const left = Buffer.from(bytes)
      let end = 0
      for (const chunk of chunksOf(bytes)) {
        t.true(chunk.offset >= end && chunk.length > 0 && chunk.length <= CHUNK_MAX_BYTES)
        end = chunk.offset + chunk.length
        left.fill(0, chunk.offset, end)
      }
      t.true(left.every((byte) => byte === 0))
    }),
    { numRuns: 40 },
  )
})

test('scan() never cuts constant data below the maximum', (t) => {
  t.true(GEAR.every((value) => value !== 0))
  for (let byte = 1; byte < 256; byte++) {
    const lengths = chunksOf(new Uint8Array(600 * KiB).fill(byte)).map((chunk) => chunk.length)
    t.deepEqual(lengths, [256 * KiB, 256 * KiB, 88 * KiB])
  }
})

test('scan() keeps chunks at the minimum at least when data is made to cut always', (t) => {
  // A repeating unit whose 32-byte windows pass both tests somewhere would cut at once: the minimum still holds.
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 40 }).filter((unit) => unit.some((b) => b !== 0)),
      (unit) => {
        const bytes = Buffer.alloc(1 * MiB, unit)
        const chunks = chunksOf(bytes)
        t.true(chunks.slice(0, -1).every((chunk) => chunk.length > 32 * KiB))
        t.deepEqual(
          chunks.map((c) => c.length),
          referenceFastCdc(bytes, 0).map((c) => c.length),
        )
      },
    ),
    { numRuns: 25 },
  )
})

test('scan() averages near 64 KiB on random data', (t) => {
  const lengths = [1, 2, 3, 4].flatMap((seed) =>
    chunksOf(randomBytes(WINDOW_BYTES, seed))
      .slice(0, -1)
      .map((chunk) => chunk.length),
  )
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length
  t.log(`mean ${(mean / KiB).toFixed(1)} KiB over ${lengths.length} chunks`)
  t.true(mean > 58 * KiB && mean < 74 * KiB)
})

test('scan() changes only nearby chunks when bytes are inserted', (t) => {
  const digests = (bytes: Uint8Array) =>
    new Set(
      chunksOf(bytes).map(({ offset, length }) =>
        createHash('sha1')
          .update(bytes.subarray(offset, offset + length))
          .digest('hex'),
      ),
    )
  let kept = 0
  let all = 0
  for (let seed = 10; seed < 20; seed++) {
    const bytes = randomBytes(3 * MiB, seed)
    const at = (seed * 77_777) % bytes.length
    const before = digests(bytes)
    const after = digests(Buffer.concat([bytes.subarray(0, at), Buffer.from('inserted'), bytes.subarray(at)]))
    kept += [...before].filter((digest) => after.has(digest)).length
    all += before.size
  }
  t.log(`${((100 * kept) / all).toFixed(1)} % of chunks kept after one insertion in 3 MiB`)
  t.true(kept / all > 0.9)
})

test('scan() fills the list with every second block, and a full window of single blocks', (t) => {
  const chunker = createChunker(1)
  const out = createChunkList()
  const slot = chunker.slot(0)
  for (let at = 0; at < WINDOW_BYTES; at += 2 * HOLE_BLOCK_BYTES) slot[at + HOLE_BLOCK_BYTES - 1] = 1
  chunker.scan(0, 0, 0, out).feed(WINDOW_BYTES, true)
  t.is(out.count, MAX_WINDOW_CHUNKS / 2)
  t.deepEqual(
    listed(out).map((c) => c.offset),
    dataRuns(slot, 0).map((run) => run.offset),
  )

  out.count = 0
  slot.fill(7)
  const blocks = WINDOW_BYTES / HOLE_BLOCK_BYTES
  const scanBlock = (i: number) =>
    chunker.scan(0, i * HOLE_BLOCK_BYTES, i * 2 * HOLE_BLOCK_BYTES, out).feed(HOLE_BLOCK_BYTES, true)
  for (let i = 0; i < blocks; i++) scanBlock(i)
  t.is(out.count, MAX_WINDOW_CHUNKS)
  t.is(out.volumeOffsets[MAX_WINDOW_CHUNKS - 1], (blocks - 1) * 2 * HOLE_BLOCK_BYTES)
  t.throws(() => scanBlock(0), { instanceOf: RangeError })
})

test('scan() drops a trailing part of a block that is zero, and keeps one that is not', (t) => {
  const bytes = new Uint8Array(2 * HOLE_BLOCK_BYTES + 100)
  bytes[5] = 1
  t.deepEqual(sorted(chunksOf(bytes)), [[0, HOLE_BLOCK_BYTES, 0]])
  bytes[2 * HOLE_BLOCK_BYTES + 99] = 1
  t.deepEqual(sorted(chunksOf(bytes)).at(-1), [2 * HOLE_BLOCK_BYTES, 100, 2 * HOLE_BLOCK_BYTES])
})

test('scan() keeps volume offsets exact beyond 32 bits', (t) => {
  const volumeOffset = 2 ** 50
  t.is(chunksOf(randomBytes(300 * KiB, 1), { volumeOffset })[0].volumeOffset, volumeOffset)
})

test('feed() refuses more than the slot holds, going back, and bytes after the last', (t) => {
  const chunker = createChunker(1)
  chunker.slot(0).fill(1)
  const scan = chunker.scan(0, 4096, 0, createChunkList())
  t.throws(() => scan.feed(WINDOW_BYTES, true), { instanceOf: RangeError })
  scan.feed(64 * KiB, false)
  t.throws(() => scan.feed(8 * KiB, false), { instanceOf: RangeError })
  scan.feed(64 * KiB, true)
  t.throws(() => scan.feed(64 * KiB, true), { instanceOf: RangeError })
})

test('slot() gives page-aligned views of one unshared memory, the same each time', (t) => {
  const chunker = createChunker(3)
  t.is(chunker.slot(2), chunker.slot(2))
  t.is(chunker.slot(0).buffer, chunker.slot(2).buffer)
  t.true(chunker.slot(0).buffer instanceof ArrayBuffer)
  t.true(
    [0, 1, 2].every(
      (i) => chunker.slot(i).byteOffset % 4096 === 0 && chunker.slot(i).length === WINDOW_BYTES,
    ),
  )
})

test('isChunking() knows exactly what can be done', (t) => {
  t.true(CHUNKINGS.every(isChunking))
  t.false(isChunking('fastcdc-v2/32768-65536-262144'))
})

test('chunker.wasm is what chunker.as.ts compiles to', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fluidcloud-wasm-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const wasm = new URL('../../transfer/wasm/chunker.wasm', import.meta.url)
  const built = join(folder, 'chunker.wasm')
  execFileSync(process.execPath, [join(root, 'transfer/wasm/build.js'), built], { cwd: root })
  t.deepEqual(readFileSync(built), readFileSync(wasm))
})
