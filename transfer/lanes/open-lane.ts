/** Opens the lane a descriptor describes, in the thread that will use it. The only place that knows every kind. */
import type { Lane, LaneDescriptor } from '../lane.ts'
import { openPortLane } from './port.ts'
import { acceptTls, dialTls, type OpenLaneOptions } from './tls.ts'

/**
 * An authenticated lane, ready for frames. Takes over what the descriptor carries (descriptor, port) from the call on,
 * also when it throws: LANE_FAILED, or the reason of `signal`, whose abort ends the lane at any time of its life.
 */
export function openLane(descriptor: LaneDescriptor, options: OpenLaneOptions = {}): Promise<Lane> {
  switch (descriptor.kind) {
    case 'tls-dial':
      return dialTls(descriptor, options)
    case 'tls-accept':
      return acceptTls(descriptor, options)
    case 'port':
      return openPortLane(descriptor, options)
  }
}
