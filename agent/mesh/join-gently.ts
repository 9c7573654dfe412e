/**
 * How hard Kademlia works when an agent joins. As libp2p has it, it looks for its neighbourhood at once: where many start
 * together, each dials each. Here it asks its contacts, which makes it known to them and tells it of 20 others, and looks
 * for its neighbourhood a while later.
 */
import { once } from 'node:events'
import type { QueryEvent } from '@libp2p/kad-dht'
import type { PeerId } from '@libp2p/interface'
import { override } from './override.ts'

/** Contacts asked at first. */
const FIRST_ASKED = 2
/** The neighbourhood is looked for so long after that at the earliest, and twice that at the latest. */
const NEIGHBOURHOOD_AFTER_MS = 8_000
/** Peers told of an announcement. All 20 of a bucket would be told otherwise, which are all of a small mesh. */
const TOLD = 8

interface ClosestPeers {
  getClosestPeers(key: Uint8Array, options?: { signal?: AbortSignal }): AsyncIterable<QueryEvent>
}

/** What kad-dht has and its types do not tell. */
export interface Joining {
  readonly querySelf: {
    peerRouting: ClosestPeers
    timeoutId?: NodeJS.Timeout
    running: boolean
    querySelf(): Promise<void>
  }
  readonly routingTable: EventTarget & {
    readonly size: number
    readonly kBucketSize: number
    readonly kb: { toIterable(): Iterable<{ peerId: PeerId }> }
  }
  readonly network: {
    sendRequest(to: PeerId, question: object, options: object): AsyncIterable<QueryEvent>
  }
  readonly queryManager: object
  readonly peerRouting: ClosestPeers
  readonly contentRouting: { peerRouting: ClosestPeers }
}

/** Has the first query for this agent's own peer ID go to its contacts only, and the next come soon. */
export function joinGently({ querySelf: self, routingTable, network }: Joining): void {
  const { peerRouting } = self
  const path = { index: -1, queued: 0, running: 0, total: 0 }

  async function* askContacts(
    key: Uint8Array,
    options?: { signal?: AbortSignal },
  ): AsyncGenerator<QueryEvent> {
    self.peerRouting = peerRouting
    if (routingTable.size === 0) await once(routingTable, 'peer:add', options)
    for (const { peerId } of [...routingTable.kb.toIterable()].slice(0, FIRST_ASKED))
      yield* network.sendRequest(peerId, { type: 'FIND_NODE', key }, { ...options, path })
    setTimeout(lookAround, NEIGHBOURHOOD_AFTER_MS * (1 + Math.random())).unref()
  }

  function lookAround(): void {
    if (!self.running) return
    clearTimeout(self.timeoutId)
    void self.querySelf().catch(() => {})
  }

  self.peerRouting = { getClosestPeers: askContacts }
}

/** Has announcements told to the TOLD nearest of their name only. */
export function announceToFew(dht: Joining): void {
  const routingTable = { value: override(dht.routingTable, { kBucketSize: TOLD }) }
  const queryManager = { value: Object.create(dht.queryManager, { routingTable }) as object }
  dht.contentRouting.peerRouting = Object.create(dht.peerRouting, {
    routingTable,
    queryManager,
  }) as ClosestPeers
}
