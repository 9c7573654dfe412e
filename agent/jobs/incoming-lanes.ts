/** The lanes of an attempt that receives: those that the sender opens here, and those that are dialled to it. */
import type { LaneEndpoint } from '../../protocol/control-message.ts'
import { INCOMING_LANE_BYTES } from '../../protocol/limits.ts'
import { isPaused } from '../../protocol/state.ts'
import type { Inbound } from '../../transfer/inbound.ts'
import type { EarlySockets } from '../viaduct/early-sockets.ts'
import { dialableLanes, type HostPort } from '../viaduct/lane-dialing.ts'
import { growLanes, mostOf } from '../viaduct/lane-growth.ts'
import type { IncomingAttempt } from './attempt.ts'
import { type DirectWay, watchForDirect } from './direct-way.ts'

/** How lanes come about in an attempt. */
export interface LanesOfAttempt {
  /** Of this side. */
  readonly endpoint: LaneEndpoint
  /** Where the sender answers, if it does. */
  readonly senderAt: Promise<HostPort | undefined> | undefined
  /** To the sender. */
  readonly early: EarlySockets
  /** At most. */
  readonly roundTripMs: number
}

/** Takes the lanes that the sender opens here, no more than was agreed or there is room for. Dispose it to take no more. */
export function takeLanes(attempt: IncomingAttempt, inbound: Inbound, { token }: LaneEndpoint): Disposable {
  const { parts, job, offer, agreement, viaduct } = attempt
  using stack = new DisposableStack()
  let taken = 0
  const most = mostOf(agreement)
  // Room for the first of them was made before; a lane that is refused counts, so that nobody asks without end.
  const room = () => taken < most && (taken++ < agreement.lanes || attempt.room.grow(INCOMING_LANE_BYTES))
  const sockets = parts.listener.expect(token, ({ fd, sameMachine, head }) => {
    if (!room()) return false
    const { certificate } = offer.endpoint!
    void inbound
      .addLane({
        kind: 'tls-accept',
        fd,
        sameMachine,
        head,
        identity: parts.laneIdentity,
        peerCertificate: certificate,
      })
      .then((opened) => opened || parts.mesh.refusals.count('lane-unproven'))
    return true
  })
  stack.use(sockets)
  // A socket of ours tells the sender that there is a way.
  const showWay = (at: DirectWay) => {
    if (at === 'mesh') return
    const [lane] = dialableLanes(offer.endpoint!, at, { to: 1, identity: parts.laneIdentity })
    void inbound.addLane(lane)
  }
  const looking = stack.use(new DisposableStack())
  let rides = false
  const streams = parts.streamLanes.expect(viaduct.stream.peer, token, (port, _, path) => {
    if (!room()) return false
    if (path === 'relay' && !rides) {
      rides = true
      looking.use(watchForDirect({ parts, job, endpoint: offer.endpoint!, mesh: false }, showWay))
    }
    void inbound.addLane({ kind: 'port', port, path })
    return true
  })
  stack.use(streams)
  return stack.move()
}

/**
 * Dials lanes to the sender, the fast way; when no address answers the sender is told to dial here. Dispose it to add
 * no more lanes.
 */
export async function dialSender(
  { parts, job, agreement, offer, viaduct, room, moving }: IncomingAttempt,
  inbound: Inbound,
  { at, early, roundTripMs }: { at: HostPort | undefined; early: EarlySockets; roundTripMs: number },
): Promise<Disposable> {
  const { laneIdentity: identity } = parts
  const open = async (from: number, to: number) => {
    const dialed = at ? dialableLanes(offer.endpoint!, at, { from, to, identity, early }) : []
    const opening = dialed.map(
      async (lane) =>
        // What was connected early may be gone again.
        (await inbound.addLane(lane)) ||
        (lane.fd !== undefined && inbound.addLane({ ...lane, fd: undefined })),
    )
    return (await Promise.all(opening)).filter(Boolean).length
  }
  const opened = await open(0, agreement.lanes)
  await viaduct.stream.send({
    kind: 'lane-report',
    opened,
    reason: opened > 0 ? '' : 'No address of the sender answers',
  })
  return growLanes({
    lanes: opened < agreement.lanes ? 0 : opened,
    most: mostOf(agreement),
    roundTripMs,
    wireBytes: () => job.record.counters.wireBytes,
    leftBytes: () => agreement.sizeBytes - inbound.doneBytes,
    lineFull: () => inbound.lineFull,
    near: () => inbound.near,
    sharing: () => ({ jobs: moving() }),
    paused: () => isPaused(viaduct.stream.state),
    open: async (from, to) => (room.grow((to - from) * INCOMING_LANE_BYTES) ? await open(from, to) : 0),
  })
}
