/** Why something failed or was refused, for the command line. Plain data only. */
import type { ErrorCode } from '../../protocol/errors.ts'

export interface ErrorReport {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string
  readonly retryable: boolean
  readonly exit: number
}
