/** Opens the lane a descriptor describes, in the thread that will use it. The only place that knows every kind. */
import type { Lane, LaneDescriptor } from '../lane.ts'
import { openssl } from './openssl.ts'
import { openPortLane } from './port.ts'
import type { OpenLaneOptions } from './tls-lane.ts'
import { acceptTls, dialTls } from './tls.ts'
import { openTlsInPlace } from './tls-in-place.ts'

export interface OpenLaneFor extends OpenLaneOptions {
  /** How TLS is done, the same on the wire: by calling OpenSSL where that can be, unless node:tls is asked for. */
  readonly tls?: 'openssl' | 'node'
}

/**
 * An authenticated lane, ready for frames. Takes over what the descriptor carries (descriptor, port) from the call on,
 * also when it throws: LANE_FAILED, or the reason of `signal`, whose abort ends the lane at any time of its life.
 */
export function openLane(
  descriptor: LaneDescriptor,
  { tls = 'openssl', ...options }: OpenLaneFor = {},
): Promise<Lane> {
  if (descriptor.kind === 'port') return openPortLane(descriptor, options)
  if (tls === 'openssl' && openssl) return openTlsInPlace(openssl, descriptor, options)
  return descriptor.kind === 'tls-dial' ? dialTls(descriptor, options) : acceptTls(descriptor, options)
}
