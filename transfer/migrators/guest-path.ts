/** Paths inside a guest, as Migrators may name them. */
import { FluidError } from '../../protocol/errors.ts'
import { MAX_GUEST_PATH_BYTES } from '../../protocol/limits.ts'

/** As Linux has it. */
const MAX_NAME_BYTES = 255

/** True for an absolute path without `.`, `..`, empty parts, control characters or parts no file can have. */
export function isGuestPath(path: unknown): path is string {
  return (
    typeof path === 'string' &&
    path.length > 1 &&
    path.startsWith('/') &&
    Buffer.byteLength(path) < MAX_GUEST_PATH_BYTES &&
    !/[\x00-\x1f\x7f]/.test(path) &&
    path.isWellFormed() &&
    path
      .slice(1)
      .split('/')
      .every(
        (part) => part !== '' && part !== '.' && part !== '..' && Buffer.byteLength(part) <= MAX_NAME_BYTES,
      )
  )
}

/** The names along `path`; of `/` none. Throws GUEST_UNSUPPORTED for what is no path of a guest. */
export function pathParts(path: string): string[] {
  if (path === '/') return []
  if (!isGuestPath(path))
    throw new FluidError(
      'GUEST_UNSUPPORTED',
      `${JSON.stringify(String(path).slice(0, 200))} is no path in a guest`,
    )
  return path.slice(1).split('/')
}
