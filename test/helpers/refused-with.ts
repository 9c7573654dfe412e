/** The assertion that something fails the way users are told it does. */
import type { ExecutionContext } from 'ava'
import { type ErrorCode, FluidError } from '../../protocol/errors.ts'

/** Asserts that `work` fails with a FluidError of `code`, and gives the error. */
export async function refusedWith(
  t: ExecutionContext,
  code: ErrorCode,
  work: Promise<unknown>,
): Promise<FluidError> {
  const error = await t.throwsAsync(work, { instanceOf: FluidError })
  t.is(error.code, code, error.message)
  return error
}
