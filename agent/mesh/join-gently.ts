/**
 * How hard Kademlia works when an agent joins. It looks for its own neighbourhood, which makes it known there: where many
 * start together, each dials each. Here it speaks to a few at first, who tell it of the rest, and looks again a while
 * later.
 */
import type { QueryEvent } from '@libp2p/kad-dht'
import { override } from './override.ts'

/** Answers at first: each tells of 20 peers. */
const FIRST_ANSWERS = 3
/** The next look is so long after the first at the earliest, and twice that at the latest. */
const AGAIN_AFTER_MS = 20_000
/** Peers told of an announcement. All 20 of a bucket would be told otherwise, which are all of a small mesh. */
const TOLD = 8

/** What kad-dht's query for its own peer ID has and its types do not tell. */
export interface SelfQuery {
  peerRouting: ClosestPeers
  timeoutId?: NodeJS.Timeout
  running: boolean
  querySelf(): Promise<void>
}
interface ClosestPeers {
  getClosestPeers(key: Uint8Array, options?: object): AsyncIterable<QueryEvent>
}

/** Has the first query for this agent's own peer ID end early, and repeats it in full. */
export function joinGently(self: SelfQuery): void {
  const { peerRouting } = self
  let first = true

  async function* getClosestPeers(key: Uint8Array, options?: object): AsyncGenerator<QueryEvent> {
    if (!first) {
      yield* peerRouting.getClosestPeers(key, options)
      return
    }
    first = false
    let answers = 0
    for await (const event of peerRouting.getClosestPeers(key, options)) {
      if (event.name === 'PEER_RESPONSE' && ++answers >= FIRST_ANSWERS) break
    }
    setTimeout(again, AGAIN_AFTER_MS * (1 + Math.random())).unref()
  }

  function again(): void {
    if (!self.running) return
    clearTimeout(self.timeoutId)
    void self.querySelf().catch(() => {})
  }

  self.peerRouting = { getClosestPeers }
}

/** What kad-dht announces with and its types do not tell. */
export interface Announcing {
  readonly routingTable: { readonly size: number; readonly kBucketSize: number }
  readonly queryManager: object
  readonly peerRouting: ClosestPeers
  readonly contentRouting: { peerRouting: ClosestPeers }
}

/** Has announcements told to the TOLD nearest of their name only. */
export function announceToFew(dht: Announcing): void {
  const routingTable = { value: override(dht.routingTable, { kBucketSize: TOLD }) }
  const queryManager = { value: Object.create(dht.queryManager, { routingTable }) as object }
  dht.contentRouting.peerRouting = Object.create(dht.peerRouting, {
    routingTable,
    queryManager,
  }) as ClosestPeers
}
