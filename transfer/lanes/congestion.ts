/**
 * Chooses the congestion control of a lane by what its line does, where the system lets us.
 *
 * A lane begins with CUBIC (RFC 9438), which fills a sound line and seldom overflows its queue: four lanes of BBR drop a tenth
 * of their packets there, and leave 4 % of the line unused (1 Gb/s, 40 ms, a queue of one round trip). Where packets
 * are lost though none wait in a queue, the line loses them, not we: CUBIC falls to a hundredth of such a line,
 * BBR (draft-ietf-ccwg-bbr) keeps its rate (0.1 %: 2 against 110 MB/s). So there all lanes of a job go over to BBR, since one of CUBIC
 * starves beside others of BBR. Nearby they never do: BBR's pacing costs a tenth of a lane's CPU there. Linux lets everyone
 * choose what net.ipv4.tcp_allowed_congestion_control lists; a lane that may not choose goes on with what it has.
 */
import type { LineState } from '../lane.ts'
import { setCongestionControl, tcpState, type TcpState } from '../linux.ts'

/** Up to here, milliseconds, a lane is near: one machine, one rack. */
const NEAR_MS = 2
/** Packets that take longer than the shortest time by this much wait in a queue: a share of it, and a little. */
const FULL_SHARE = 0.25
const LITTLE_MS = 1
/** And by less than this in none: what lanes that overflowed a queue leave in it is more. */
const EMPTY_SHARE = 0.1
/**
 * So many looks that show losses, and none of those between a queue, mean that the line loses them. One would not: where many
 * lanes overflow a queue at once it may be empty again at the next look.
 */
const LOSSY_LOOKS = 2

/** What the kernel says of a socket, and lets us choose. */
interface Kernel {
  state(fd: number): TcpState | undefined
  choose(fd: number, name: 'bbr' | 'cubic'): boolean
}

const LINUX: Kernel = { state: tcpState, choose: setCongestionControl }

/** The congestion control of one connected socket. */
export class CongestionControl {
  readonly #fd: number
  readonly #kernel: Kernel
  readonly #near: boolean
  #repeats = 0
  #lossyLooks = 0

  /** Begin after the handshake of `fd`, so that its round trip is known. */
  constructor(fd: number, kernel = LINUX) {
    this.#fd = fd
    this.#kernel = kernel
    const state = kernel.state(fd)
    this.#near = state === undefined || state.roundTripMs <= NEAR_MS
    if (state) kernel.choose(fd, 'cubic')
  }

  /** Looks at the line; call it a few times a second. */
  observe(): LineState {
    const state = this.#kernel.state(this.#fd)
    if (!state) return { full: false, loses: false, near: false }
    if (takesLonger(state, EMPTY_SHARE)) this.#lossyLooks = 0
    else if (state.repeats > this.#repeats) this.#lossyLooks++
    this.#repeats = state.repeats
    return {
      full: takesLonger(state, FULL_SHARE),
      loses: this.#lossyLooks >= LOSSY_LOOKS,
      near: state.leastRoundTripMs !== undefined && state.leastRoundTripMs <= NEAR_MS,
    }
  }

  /** The line loses packets: this lane sees it, or another. */
  expectLosses(): void {
    if (!this.#near) this.#kernel.choose(this.#fd, 'bbr')
  }
}

/** Packets take longer than on an empty line, by more than this share. */
function takesLonger({ roundTripMs, leastRoundTripMs }: TcpState, share: number): boolean {
  return leastRoundTripMs !== undefined && roundTripMs > leastRoundTripMs * (1 + share) + LITTLE_MS
}
