/** Assertions that the protocol tests share. */
import type { ExecutionContext } from 'ava'
import { FluidError, type ErrorCode } from '../../protocol/errors.ts'

/** Asserts that `run` throws a FluidError with this code. */
export function violates(
  t: ExecutionContext,
  run: () => unknown,
  code: ErrorCode = 'PROTOCOL_VIOLATION',
): void {
  const error = t.throws(run, { instanceOf: FluidError })
  t.is(error?.code, code)
}

/** The value with Buffers as Uint8Arrays and without prototypes, so that deepEqual compares contents. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Uint8Array.from(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]))
}
