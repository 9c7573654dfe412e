/** Peers as people and tickets write them: a peer ID, or a multiaddr that ends in one. */
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { FluidError } from '../../protocol/errors.ts'
import { isPeerId } from '../../protocol/peer-id.ts'

/** `addrs` as ways to exactly `peer`, directly or through one relay; those that lead to another are left out. */
export function addrsOf(addrs: readonly string[], peer: string): Multiaddr[] {
  return addrs.flatMap((text) => {
    const addr = parseMultiaddr(text)
    if (!addr) return []
    const components = addr.getComponents()
    const relay = components.findIndex(({ name }) => name === 'p2p-circuit')
    const isId = ({ name }: { name: string }) => name === 'p2p'
    if (relay !== -1 && components.slice(0, relay).filter(isId).length !== 1) return []
    const ids = components.slice(relay + 1).filter(isId)
    if (ids.length === 0) return addr.encapsulate(`/p2p/${peer}`)
    return ids.length === 1 && ids[0].value === peer ? addr : []
  })
}

/** A peer ID, or a multiaddr that ends in one. Throws USAGE. */
export function parsePeerAddress(text: string): { peer: string; addrs: Multiaddr[] } {
  if (isPeerId(text)) return { peer: text, addrs: [] }
  const addr = parseMultiaddr(text)
  const last = addr?.getComponents().at(-1)
  if (!addr || last?.name !== 'p2p' || !last.value || !isPeerId(last.value)) {
    throw new FluidError(
      'USAGE',
      `'${text}' is neither a peer ID nor a multiaddr that ends in /p2p/<peer ID>`,
    )
  }
  return { peer: last.value, addrs: addr.getComponents().length > 1 ? [addr] : [] }
}

function parseMultiaddr(text: string): Multiaddr | undefined {
  try {
    return multiaddr(text)
  } catch {
    return undefined
  }
}

/** `addr` without its peer ID, for messages. */
export function withoutPeer(addr: Multiaddr): string {
  return addr.toString().replace(/\/p2p\/[^/]+$/, '')
}
