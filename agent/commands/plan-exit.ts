/** How a plan ends the command that made it. */
import { ERRORS, FluidError } from '../../protocol/errors.ts'
import type { ErrorReport } from '../reports/error-report.ts'
import { errorFields } from '../output/ndjson.ts'
import type { Context } from './command.ts'

/** Of a plan that is not feasible, and does not say why. */
const INFEASIBLE_EXIT = 7

/** Its exit status, and the first reason as an error line with --json. */
export function exitOfPlan(
  context: Context,
  { feasible, reasons }: { readonly feasible: boolean; readonly reasons: readonly ErrorReport[] },
): number {
  if (feasible) return 0
  const [reason] = reasons
  if (!reason) return INFEASIBLE_EXIT
  const error = new FluidError(reason.code, reason.message, { hint: reason.hint })
  // What a disk there does not let happen, found in time, is no surprise.
  const exit =
    error.exit === ERRORS.UNEXPECTED.exit && error.code !== 'UNEXPECTED' ? INFEASIBLE_EXIT : error.exit
  context.emit('error', { ...errorFields(error), exit })
  return exit
}
