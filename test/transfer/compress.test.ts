import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import test from 'ava'
import fc from 'fast-check'
import { DATA_FRAME_BYTES } from '../../protocol/limits.ts'
import {
  createFrameDecoder,
  createFrameEncoder,
  decodeOnce,
  encodeOnce,
  FRAME_MEMORY_BYTES,
  looksCompressible,
} from '../../transfer/compress.ts'
import { LEVELS } from '../../transfer/compression-level.ts'
import { prose } from '../helpers/volume.ts'

const KiB = 1024
const text = (length: number) =>
  Buffer.from('The viaduct carries water from hill to hill. '.repeat(Math.ceil(length / 45))).subarray(
    0,
    length,
  )
const encodeFrame = createFrameEncoder()
const compressFrame = (bytes: Uint8Array, level = 1) =>
  encodeFrame(bytes, Buffer.alloc(FRAME_MEMORY_BYTES), level)
const textFrame = compressFrame(text(DATA_FRAME_BYTES))!

/** RFC 8878, 3.1.1: magic, descriptor without content size, window of 2^windowLog, then `blocks`. */
const frame = (windowLog: number, ...blocks: Uint8Array[]) =>
  Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (windowLog - 10) << 3]), ...blocks])
/** A block of 4 bytes that stands for `length` times `byte`. */
const repeated = (byte: number, length: number, last: boolean) => {
  const header = (length << 3) | (1 << 1) | (last ? 1 : 0)
  return Buffer.from([header & 255, (header >> 8) & 255, header >> 16, byte])
}

const decompressFrame = createFrameDecoder()

test('decompressFrame() gives back what compressFrame() took', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.integer({ min: 2, max: 400 }),
      (unit, times) => {
        const bytes = Buffer.concat(Array.from({ length: times }, () => unit))
        const encoded = compressFrame(bytes)
        if (encoded !== undefined) t.deepEqual(Buffer.from(decompressFrame(encoded, bytes.length)), bytes)
      },
    ),
    { numRuns: 60 },
  )
  t.deepEqual(Buffer.from(decompressFrame(textFrame, DATA_FRAME_BYTES)), text(DATA_FRAME_BYTES))
})

test('compressFrame() is undefined when it would not shrink by 3 %', (t) => {
  t.is(compressFrame(randomBytes(256 * KiB)), undefined)
  t.is(compressFrame(Buffer.concat([randomBytes(99 * KiB), Buffer.alloc(1 * KiB)])), undefined)
  t.truthy(compressFrame(Buffer.concat([randomBytes(95 * KiB), Buffer.alloc(5 * KiB)])))
})

const violations: readonly [string, Uint8Array, number][] = [
  ['one byte more than declared', textFrame, DATA_FRAME_BYTES - 1],
  ['one byte less than declared', compressFrame(text(DATA_FRAME_BYTES - 1))!, DATA_FRAME_BYTES],
  ['bytes after the frame', Buffer.concat([textFrame, Buffer.from('x')]), DATA_FRAME_BYTES],
  ['a second frame', Buffer.concat([textFrame, textFrame]), DATA_FRAME_BYTES],
  [
    'an empty skippable frame first',
    Buffer.concat([Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]), textFrame]),
    DATA_FRAME_BYTES,
  ],
  ['a declared length of zero', frame(17, repeated(0, 0, true)), 0],
  ['a declared length above the limit', textFrame, DATA_FRAME_BYTES + 1],
  ['a declared length that is no number', textFrame, NaN],
]
for (const [what, encoded, rawBytes] of violations) {
  test(`decompressFrame() refuses ${what}`, (t) => {
    t.like(
      t.throws(() => decompressFrame(encoded, rawBytes)),
      { code: 'PROTOCOL_VIOLATION' },
    )
  })
}

const damaged: readonly [string, Uint8Array][] = [
  ['nothing', new Uint8Array()],
  ['no frame at all', Buffer.from('hello, this is no frame')],
  ['a frame cut short', textFrame.subarray(0, -3)],
  ['a frame that asks for a window of 128 MiB', frame(27, repeated(7, 1000, true))],
]
for (const [what, encoded] of damaged) {
  test(`decompressFrame() refuses ${what}`, (t) => {
    t.like(
      t.throws(() => decompressFrame(encoded, DATA_FRAME_BYTES)),
      { code: 'CHUNK_DIGEST' },
    )
  })
}

test('decompressFrame() accepts the same frame with a window it can hold', (t) => {
  t.deepEqual(Buffer.from(decompressFrame(frame(20, repeated(7, 1000, true)), 1000)), Buffer.alloc(1000, 7))
})

test('decompressFrame() never takes the memory of a frame that expands to 1 GiB', (t) => {
  const blocks = 2 ** 30 / (128 * KiB)
  const bomb = frame(
    17,
    ...Array.from({ length: blocks }, (_, i) => repeated(1, 128 * KiB, i === blocks - 1)),
  )
  t.true(bomb.length < 64 * KiB)
  const before = process.resourceUsage().maxRSS
  t.like(
    t.throws(() => decompressFrame(bomb, DATA_FRAME_BYTES)),
    { code: 'PROTOCOL_VIOLATION' },
  )
  t.true(process.resourceUsage().maxRSS - before < 16 * KiB, 'maxRSS is in KiB: under 16 MiB more')
})

