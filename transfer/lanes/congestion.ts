/**
 * Chooses the congestion control of a lane by its round trip, where the system lets us.
 *
 * Far away, BBR (RFC draft-ietf-ccwg-bbr): it keeps its rate through random losses, where CUBIC falls to a hundredth
 * of the line (1 Gb/s, 40 ms, 0.1 %: 2 against 110 MB/s). Nearby, CUBIC: BBR's pacing costs a tenth of a lane's CPU there and
 * brings nothing. Linux lets everyone choose what net.ipv4.tcp_allowed_congestion_control lists; a lane that may not choose
 * goes on with the system's own.
 */
import { setCongestionControl, tcpRoundTripMs } from '../linux.ts'

/** Up to here, milliseconds, a lane is near: one machine, one rack. */
const NEAR_MS = 2

/** Sets what suits the connected socket `fd`; after its handshake, so that the round trip is known. */
export function chooseCongestionControl(fd: number | undefined): void {
  if (fd === undefined || fd < 0) return
  const roundTripMs = tcpRoundTripMs(fd)
  if (roundTripMs === undefined) return
  setCongestionControl(fd, roundTripMs > NEAR_MS ? 'bbr' : 'cubic')
}
