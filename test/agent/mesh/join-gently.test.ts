import type { PeerId } from '@libp2p/interface'
import type { QueryEvent } from '@libp2p/kad-dht'
import test from 'ava'
import { announceToFew, joinGently, type Joining } from '../../../agent/mesh/join-gently.ts'

/** What joinGently() and announceToFew() see of Kademlia, with `contacts` in its routing table; notes who is asked. */
function kademlia(contacts: string[]) {
  const asked: string[] = []
  const kb = { toIterable: () => contacts.map((peer) => ({ peerId: peer as unknown as PeerId })) }
  const routingTable = Object.assign(new EventTarget(), { kBucketSize: 20, kb, size: contacts.length })
  const own = {
    routingTable,
    queryManager: { routingTable },
    async *getClosestPeers(): AsyncGenerator<QueryEvent> {
      asked.push(`${this.routingTable.kBucketSize} nearest by ${this.queryManager.routingTable.kBucketSize}`)
      yield { name: 'FINAL_PEER' } as QueryEvent
    },
  }
  const dht: Joining = {
    querySelf: { peerRouting: own, running: true, querySelf: async () => {} },
    routingTable,
    network: {
      async *sendRequest(to) {
        asked.push(String(to))
        yield { name: 'PEER_RESPONSE' } as QueryEvent
      },
    },
    queryManager: own.queryManager,
    peerRouting: own,
    contentRouting: { peerRouting: own },
  }
  return { dht, asked, contacts, routingTable }
}

async function run(events: AsyncIterable<QueryEvent>): Promise<void> {
  for await (const { name } of events) void name
}

test('joinGently() has two contacts asked at first, then the neighbourhood', async (t) => {
  const { dht, asked } = kademlia(['a', 'b', 'c'])
  joinGently(dht)
  const { querySelf } = dht
  await run(querySelf.peerRouting.getClosestPeers(Uint8Array.of(1)))
  t.deepEqual(asked.splice(0), ['a', 'b'])
  await run(querySelf.peerRouting.getClosestPeers(Uint8Array.of(1)))
  t.deepEqual(asked, ['20 nearest by 20'])
})

test('joinGently() waits for the first contact, until the agent stops', async (t) => {
  const { dht, asked, contacts, routingTable } = kademlia([])
  joinGently(dht)
  const stop = new AbortController()
  const asking = run(dht.querySelf.peerRouting.getClosestPeers(Uint8Array.of(1), { signal: stop.signal }))
  contacts.push('first')
  routingTable.dispatchEvent(new Event('peer:add'))
  await asking
  t.deepEqual(asked, ['first'])
  const alone = kademlia([])
  joinGently(alone.dht)
  const waiting = run(
    alone.dht.querySelf.peerRouting.getClosestPeers(Uint8Array.of(1), { signal: stop.signal }),
  )
  stop.abort()
  await t.throwsAsync(waiting, { name: 'AbortError' })
})

test('announceToFew() has 8 peers told, and lookups as they were', async (t) => {
  const { dht, asked } = kademlia(['a'])
  announceToFew(dht)
  await run(dht.contentRouting.peerRouting.getClosestPeers(Uint8Array.of(1)))
  await run(dht.peerRouting.getClosestPeers(Uint8Array.of(1)))
  t.deepEqual(asked, ['8 nearest by 8', '20 nearest by 20'])
})
