/** Checks and error mapping that every backend shares. */
import { FluidError, asFluidError } from '../../protocol/errors.ts'

/** Throws RangeError unless [offset, offset + lengthBytes) lies inside a volume of `sizeBytes`. */
export function checkBounds(sizeBytes: number, offset: number, lengthBytes: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= sizeBytes)
    return
  throw new RangeError(`Range ${offset}+${lengthBytes} is outside a volume of ${sizeBytes} bytes`)
}

/** Throws INTERRUPTED unless `open`: the number of a closed descriptor may be another file's by now. */
export function checkOpen(open: boolean, path: string): void {
  if (!open) throw new FluidError('INTERRUPTED', `${path} is closed`)
}

/** The system's name of an error (ENOSPC, EIO...), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

/** SOURCE_READ at `offset`, unless the error already is one of ours. */
export function sourceReadError(error: unknown, offset: number): FluidError {
  if (error instanceof FluidError) return error
  return new FluidError('SOURCE_READ', `Cannot read the source at offset ${offset}: ${reason(error)}`, {
    cause: error,
    offset,
  })
}

/** NO_SPACE or TARGET_WRITE at `offset`, unless the error already is one of ours. */
export function targetWriteError(error: unknown, offset: number): FluidError {
  const errno = errnoOf(error)
  if (errno === 'ENOSPC') {
    return new FluidError('NO_SPACE', `The target is full: no space to write at offset ${offset}`, {
      cause: error,
      offset,
    })
  }
  if (errno === 'EDQUOT') {
    return new FluidError('NO_SPACE', `The quota of the target is used up at offset ${offset}`, {
      cause: error,
      offset,
    })
  }
  if (error instanceof FluidError) return error
  return new FluidError('TARGET_WRITE', `Cannot write the target at offset ${offset}: ${reason(error)}`, {
    cause: error,
    offset,
  })
}

/** TARGET_WRITE for what the target cannot read back at `offset`. */
export function targetReadError(error: unknown, offset: number): FluidError {
  if (error instanceof FluidError) return error
  return new FluidError('TARGET_WRITE', `Cannot read the target back at offset ${offset}: ${reason(error)}`, {
    cause: error,
    offset,
  })
}

/** TARGET_WRITE for a failed flush; what was not flushed before counts as not written. */
export function targetSyncError(error: unknown): FluidError {
  if (errnoOf(error) === 'ENOSPC' || errnoOf(error) === 'EDQUOT') {
    return new FluidError('NO_SPACE', 'The target is full: what was written did not reach the disk', {
      cause: error,
    })
  }
  if (error instanceof FluidError) return error
  return new FluidError('TARGET_WRITE', `What was written did not reach the disk: ${reason(error)}`, {
    cause: error,
  })
}

/** What went wrong, in words. */
export function reason(error: unknown): string {
  return asFluidError(error).message
}
