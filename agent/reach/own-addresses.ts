/**
 * Which addresses this agent tells others: those where it listens, less those that peers tried in vain, and those of
 * routers that forward to it. What the owner wrote in `announce` and `data_host` is told as it is.
 *
 * libp2p by itself tells no public address until its own autonat has confirmed it, which needs strangers: here it is
 * told until peers have failed.
 */
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { hostOf, hostPort } from '../mesh/addresses.ts'

export interface OuterAddresses {
  /** `host:port`, told besides. */
  readonly more: ReadonlySet<string>
  /** `host:port`, not told. */
  readonly less: ReadonlySet<string>
}

export interface OwnAddresses {
  /** libp2p's announceFilter. */
  filter(addrs: Multiaddr[]): Multiaddr[]
  /** Where the node `peer` listens, for filter(); libp2p tells it a part of that. */
  listensAt(peer: string, found: () => readonly Multiaddr[]): void
  /** What filter() left out when it was last asked. */
  readonly hidden: readonly Multiaddr[]
  /** `host:port` of the data port, among `found`, and besides. */
  data(found: readonly string[]): string[]
  set(mesh: OuterAddresses, data: OuterAddresses): void
}

const NOTHING: OuterAddresses = { more: new Set(), less: new Set() }

/** Tells what is found until set() says more. `announced`: the owner named the addresses of the mesh. */
export function createOwnAddresses({ announced }: { announced: boolean }): OwnAddresses {
  let mesh = NOTHING
  let data = NOTHING
  let hidden: Multiaddr[] = []
  let own: string | undefined
  let listening: () => readonly Multiaddr[] = () => []
  return {
    listensAt(peer, found) {
      own = peer
      listening = found
    },
    filter(verified) {
      if (announced) return verified
      const addrs = withPeer([...verified, ...listening()], own)
      const kept = addrs.filter((addr) => !mesh.less.has(socketOf(addr) ?? ''))
      hidden = addrs.filter((addr) => !kept.includes(addr))
      const known = new Set(kept.map(socketOf))
      const more = [...mesh.more].filter((address) => !known.has(address) && !mesh.less.has(address))
      return [...kept, ...more.map((address) => addrAt(address, own))]
    },
    get hidden() {
      return hidden
    },
    data: (found) => [...new Set([...found, ...data.more])].filter((address) => !data.less.has(address)),
    set(meshNow, dataNow) {
      mesh = meshNow
      data = dataNow
    },
  }
}

/** Each once, with the peer ID at its end. */
function withPeer(addrs: readonly Multiaddr[], own: string | undefined): Multiaddr[] {
  const all = new Map<string, Multiaddr>()
  for (const addr of addrs) {
    const ends = addr.getComponents().at(-1)
    const whole = own === undefined || ends?.value === own ? addr : addr.encapsulate(`/p2p/${own}`)
    all.set(whole.toString(), whole)
  }
  return [...all.values()]
}

/** `host:port` of an address of TCP. */
export function socketOf(addr: Multiaddr): string | undefined {
  const host = hostOf(addr)
  const components = addr.getComponents()
  const port = components.find(({ name }) => name === 'tcp')?.value
  return host !== undefined && port !== undefined ? hostPort(host, Number(port)) : undefined
}

/** The other way round; with the peer ID, if there is one. */
export function addrAt(address: string, peer?: string): Multiaddr {
  const [, ip6, ip4, port] = /^(?:\[(.+)\]|(.+)):(\d+)$/.exec(address)!
  return multiaddr(`${ip6 ? `/ip6/${ip6}` : `/ip4/${ip4}`}/tcp/${port}${peer ? `/p2p/${peer}` : ''}`)
}
