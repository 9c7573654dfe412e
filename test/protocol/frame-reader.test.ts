import test from 'ava'
import fc from 'fast-check'
import { createFrameReader, frameControl } from '../../protocol/frame-reader.ts'
import { plain, violates } from './assertions.ts'

test('createFrameReader() returns the messages of a stream, however it is cut', (t) => {
  const messages = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 })
  fc.assert(
    fc.property(messages, fc.infiniteStream(fc.integer({ min: 1, max: 400 })), (list, cuts) => {
      const reader = createFrameReader(300)
      const read: Uint8Array[] = []
      let rest: Uint8Array = Buffer.concat(list.map(frameControl))
      for (const cut of cuts) {
        if (rest.length === 0) break
        read.push(...reader.push(rest.subarray(0, cut)))
        rest = rest.subarray(cut)
      }
      t.deepEqual(read.map(plain), list.map(plain))
      t.is(reader.heldBytes, 0)
    }),
  )
})

test('push() returns copies', (t) => {
  const stream = frameControl(Uint8Array.of(1, 2, 3))
  const [message] = createFrameReader(10).push(stream)
  stream.fill(0)
  t.deepEqual(message, Uint8Array.of(1, 2, 3))
})

test('heldBytes tells a truncated stream', (t) => {
  const reader = createFrameReader(10)
  reader.push(frameControl(Uint8Array.of(1, 2, 3)).subarray(0, 3))
  t.is(reader.heldBytes, 2)
})

const refused = test.macro((t, bytes: number[]) => {
  violates(t, () => createFrameReader(200).push(Uint8Array.from(bytes)))
})

test('push() refuses an empty message', refused, [0])
test('push() refuses a message over the limit by its prefix alone', refused, [0xc9, 0x01])
test('push() refuses a prefix of five bytes', refused, [0xff, 0xff, 0xff, 0xff, 0x01])
test('push() refuses a prefix in a longer form than needed', refused, [0x81, 0x00])

test('push() accepts a message of exactly the limit', (t) => {
  t.is(createFrameReader(200).push(frameControl(new Uint8Array(200)))[0].length, 200)
})
