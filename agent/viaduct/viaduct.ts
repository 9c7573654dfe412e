/** Opening a viaduct to a peer, and what both sides of one need: greetings and the endpoint for lanes. */
import { randomBytes } from 'node:crypto'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Hello, LaneEndpoint } from '../../protocol/control-message.ts'
import { asFluidError, FluidError } from '../../protocol/errors.ts'
import { OFFER_AHEAD_MINOR, VIADUCT_PROTOCOL } from '../../protocol/ids.ts'
import { HANDSHAKE_TIMEOUT_MS, MAX_ADDRESSES, TOKEN_BYTES } from '../../protocol/limits.ts'
import { agreedMinor } from '../../protocol/offer.ts'
import { dataAddrs, hostOf } from '../mesh/addresses.ts'
import { openControlStream, type ControlStream } from './control-stream.ts'
import { dialPeer } from '../mesh/dial-peer.ts'
import { negotiated } from '../mesh/optimistic-select.ts'
import { helloOf, type JobParts } from '../job-parts.ts'
import { isRelayed } from '../mesh/relay.ts'
import { lineMeter, nearness, type LineMeter } from './round-trip.ts'
import { isWebRtc } from '../mesh/webrtc.ts'

/** A control stream on which both have said hello. */
export interface Viaduct {
  readonly stream: ControlStream
  /** The peer's; of one that is spoken to ahead of it, it must be awaited before anything else is heard. */
  readonly hello: Promise<Hello>
  /** How the mesh reaches the peer. */
  readonly remoteAddr: Multiaddr
  /** A relay lies between. */
  readonly relayed: boolean
  /** Undefined at the receiver, as is what follows. */
  readonly roundTripMs?: number
  readonly line?: LineMeter
}

/**
 * Dials a paired peer and greets it; the caller disposes the stream. Throws NOT_PAIRED, PEER_UNREACHABLE, VERSION_UNSUPPORTED.
 * With `ahead` the answer of a peer whose minor this connection has told before is not waited for: it takes an offer now.
 */
export async function openViaduct(
  parts: JobParts,
  peer: string,
  signal: AbortSignal,
  { ahead = false } = {},
): Promise<Viaduct> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(HANDSHAKE_TIMEOUT_MS)])
  const connection = await dialPeer(parts.mesh, peer, { signal: deadline }).catch((error: unknown) => {
    signal.throwIfAborted()
    throw error instanceof FluidError ? error : unreachable(peer, error)
  })
  const meter = lineMeter(connection)
  const options = { signal: deadline, runOnLimitedConnection: true, negotiateFully: false }
  const failed = (cause: unknown): never => {
    signal.throwIfAborted()
    // Over UDP nothing else tells that the other end is gone.
    if (isWebRtc(connection)) connection.abort(asFluidError(cause))
    throw unreachable(peer, cause)
  }
  const raw = await connection.newStream(VIADUCT_PROTOCOL, options).catch(failed)
  const stream = openControlStream(raw, { role: 'initiator', peer })
  try {
    const greetedAt = performance.now()
    await stream.send(helloOf(parts))
    const hello = negotiated(raw)
      .catch(failed)
      .then(() => stream.expect('hello'))
      .then((heard) => {
        meter.note(performance.now() - greetedAt)
        meter.minor = agreedMinor(heard)
        return heard
      })
    hello.catch(() => {})
    if (!ahead || meter.minor < OFFER_AHEAD_MINOR) await hello
    return {
      stream,
      hello,
      remoteAddr: connection.remoteAddr,
      relayed: isRelayed(connection),
      roundTripMs: await nearness(meter),
      line: meter,
    }
  } catch (error) {
    await stream.fail(error)
    throw error
  }
}

function unreachable(peer: string, cause: unknown): FluidError {
  return new FluidError('PEER_UNREACHABLE', 'The peer does not answer', { cause, peer })
}

/** Where the peer may dial this side's lanes in one attempt. */
export function laneEndpoint(parts: JobParts, remoteAddr: Multiaddr): LaneEndpoint {
  const { port } = parts.listener.address
  const { node, own } = parts.mesh
  return {
    addresses: dataAddrs(node, { port, dataHost: parts.config.dataHost, remoteAddr, own }),
    token: randomBytes(TOKEN_BYTES),
    certificate: parts.laneIdentity.certificateDer,
  }
}

/** The endpoint with the address added at which the mesh itself reaches the peer: it may know better than the peer. */
export function widened(endpoint: LaneEndpoint, remoteAddr: Multiaddr): LaneEndpoint {
  const host = hostOf(remoteAddr)
  const port = /:(\d+)$/.exec(endpoint.addresses[0] ?? '')?.[1]
  if (!host || !port) return endpoint
  const seen = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  return { ...endpoint, addresses: [...new Set([...endpoint.addresses, seen])].slice(0, MAX_ADDRESSES + 1) }
}
