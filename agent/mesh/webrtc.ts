/**
 * WebRTC as a way of the mesh, for lines that let UDP pass and TCP not: libp2p's webrtc-direct
 * (https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md). The address tells the digest of the listener's
 * certificate, so no server stands between; Noise proves the peer ID over both certificates. Off unless asked for, and
 * not loaded then.
 */
import { createHash, randomUUID } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { Connection, Libp2p } from '@libp2p/interface'
import type { webRTCDirect } from '@libp2p/webrtc'
import type { Multiaddr } from '@multiformats/multiaddr'
import { base64url } from 'multiformats/bases/base64'
import { FluidError } from '../../protocol/errors.ts'
import { MAX_UPGRADING_CONNECTIONS, WEBRTC_PROBE_TIMEOUT_MS } from '../../protocol/limits.ts'
import { createLaneIdentity } from '../../transfer/lanes/certificates.ts'
import { interfaceAddresses } from './addresses.ts'
import { override } from './override.ts'
import type { Refusals } from './refusals.ts'

type WebRtcTransport = ReturnType<typeof webRTCDirect>
type Components = Parameters<WebRtcTransport>[0]

/** A renewed certificate is another address: it must outlive whoever keeps that. Nobody asks for its dates. */
const VALID_DAYS = 100 * 365
const MULTIHASH_SHA256 = [0x12, 0x20]

/** The transport, with the certificate kept at `certificate`. Throws CONFIG_INVALID. */
export async function webRtcTransport({
  certificate: path,
  refusals,
}: {
  /** Path of a file, made when there is none. */
  readonly certificate: string
  readonly refusals: Refusals
}): Promise<WebRtcTransport> {
  const library = await import('@libp2p/webrtc')
  const create = library.webRTCDirect({
    certificate: await certificateAt(path),
    // None: the library would ask those of others what our address is.
    rtcConfiguration: { iceServers: [] },
  })
  return (components) => create(override(components, { upgrader: boundedUpgrader(components, refusals) }))
}

/** Any datagram may begin a connection, long before somebody proves who it is: so many at a time and no more. */
export function boundedUpgrader(
  { upgrader }: Pick<Components, 'upgrader'>,
  refusals: Refusals,
): Components['upgrader'] {
  let beginning = 0
  // Asked for each connection that begins, before anything is made for it, and cleared at its end.
  const createInboundAbortSignal: Components['upgrader']['createInboundAbortSignal'] = (stop) => {
    const refused = beginning >= MAX_UPGRADING_CONNECTIONS
    if (refused) refusals.count('webrtc-limit')
    const signal = upgrader.createInboundAbortSignal(refused ? AbortSignal.abort() : stop)
    if (refused) return signal
    beginning++
    const clear = signal.clear.bind(signal)
    signal.clear = () => {
      beginning--
      clear()
    }
    return signal
  }
  return override(upgrader, { createInboundAbortSignal })
}

async function certificateAt(path: string): Promise<{ privateKey: string; pem: string; certhash: string }> {
  const read = () => readFile(path, 'utf8')
  const text = await read().catch(async (cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw cause
    const { keyPem, certificatePem } = await createLaneIdentity('fluidcloud', { validDays: VALID_DAYS })
    const whole = `${path}.${randomUUID()}.tmp`
    await writeFile(whole, `${keyPem}${certificatePem}\n`, { flag: 'wx', mode: 0o600, flush: true })
    await rename(whole, path)
    return read()
  })
  const [, privateKey, pem, body] = PEM_FILE.exec(text) ?? []
  if (!privateKey) {
    throw new FluidError('CONFIG_INVALID', `${path} holds no key and certificate`, {
      hint: 'Remove it: another is made at the next start, and addresses of webrtc-direct change',
    })
  }
  const digest = createHash('sha256').update(Buffer.from(body, 'base64')).digest()
  return { privateKey, pem, certhash: base64url.encode(Buffer.from([...MULTIHASH_SHA256, ...digest])) }
}

const PEM_FILE =
  /^(-----BEGIN PRIVATE KEY-----\n[^-]+-----END PRIVATE KEY-----\n)(-----BEGIN CERTIFICATE-----\n([^-]+)-----END CERTIFICATE-----)/

/**
 * Where the mesh listens besides `listen`: at the same hosts and ports by UDP, unless such addresses are named there. All
 * answers of a process leave by the library's first socket, so IPv6 is listened to if there is nothing else, or if one
 * socket takes in all of IPv6 and of IPv4; and is left out beside other addresses of IPv4.
 */
export function webRtcListen(listen: readonly string[], hasIp6 = hasIp6Here): string[] {
  if (listen.some((addr) => addr.endsWith('/webrtc-direct'))) return []
  const sockets = listen.flatMap((addr) => {
    const [, at, host, port] = /^(\/ip[46]\/([^/]+))\/tcp\/(\d+)$/.exec(addr) ?? []
    return at ? [{ host, port, addr: `${at}/udp/${port}/webrtc-direct` }] : []
  })
  const ip6 = sockets.filter(({ host }) => isIP(host) === 6)
  const ip4 = sockets.filter(({ host }) => isIP(host) === 4)
  const all = ip6.find(({ host, port }) => host === '::' && port !== '0')
  const isOne = ip4.every(({ host, port }) => host === '0.0.0.0' && port === all?.port)
  const chosen = ip4.length === 0 ? ip6.filter(isFirstAtPort) : all && isOne ? [all] : []
  return [...(hasIp6() ? chosen : []), ...ip4.filter(isFirstAtPort)].map(({ addr }) => addr)
}

/** The library refuses a second address of a family at one port. */
function isFirstAtPort({ port }: { port: string }, at: number, all: readonly { port: string }[]): boolean {
  return port === '0' || all.findIndex((other) => other.port === port) === at
}

/** Where it is not, the library would fail at the port for IPv4 as well. */
function hasIp6Here(): boolean {
  return interfaceAddresses().some(({ family }) => family === 'IPv6')
}

export function isWebRtcAddr(addr: Multiaddr): boolean {
  return addr.getComponents().some(({ name }) => name === 'webrtc-direct' || name === 'webrtc')
}

/** True when the connection rides data channels. */
export function isWebRtc({ remoteAddr }: Pick<Connection, 'remoteAddr'>): boolean {
  return isWebRtcAddr(remoteAddr)
}

/**
 * Ends connections over WebRTC whose other end has died, when the same peer opens another: no packet tells of it, and
 * a program that was started anew at the same port even keeps the old one alive.
 */
export function endDeadConnections(node: Libp2p, isKnown: (peer: string) => boolean): void {
  node.addEventListener('connection:open', ({ detail: fresh }) => {
    if (!isKnown(fresh.remotePeer.toString())) return
    for (const old of node.getConnections(fresh.remotePeer))
      if (old !== fresh && old.status === 'open' && isWebRtc(old)) void endUnlessAlive(old)
  })
}

async function endUnlessAlive(connection: Connection): Promise<void> {
  const signal = AbortSignal.timeout(WEBRTC_PROBE_TIMEOUT_MS)
  try {
    const stream = await connection.newStream(PING_PROTOCOL, { signal, runOnLimitedConnection: true })
    await stream.close({ signal })
  } catch (error) {
    connection.abort(error as Error)
  }
}

const PING_PROTOCOL = '/ipfs/ping/1.0.0'
