/**
 * Relays that an agent finds by itself in the directory, when nobody can reach it: where those of its owner's choice are
 * now, and, only if the owner says `relays_from = "directory"`, relays of strangers that carry for everybody. A relay
 * reads nothing of what it carries, but sees who speaks to whom: so strangers are asked for.
 */
import type { Multiaddr } from '@multiformats/multiaddr'
import { MAX_FOUND_RELAYS, MAX_RELAYS_TRIED } from '../../protocol/limits.ts'
import { isCircuit } from '../mesh/addresses.ts'
import type { ConnectionPolicy } from '../mesh/connection-policy.ts'
import type { Directory } from '../mesh/directory.ts'
import { addrsOf } from '../mesh/peer-address.ts'

/** Addresses of one relay that are dialed. */
const ADDRESSES_TRIED = 4

export interface RelayFinder extends Disposable {
  /** Peer IDs of strangers' relays that are in use. */
  readonly strangers: readonly string[]
  /** True for a relay that may bring connections here. */
  isChosen(peer: string): boolean
  /** Looks once: where `wanted` are, and, while too few places are held, for others. */
  look(wanted: readonly string[], options: { signal: AbortSignal }): Promise<void>
}

export interface RelayFinderParts {
  readonly directory: () => Directory | undefined
  /** Relays of strangers may be used. */
  readonly anybody: boolean
  readonly policy: Pick<ConnectionPolicy, 'expect' | 'keep' | 'isPaired'>
  /** Takes a place at the relay. Rejects when it gives none. */
  readonly listen: (relay: Multiaddr) => Promise<void>
  /** Relays that hold a place for this agent. */
  readonly reservedAt: () => readonly string[]
}

export function createRelayFinder(parts: RelayFinderParts): RelayFinder {
  const { directory, anybody, policy, listen, reservedAt } = parts
  /** Leave to speak to each stranger in use. */
  const chosen = new Map<string, Disposable>()

  function leave(peer: string): void {
    chosen.get(peer)?.[Symbol.dispose]()
    chosen.delete(peer)
  }

  /** Asks a stranger for a place. */
  async function choose(peer: string, addrs: readonly Multiaddr[]): Promise<void> {
    const stack = new DisposableStack()
    stack.use(policy.expect(peer))
    stack.use(policy.keep(peer))
    chosen.set(peer, stack)
    await takePlace(peer, addrs)
    if (!reservedAt().includes(peer)) leave(peer)
  }

  /** Tries where a relay is said to be, one after the other: who answers is proven. */
  async function takePlace(peer: string, addrs: readonly Multiaddr[]): Promise<void> {
    for (const addr of addrsOf(addrs.map(String), peer).slice(0, ADDRESSES_TRIED)) {
      if (isCircuit(addr)) continue
      await listen(addr.encapsulate('/p2p-circuit')).catch(() => {})
      if (reservedAt().includes(peer)) return
    }
  }

  async function locate(peer: string, signal: AbortSignal): Promise<void> {
    for await (const addrs of directory()?.find(peer, { signal }) ?? []) {
      await takePlace(peer, addrs)
      if (reservedAt().includes(peer)) return
    }
  }

  async function lookAround(signal: AbortSignal): Promise<void> {
    let tried = 0
    for await (const { peer, addrs } of directory()?.announced('relay', { signal }) ?? []) {
      if (reservedAt().length >= MAX_FOUND_RELAYS || tried >= MAX_RELAYS_TRIED) return
      if (chosen.has(peer) || policy.isPaired(peer) || addrs.length === 0) continue
      tried++
      await choose(peer, addrs)
    }
  }

  return {
    get strangers() {
      return [...chosen.keys()].filter((peer) => reservedAt().includes(peer))
    },
    isChosen: (peer) => chosen.has(peer),
    async look(wanted, { signal }) {
      const places = reservedAt()
      for (const peer of chosen.keys()) if (!places.includes(peer)) leave(peer)
      const missing = wanted.filter((peer) => !places.includes(peer)).slice(0, MAX_FOUND_RELAYS)
      await Promise.all(missing.map((peer) => locate(peer, signal)))
      if (anybody && places.length < MAX_FOUND_RELAYS) await lookAround(signal)
    },
    [Symbol.dispose]() {
      for (const peer of chosen.keys()) leave(peer)
    },
  }
}
