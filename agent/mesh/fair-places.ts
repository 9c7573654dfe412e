/**
 * Places for inbound connections of whoever is not known yet, in bounded number, all together and of one host. When all are
 * held, the host that holds the most gives one back to who holds fewer: a host that fills them keeps nobody else out.
 */
import type { MultiaddrConnection } from '@libp2p/interface'
import { originOf } from './addresses.ts'

export interface FairPlaces {
  /** False when there is no place for `socket`; another may have been cut for it. It is held until the socket closes. */
  take(socket: MultiaddrConnection): boolean
  /** Gives it back before. */
  leave(socket: MultiaddrConnection): void
}

export function createFairPlaces(most: number, { ofHost = most }: { ofHost?: number } = {}): FairPlaces {
  /** By host, the oldest first. */
  const held = new Map<string, Set<MultiaddrConnection>>()
  let total = 0

  function leave(socket: MultiaddrConnection): void {
    const host = originOf(socket.remoteAddr)
    const sockets = held.get(host)
    if (!sockets?.delete(socket)) return
    total--
    if (sockets.size === 0) held.delete(host)
  }

  /** Cuts the oldest of who has the most; false when a host with `own` would then have more. */
  function makeRoom(own: number): boolean {
    const fullest = [...held.values()].reduce((a, b) => (b.size > a.size ? b : a))
    if (fullest.size <= own + 1) return false
    const [oldest] = fullest
    leave(oldest)
    oldest.abort(new Error('Others wait to be heard'))
    return true
  }

  return {
    take(socket) {
      const host = originOf(socket.remoteAddr)
      const own = held.get(host)?.size ?? 0
      if (own >= ofHost || (total >= most && !makeRoom(own))) return false
      held.set(host, (held.get(host) ?? new Set()).add(socket))
      total++
      socket.addEventListener('close', () => leave(socket))
      return true
    },
    leave,
  }
}
