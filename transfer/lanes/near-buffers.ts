/**
 * Bounds what the kernel holds of a near lane, at both ends.
 *
 * Left alone, Linux lets the buffers of a lane grow to tens of MiB where the receiver is slower than the line. Nearby that
 * brings nothing: a MiB each millisecond is a gigabyte a second. It costs: what lies there when the receiver is killed is
 * sent twice. Far away the buffers are the line's capacity, and are the kernel's to choose.
 */
import { readFileSync } from 'node:fs'
import { setBufferBytes, tcpState } from '../linux.ts'

const NEAR_BUFFER_BYTES = 1024 * 1024
/** Up to here, milliseconds, such a buffer lets a gigabyte a second through. */
const NEAR_MS = 1

/** Bounds the buffers of the connected socket `fd` if its other end is near, and the system lets them be as large as that. */
export function boundNearBuffers(fd: number): void {
  const { leastRoundTripMs = Infinity } = tcpState(fd) ?? {}
  if (leastRoundTripMs > NEAR_MS) return
  for (const way of ['receive', 'send'] as const)
    if (mostBytes(way) >= NEAR_BUFFER_BYTES) setBufferBytes(fd, way, NEAR_BUFFER_BYTES)
}

/** What the system allows: more asked for would be less given, silently. */
function mostBytes(way: 'receive' | 'send'): number {
  try {
    return Number(readFileSync(`/proc/sys/net/core/${way === 'receive' ? 'rmem' : 'wmem'}_max`, 'latin1'))
  } catch {
    return 0
  }
}