const samples: readonly [string, boolean, Uint8Array][] = [
  ['random bytes', false, randomBytes(64 * KiB)],
  ['a block of random bytes', false, randomBytes(4 * KiB)],
  [
    'a compressed stream',
    false,
    compressFrame(readFileSync(process.execPath).subarray(0, DATA_FRAME_BYTES))!,
  ],
  ['text', true, text(64 * KiB)],
  ['base64', true, Buffer.from(randomBytes(48 * KiB).toString('base64'))],
  ['zeros', true, new Uint8Array(64 * KiB)],
  [
    'random bytes laden with zeros',
    true,
    Buffer.concat(
      Array.from({ length: 16 }, () => Buffer.concat([randomBytes(2 * KiB), Buffer.alloc(2 * KiB)])),
    ),
  ],
  ['less than the probe needs', true, randomBytes(1000)],
]
for (const [what, expected, bytes] of samples) {
  test(`looksCompressible() is ${expected} for ${what}`, (t) => t.is(looksCompressible(bytes), expected))
}

test('looksCompressible() keeps almost all of what compressing an executable saves', (t) => {
  const program = readFileSync(process.execPath).subarray(0, 32 * KiB * KiB)
  let saved = 0
  let lost = 0
  for (let at = 0; at + 64 * KiB <= program.length; at += 64 * KiB) {
    const bytes = program.subarray(at, at + 64 * KiB)
    const saving = bytes.length - (compressFrame(bytes)?.length ?? bytes.length)
    saved += saving
    if (!looksCompressible(bytes)) lost += saving
  }
  t.log(`${((100 * lost) / saved).toFixed(2)} % of the savings lost`)
  t.true(lost / saved < 0.02)
})

test('decompressFrame() gives whole frames after cut, damaged and overlong ones', (t) => {
  const raw = Buffer.from('water flows '.repeat(5000))
  const whole = compressFrame(raw)!
  const damaged = Buffer.from(whole)
  damaged.fill(0xff, 8, 16)
  for (const bad of [whole.subarray(0, whole.length - 5), damaged, Buffer.concat([whole, whole])]) {
    t.throws(() => decompressFrame(bad, raw.length))
    t.deepEqual(Buffer.from(decompressFrame(whole, raw.length)), raw)
  }
})

test('decodeOnce() gives what the reused decoder gives', (t) => {
  const raw = Buffer.from('water flows '.repeat(5000))
  const whole = compressFrame(raw)!
  const { output, unreadBytes } = decodeOnce(whole, raw.length)
  t.is(unreadBytes, 0)
  t.deepEqual(Buffer.from(output), Buffer.from(decompressFrame(whole, raw.length)))
})

test('createFrameDecoder() keeps what one decoder gave while another decodes', (t) => {
  const [first, second] = ['water flows ', 'clouds drift '].map((text) => Buffer.from(text.repeat(5000)))
  const [one, other] = [createFrameDecoder(), createFrameDecoder()]
  const given = one(compressFrame(first)!, first.length)
  other(compressFrame(second)!, second.length)
  t.deepEqual(Buffer.from(given), first)
})

for (const { level } of LEVELS) {
  test(`encodeOnce() gives what the reused encoder gives, at level ${level}`, (t) => {
    for (const length of [100, 5000, DATA_FRAME_BYTES]) {
      const raw = text(length)
      t.deepEqual(Buffer.from(compressFrame(raw, level)!), Buffer.from(encodeOnce(raw, level)))
      t.deepEqual(Buffer.from(decodeOnce(encodeOnce(raw, level), length + 64).output), raw)
    }
  })

  test(`createFrameEncoder() keeps within the window that a decoder allows, at level ${level}`, (t) => {
    const raw = prose(DATA_FRAME_BYTES, 1)
    t.deepEqual(Buffer.from(decompressFrame(compressFrame(raw, level)!, raw.length)), Buffer.from(raw))
  })
}

test('createFrameEncoder() makes shorter frames at higher levels, and changes between them at any frame', (t) => {
  const raw = readFileSync(process.execPath).subarray(0, DATA_FRAME_BYTES)
  const lengthAt = (level: number) => compressFrame(raw, level)!.length
  const [first, ...higher] = LEVELS.map(({ level }) => lengthAt(level))
  for (const length of higher) t.true(length < first)
  t.is(lengthAt(1), first)
})

test('createFrameEncoder() gives a frame in the memory it was lent, and nothing of the frame before', (t) => {
  const encode = createFrameEncoder()
  const memory = Buffer.alloc(FRAME_MEMORY_BYTES)
  const first = encode(text(DATA_FRAME_BYTES), memory, 1)!
  t.is(first.buffer, memory.buffer)
  t.is(encode(randomBytes(DATA_FRAME_BYTES), memory, 1), undefined)
  const other = Buffer.from('clouds drift '.repeat(5000))
  t.deepEqual(Buffer.from(decompressFrame(encode(other, memory, 1)!, other.length)), other)
})
