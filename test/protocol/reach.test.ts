import fc from 'fast-check'
import test from 'ava'
import {
  decodeReachAnswer,
  decodeReachQuestion,
  encodeReachAnswer,
  encodeReachQuestion,
} from '../../protocol/reach.ts'
import type { FluidError } from '../../protocol/errors.ts'

test('a question of reach is read as it was written', (t) => {
  const port = fc.integer({ min: 1, max: 65_535 })
  const token = fc.uint8Array({ minLength: 16, maxLength: 16 })
  fc.assert(
    fc.property(token, port, fc.integer({ min: 0, max: 65_535 }), (bytes, meshPort, dataPort) => {
      t.deepEqual(decodeReachQuestion(encodeReachQuestion({ token: bytes, meshPort, dataPort })), {
        token: Uint8Array.from(bytes),
        meshPort,
        dataPort,
      })
    }),
  )
})

test('an answer of reach is read as it was written', (t) => {
  fc.assert(
    fc.property(fc.boolean(), fc.oneof(fc.ipV4(), fc.ipV6()), (tried, host) => {
      t.deepEqual(decodeReachAnswer(encodeReachAnswer({ tried, host })), { tried, host })
    }),
  )
})

test('any other bytes are a violation, and nothing else', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      for (const decode of [decodeReachAnswer, decodeReachQuestion]) {
        try {
          decode(bytes)
        } catch (error) {
          t.is((error as FluidError).code, 'PROTOCOL_VIOLATION')
        }
      }
    }),
  )
  t.throws(() => decodeReachAnswer(Buffer.from('\u0001fe80::1%eth0')))
  t.throws(() => decodeReachQuestion(new Uint8Array(20)))
  t.pass()
})
