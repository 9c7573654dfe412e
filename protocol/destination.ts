/**
 * Destination names: what a peer may call the thing it writes. Pure: whether a folder on the way is a symbolic
 * link is for the one who opens it to see.
 */
import { FluidError } from './errors.ts'
import { isPrintable } from './field.ts'
import { MAX_DESTINATION_BYTES, MAX_NAME_BYTES } from './limits.ts'

/**
 * The segments of a destination inside the granted folder: names separated by single slashes. None begins with a
 * dot: that keeps out `..`, and leaves hidden names to staging files. Throws NAME_INVALID.
 */
export function validateDestinationName(name: string): string[] {
  if (Buffer.byteLength(name) > MAX_DESTINATION_BYTES) {
    throw invalid(name, `is longer than ${MAX_DESTINATION_BYTES} bytes`)
  }
  if (name === '') throw invalid(name, 'is empty')
  if (name.startsWith('/')) throw invalid(name, 'is an absolute path')
  if (!isPrintable(name)) throw invalid(name, 'contains control characters')
  if (name.includes('\\')) throw invalid(name, 'contains a backslash')
  const segments = name.split('/')
  for (const segment of segments) checkSegment(name, segment)
  return segments
}

function checkSegment(name: string, segment: string): void {
  if (segment === '') throw invalid(name, 'contains an empty segment')
  if (segment === '..') throw invalid(name, 'leads out of the granted folder')
  if (segment.startsWith('.')) throw invalid(name, 'contains a segment that begins with a dot')
  if (segment !== segment.trim()) throw invalid(name, 'contains a segment that begins or ends with a space')
  if (Buffer.byteLength(segment) > MAX_NAME_BYTES) {
    throw invalid(name, `contains a segment longer than ${MAX_NAME_BYTES} bytes`)
  }
}

function invalid(name: string, what: string): FluidError {
  return new FluidError('NAME_INVALID', `Destination ${JSON.stringify(name.slice(0, 80))} ${what}`)
}
