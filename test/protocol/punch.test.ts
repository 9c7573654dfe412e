import fc from 'fast-check'
import test from 'ava'
import type { FluidError } from '../../protocol/errors.ts'
import {
  decodePunchAnswer,
  decodePunchQuestion,
  encodePunchAnswer,
  encodePunchQuestion,
  PUNCH_QUESTION_BYTES,
} from '../../protocol/punch.ts'

const socket = fc
  .tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 1, max: 65_535 }))
  .map(([host, port]) => `${host.includes(':') ? `[${host}]` : host}:${port}`)

test('a question of punch is read as it was written, also without an address', (t) => {
  fc.assert(
    fc.property(fc.oneof(socket, fc.constant('')), (asked) => {
      t.deepEqual(decodePunchQuestion(encodePunchQuestion({ socket: asked })), { socket: asked })
    }),
  )
})

test('an answer of punch is read as it was written', (t) => {
  fc.assert(
    fc.property(fc.boolean(), fc.oneof(socket, fc.constant('')), (comes, answered) => {
      t.deepEqual(decodePunchAnswer(encodePunchAnswer({ comes, socket: answered })), {
        comes,
        socket: answered,
      })
    }),
  )
})

test('any other bytes of punch are a violation, and nothing else', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      for (const decode of [decodePunchAnswer, decodePunchQuestion]) {
        try {
          decode(bytes)
        } catch (error) {
          t.is((error as FluidError).code, 'PROTOCOL_VIOLATION')
        }
      }
    }),
  )
  for (const text of [
    'relay:4001',
    '10.0.0.1',
    '10.0.0.1:0',
    '10.0.0.1:65536',
    '::1:4001',
    '[::1]',
    '1.1.1.1:1\0x',
  ])
    t.throws(() => decodePunchQuestion(encodePunchQuestion({ socket: text })), undefined, text)
  t.throws(() => decodePunchAnswer(new Uint8Array(PUNCH_QUESTION_BYTES)))
})
