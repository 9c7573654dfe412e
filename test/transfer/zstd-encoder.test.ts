import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { zstdDecompressSync } from 'node:zlib'
import test from 'ava'
import { createZstdEncoder, maxEncodedBytes } from '../../transfer/zstd-encoder.ts'

const decoded = (frame: Uint8Array | undefined) => frame && zstdDecompressSync(frame)

test('encode() has room enough in maxEncodedBytes() for what does not compress', (t) => {
  const encoder = createZstdEncoder(1)!
  for (const length of [0, 1, 255, 256, 4096, 131_071, 131_072, 1_048_576]) {
    const raw = randomBytes(length)
    t.deepEqual(decoded(encoder.encode(raw, Buffer.alloc(maxEncodedBytes(length)))), raw)
  }
})

test('encode() is undefined without room, and gives whole frames after that', (t) => {
  const encoder = createZstdEncoder(1)!
  const raw = Buffer.from('water flows '.repeat(5000))
  const noise = randomBytes(50_000)
  for (const room of [0, 1, 100, 49_000]) {
    t.is(encoder.encode(noise, Buffer.alloc(room)), undefined)
    t.deepEqual(decoded(encoder.encode(raw, Buffer.alloc(maxEncodedBytes(raw.length)))), raw)
  }
})

test('encode() keeps to its level from frame to frame', (t) => {
  const raw = readFileSync(process.execPath).subarray(0, 1_000_000)
  const [fast, thorough] = [1, 12].map((level) => {
    const encoder = createZstdEncoder(level)!
    const lengths = [1, 2, 3].map(
      () => encoder.encode(raw, Buffer.alloc(maxEncodedBytes(raw.length)))!.length,
    )
    t.deepEqual(new Set(lengths).size, 1)
    return lengths[0]
  })
  t.true(thorough < fast)
})

test('encode() of one encoder knows nothing of another', (t) => {
  const [one, other] = [createZstdEncoder(1)!, createZstdEncoder(1)!]
  const raw = Buffer.from('clouds drift '.repeat(5000))
  const room = () => Buffer.alloc(maxEncodedBytes(raw.length))
  const [first, second] = [one.encode(raw, room())!, other.encode(raw, room())!]
  t.deepEqual(decoded(first), raw)
  t.deepEqual(decoded(second), raw)
})
