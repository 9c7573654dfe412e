/** Opens the lanes of an attempt from one side: finds an address of the peer that answers, then dials there. */
import { connect } from 'node:net'
import type { LaneEndpoint } from '../../protocol/control-message.ts'
import { LANE_CONNECT_TIMEOUT_MS, MAX_ADDRESSES } from '../../protocol/limits.ts'
import type { LaneDescriptor, LaneIdentity } from '../../transfer/lane.ts'
import { serverName } from '../../transfer/lanes/server-name.ts'
import { isOwnAddress } from '../mesh/addresses.ts'

/** A later address is tried when the ones before have not answered for this long (RFC 8305 suggests 250 ms). */
const STAGGER_MS = 250

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** The first address of `endpoint` that accepts a connection; undefined when none does. */
export function reachableAt(endpoint: LaneEndpoint, signal: AbortSignal): Promise<HostPort | undefined> {
  return firstReachable(addressesOf(endpoint), signal)
}

/** Connections that are there already. */
interface Connections {
  /** The descriptor of one to this address, for the caller to close; undefined when there is none. */
  take(at: HostPort): number | undefined
}

/** The address that reachableAt() tries first. */
export function firstAddress(endpoint: LaneEndpoint): HostPort | undefined {
  return addressesOf(endpoint)[0]
}

function addressesOf({ addresses }: LaneEndpoint): HostPort[] {
  return addresses.slice(0, MAX_ADDRESSES).flatMap(parseHostPort)
}

/**
 * Descriptors of the lanes numbered `from` to `to`, that one not included, to the peer of `endpoint` at this address; over
 * connections of `early` as long as there are some.
 */
export function dialableLanes(
  endpoint: LaneEndpoint,
  at: HostPort,
  {
    from = 0,
    to,
    identity,
    early,
  }: { from?: number; to: number; identity: LaneIdentity; early?: Connections },
): Extract<LaneDescriptor, { kind: 'tls-dial' }>[] {
  const sameMachine = isOwnAddress(at.host)
  return Array.from({ length: to - from }, (_, i) => ({
    kind: 'tls-dial',
    host: at.host,
    port: at.port,
    fd: early?.take(at),
    sameMachine,
    serverName: serverName(endpoint.token, from + i),
    identity,
    peerCertificate: endpoint.certificate,
  }))
}

/** `host:port` or `[ipv6]:port`; nothing for anything else. */
export function parseHostPort(text: string): HostPort[] {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (!match || port < 1 || port > 65_535) return []
  return [{ host: match[1] ?? match[2], port }]
}

/** The first address to accept a TCP connection, tried in order, each a little after the one before. */
export async function firstReachable(
  addresses: readonly HostPort[],
  signal: AbortSignal,
): Promise<HostPort | undefined> {
  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal, AbortSignal.timeout(LANE_CONNECT_TIMEOUT_MS)])
  try {
    return await Promise.any(
      addresses.map(async (address, i) => {
        await pause(i * STAGGER_MS, stop)
        await reach(address, stop)
        return address
      }),
    )
  } catch {
    signal.throwIfAborted()
    return undefined
  } finally {
    over.abort()
  }
}

function reach({ host, port }: HostPort, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal })
    socket.once('connect', () => {
      socket.destroy()
      resolve()
    })
    socket.once('error', reject)
  })
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms === 0) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    }, ms)
    signal.addEventListener('abort', abort, { once: true })
  })
}
