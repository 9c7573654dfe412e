import test from 'ava'
import { ERRORS, FluidError, codeOfWire, type ErrorCode } from '../../protocol/errors.ts'

test('ERRORS gives every code its own wire number', (t) => {
  const wires = Object.values(ERRORS).map((meaning) => meaning.wire)
  t.is(new Set(wires).size, wires.length)
})

test('codeOfWire() inverts the table and maps unknown numbers to UNEXPECTED', (t) => {
  for (const [code, { wire }] of Object.entries(ERRORS)) t.is(codeOfWire(wire), code as ErrorCode)
  t.is(codeOfWire(99_999), 'UNEXPECTED')
})

test('FluidError keeps its cause and prefers its own hint', (t) => {
  const cause = new Error('disk')
  const error = new FluidError('NO_SPACE', 'Writing 4096 bytes failed', { cause, hint: 'Grow the volume' })
  t.is(error.cause, cause)
  t.is(error.hint, 'Grow the volume')
  t.is(error.exit, 7)
})
