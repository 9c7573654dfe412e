/** Where this agent can be reached, as it tells others: multiaddrs of the mesh, host:port of the data port. */
import { isIP } from 'node:net'
import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { MAX_ADDRESSES } from '../../protocol/limits.ts'

const IP6_BYTES = 16
/** How an IPv6 address begins whose last bytes are one of IPv4. */
const IP4_MAPPED = Buffer.from('00000000000000000000ffff', 'hex')

/** Anything with addresses; a libp2p node. */
interface Addressed {
  getMultiaddrs(): Multiaddr[]
}

/** Knows more of what reaches the data port; see reach/own-addresses.ts. */
interface OwnData {
  /** Addresses that node.getMultiaddrs() left out. */
  readonly hidden: readonly Multiaddr[]
  data(found: readonly string[]): string[]
}

/**
 * The node's multiaddrs with /p2p/<peer ID>, for tickets and `id`: loopback only when there is nothing else, link-local
 * never (its zone means nothing elsewhere). At most MAX_ADDRESSES.
 */
export function dialableAddrs(node: Addressed): string[] {
  return unique(outerFirst(node.getMultiaddrs()).map(String)).slice(0, MAX_ADDRESSES)
}

/**
 * host:port where peers reach the data port: `dataHost` (its own port first) when announced, else the addresses the mesh listens on. A peer
 * at `remoteAddr` on this machine gets loopback first; others get it only when there is nothing else.
 */
export function dataAddrs(
  node: Addressed,
  options: { port: number; dataHost?: string; remoteAddr?: Multiaddr; own?: OwnData },
): string[] {
  const { port, dataHost, remoteAddr, own } = options
  if (dataHost) return [hasPort(dataHost) ? dataHost : hostPort(dataHost, port)]
  const hosts = [...node.getMultiaddrs(), ...(own?.hidden ?? [])].flatMap((addr) => hostOf(addr) ?? [])
  const outer = hosts.filter((host) => !isLoopback(host) && !isLinkLocal(host))
  const local = hosts.filter(isLoopback)
  const near = remoteAddr !== undefined && isLoopback(hostOf(remoteAddr))
  const ordered = near ? [...local, ...outer] : outer.length > 0 ? outer : local
  const found = unique(ordered.map((host) => hostPort(host, port)))
  return unique(own?.data(found) ?? found).slice(0, MAX_ADDRESSES)
}

/** Those that mean something to others: loopback only when there is nothing else that is direct, relayed ones last. */
export function outerFirst(addrs: readonly Multiaddr[]): Multiaddr[] {
  const direct = addrs.filter((addr) => hostOf(addr) !== undefined && !isLinkLocal(hostOf(addr)))
  const outer = direct.filter((addr) => !isLoopback(hostOf(addr)))
  const relayed = addrs.filter((addr) => hostOf(addr) === undefined)
  return [...(outer.length > 0 ? outer : direct), ...relayed]
}

/** True of an address through a relay. One of a hole that was agreed over a relay keeps the relay in it, too. */
export function isCircuit(addr: Multiaddr): boolean {
  return addr.getComponents().some(({ name }) => name === 'p2p-circuit')
}

/** The peer ID of the relay in an address through one. */
export function relayOf(addr: Multiaddr): string | undefined {
  const components = addr.getComponents()
  const at = components.findIndex(({ name }) => name === 'p2p-circuit')
  return at === -1 ? undefined : components.slice(0, at).findLast(({ name }) => name === 'p2p')?.value
}

/** The IP address or name a multiaddr begins with; undefined of one through a relay, whose own it is. */
export function hostOf(addr: Multiaddr): string | undefined {
  if (isCircuit(addr)) return undefined
  const components = addr.getComponents()
  const first = components[0]?.name === 'ip6zone' ? components[1] : components[0]
  return first && /^(ip4|ip6|dns|dns4|dns6)$/.test(first.name) ? first.value : undefined
}

/** Whom bounds on one host count together: see networkOf(). Who comes through a relay counts with all who do. */
export function originOf(addr: Multiaddr): string {
  return networkOf(hostOf(addr) ?? '') || (relayOf(addr) ?? '')
}

/** The 64 bits of an IPv6 address that name its network, of which one host has all addresses; other hosts as they are. */
export function networkOf(host: string): string {
  if (isIP(host) !== 6) return host
  const bytes = Buffer.from(multiaddr(`/ip6/${host.split('%')[0]}`).bytes).subarray(-IP6_BYTES)
  if (bytes.indexOf(IP4_MAPPED) === 0) return bytes.subarray(IP4_MAPPED.length).join('.')
  const groups = [0, 2, 4, 6].map((at) => bytes.readUInt16BE(at).toString(16))
  return `${groups.join(':')}::`
}

/** True for an address that never leaves this machine. */
export function isLoopback(host: string | undefined): boolean {
  return host !== undefined && (/^(::ffff:)?127\./.test(host) || host === '::1' || host === 'localhost')
}

/** What interfaces have here, of all families, loopback included. */
export function interfaceAddresses(): NetworkInterfaceInfo[] {
  return Object.values(networkInterfaces()).flatMap((all) => all ?? [])
}

/** True for an address of an interface here, loopback included, as the system writes it. */
export function isInterfaceAddress(host: string): boolean {
  return interfaceAddresses().some(({ address }) => address === host)
}

/** True for an address at which this machine reaches itself; false for a name, which is not looked up. */
export function isOwnAddress(host: string): boolean {
  const address = host.replace(/^::ffff:(?=\d+\.)/i, '')
  return isIP(address) !== 0 && (isLoopback(address) || isInterfaceAddress(address))
}

/** True for an address that the Internet does not reach: of this machine, a private network, or a carrier's (RFC 6598). */
export function isPrivate(host: string | undefined): boolean {
  if (host === undefined || isLoopback(host) || isLinkLocal(host)) return true
  if (isIP(host) === 6) return /^f[cd]/i.test(host)
  const [a, b] = host.split('.').map(Number)
  return (
    isIP(host) === 4 &&
    (a === 10 ||
      (a === 192 && b === 168) ||
      (a === 172 && b >= 16 && b < 32) ||
      (a === 100 && b >= 64 && b < 128))
  )
}

function isLinkLocal(host: string | undefined): boolean {
  return host !== undefined && (/^fe[89ab][0-9a-f]:/i.test(host) || host.startsWith('169.254.'))
}

/** True for `host:port` and `[ipv6]:port`, not for a bare IPv6 address. */
function hasPort(host: string): boolean {
  return isIP(host) === 0 && /:\d+$/.test(host)
}

/** `host:port`, or `[ipv6]:port`. */
export function hostPort(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

function unique(items: readonly string[]): string[] {
  return [...new Set(items)]
}
