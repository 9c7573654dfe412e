/** Where this agent can be reached, as it tells others: multiaddrs of the mesh, host:port of the data port. */
import { isIP } from 'node:net'
import type { Multiaddr } from '@multiformats/multiaddr'
import { MAX_ADDRESSES } from '../protocol/limits.ts'

/** Anything with addresses; a libp2p node. */
interface Addressed {
  getMultiaddrs(): Multiaddr[]
}

/**
 * The node's multiaddrs with /p2p/<peer ID>, for tickets and `id`: loopback only when there is nothing else, link-local
 * never (its zone means nothing elsewhere). At most MAX_ADDRESSES.
 */
export function dialableAddrs(node: Addressed): string[] {
  const all = node.getMultiaddrs().filter((addr) => !isLinkLocal(hostOf(addr)))
  const outer = all.filter((addr) => !isLoopback(hostOf(addr)))
  return unique((outer.length > 0 ? outer : all).map(String)).slice(0, MAX_ADDRESSES)
}

/**
 * host:port where peers reach the data port: `dataHost` (its own port first) when announced, else the addresses the mesh listens on. A peer
 * at `remoteAddr` on this machine gets loopback first; others get it only when there is nothing else.
 */
export function dataAddrs(
  node: Addressed,
  options: { port: number; dataHost?: string; remoteAddr?: Multiaddr },
): string[] {
  const { port, dataHost, remoteAddr } = options
  if (dataHost) return [hasPort(dataHost) ? dataHost : hostPort(dataHost, port)]
  const hosts = node.getMultiaddrs().flatMap((addr) => hostOf(addr) ?? [])
  const outer = hosts.filter((host) => !isLoopback(host) && !isLinkLocal(host))
  const local = hosts.filter(isLoopback)
  const near = remoteAddr !== undefined && isLoopback(hostOf(remoteAddr))
  const ordered = near ? [...local, ...outer] : outer.length > 0 ? outer : local
  return unique(ordered.map((host) => hostPort(host, port))).slice(0, MAX_ADDRESSES)
}

/** The IP address or name a multiaddr begins with. */
export function hostOf(addr: Multiaddr): string | undefined {
  const components = addr.getComponents()
  const first = components[0]?.name === 'ip6zone' ? components[1] : components[0]
  return first && /^(ip4|ip6|dns|dns4|dns6)$/.test(first.name) ? first.value : undefined
}

/** True for an address that never leaves this machine. */
export function isLoopback(host: string | undefined): boolean {
  return host !== undefined && (/^(::ffff:)?127\./.test(host) || host === '::1' || host === 'localhost')
}

function isLinkLocal(host: string | undefined): boolean {
  return host !== undefined && (/^fe[89ab][0-9a-f]:/i.test(host) || host.startsWith('169.254.'))
}

/** True for `host:port` and `[ipv6]:port`, not for a bare IPv6 address. */
function hasPort(host: string): boolean {
  return isIP(host) === 0 && /:\d+$/.test(host)
}

function hostPort(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

function unique(items: readonly string[]): string[] {
  return [...new Set(items)]
}
