/**
 * Inbound connections of which nothing is proven yet, in bounded number. Whoever connects and says nothing holds a place
 * until a deadline: when all are held, the host that holds the most gives one back to whoever holds fewer.
 */
import type { MultiaddrConnection } from '@libp2p/interface'
import { originOf } from './addresses.ts'

export interface Handshakes {
  /** False when there is no place for `socket`; another may have been cut for it. */
  begin(socket: MultiaddrConnection): boolean
  /** Its other end has proven who it is, and both agree how to speak. */
  end(socket: MultiaddrConnection): void
}

/** At most `most` at a time. */
export function createHandshakes(most: number): Handshakes {
  /** By origin, the oldest first. */
  const begun = new Map<string, Set<MultiaddrConnection>>()
  let total = 0

  function end(socket: MultiaddrConnection): void {
    const origin = originOf(socket.remoteAddr)
    const sockets = begun.get(origin)
    if (!sockets?.delete(socket)) return
    total--
    if (sockets.size === 0) begun.delete(origin)
  }

  /** Cuts the oldest of whoever has the most; false when that is `origin`. */
  function makeRoom(origin: string): boolean {
    const own = begun.get(origin)?.size ?? 0
    const fullest = [...begun.values()].reduce((a, b) => (b.size > a.size ? b : a))
    if (fullest.size <= own) return false
    const [oldest] = fullest
    end(oldest)
    oldest.abort(new Error('Others wait to be heard'))
    return true
  }

  return {
    begin(socket) {
      const origin = originOf(socket.remoteAddr)
      if (total >= most && !makeRoom(origin)) return false
      const sockets = begun.get(origin) ?? new Set()
      begun.set(origin, sockets.add(socket))
      total++
      socket.addEventListener('close', () => end(socket))
      return true
    },
    end,
  }
}
